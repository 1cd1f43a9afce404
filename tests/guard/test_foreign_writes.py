"""Writes of pages of other origins while CORS is off: a browser adds its stored password without asking first."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard.foreign_writes import ForeignWrites
from hospproxy.guard.validation import Validation
from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.record.audit import Audit
from hospproxy.record.describe import Describer
from hospproxy.service.chain import Chain, Processors
from hospproxy.watch.metrics import Metrics
from tests.guard.test_origin_check import Journal
from tests.rig import CONTRACT, STAFF1, Rig

HOSPITAL = b'{"name": "Foreign"}'
JSON = ("content-type", "application/json")


class ForeignWritesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal, self.rig = Journal(), Rig()
        self.start(enforce=True)

    def start(self, *, enforce: bool) -> None:
        self.meter = Metrics()
        describer = Describer(b"d" * 32, CONTRACT.resources, lambda _name: False, CONTRACT.routes)
        self.chain = Chain(
            Processors(
                validation=Validation(
                    CONTRACT, foreign=ForeignWrites(enforce=enforce, meter=self.meter).check
                ),
                audit=Audit(self.journal, describer, self.rig.clock),  # type: ignore[arg-type]
                behind={"outward.upstream": self.rig.hosp},
            ),
            answers=self.rig.answers,
            clock=self.rig.clock,
            wall=lambda: 0.0,
            deadline_s=28,
            limit=lambda _method, _path: 7,
            meter=self.meter,
        )

    def answer(self, method: str, path: str, *fields: tuple[str, str], body: bytes = HOSPITAL) -> Response:
        pairs = (("authorization", STAFF1.decode()), *fields)
        headers = Headers(tuple((name.encode(), value.encode()) for name, value in pairs))
        request = Request(method, path.encode(), headers=headers, client=Client(request_id="r1"), body=body)
        return self.successResultOf(self.chain.handle(request))

    def test_a_write_that_needs_no_preflight_is_refused_and_recorded(self) -> None:
        for site in ("cross-site", "same-site"):
            for kind in (
                (),
                (("content-type", " "),),
                (("content-type", "Text/Plain;charset=UTF-8"),),
                (("content-type", "application/x-www-form-urlencoded"),),
                (("content-type", "multipart/form-data; boundary=x"),),
            ):
                answer = self.answer("POST", "/hospitals", ("sec-fetch-site", site), *kind)
                self.assertEqual(answer.status, 403)
                self.assertIn(b"page of another origin", answer.body)
                record = self.journal.records[-1]
                self.assertEqual((record["status"], record["rule_hits"]), (403, ["cors:write"]))
                self.assertEqual(record["route"], "/hospitals")
        self.assertEqual(self.rig.hosp.calls, [])
        self.assertEqual(self.meter.value("cors_requests_total", result="write"), 10)

    def test_without_a_body_too(self) -> None:
        answer = self.answer("POST", "/hospitals", ("sec-fetch-site", "cross-site"), body=b"")
        self.assertEqual(answer.status, 403)

    def test_in_report_mode_it_passes_and_is_recorded(self) -> None:
        self.start(enforce=False)
        answer = self.answer("POST", "/hospitals", ("sec-fetch-site", "cross-site"))
        self.assertEqual((answer.status, self.journal.records[-1]["rule_hits"]), (201, ["cors:write"]))
        self.assertEqual(self.meter.value("cors_requests_total", result="write"), 1)

    def test_all_others_pass(self) -> None:
        for status, method, path, fields in (
            (201, "POST", "/hospitals", ()),  # no browser, or an old one
            (201, "POST", "/hospitals", (("origin", "https://evil.example"),)),
            (201, "POST", "/hospitals", (("sec-fetch-site", "same-origin"),)),
            (201, "POST", "/hospitals", (("sec-fetch-site", "none"),)),
            # A gateway in front answered the preflight: HOSP and this proxy refuse it.
            (201, "POST", "/hospitals", (("sec-fetch-site", "cross-site"), JSON)),
            (200, "PATCH", "/hospitals/1", (("sec-fetch-site", "cross-site"),)),
            (200, "GET", "/hospitals", (("sec-fetch-site", "cross-site"),)),
        ):
            body = b"" if method == "GET" else HOSPITAL
            answer = self.answer(method, path, *fields, body=body)
            self.assertEqual(
                (answer.status, self.journal.records[-1]["rule_hits"]), (status, []), (method, fields)
            )
