"""CORS: preflights judged by the contract, and who may read which response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.arrival.fields import ONCE
from hospproxy.guard.cross_origin import CrossOrigin, is_preflight
from hospproxy.guard.validation import Validation
from hospproxy.http.errors import Refused
from hospproxy.http.messages import Client, Headers, Request, Response
from hospproxy.interfaces import IProcessor
from hospproxy.options.cors_section import CorsSettings
from hospproxy.options.loader import ConfigError, structure
from hospproxy.record.audit import Audit
from hospproxy.record.describe import Describer
from hospproxy.service.chain import Chain, Processors
from hospproxy.watch.metrics import Metrics
from tests.guard.test_origin_check import Journal
from tests.rig import CONTRACT, STAFF1, Rig

PAGE, OTHER = "https://ward.example", "https://evil.example"
ORIGIN = b"access-control-allow-origin"


class CorsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal = Journal()
        self.rig = Rig()
        self.start()

    def start(self, **options: Any) -> None:
        self.meter = Metrics()
        self.cors = CrossOrigin(
            CorsSettings(**{"origins": (PAGE, "http://localhost:5173"), **options}),
            Validation(CONTRACT).route,
            self.meter,
        )
        describer = Describer(b"d" * 32, CONTRACT.resources, lambda _name: False, CONTRACT.routes)
        self.audit = Audit(self.journal, describer, self.rig.clock)  # type: ignore[arg-type]
        self.chain = Chain(
            Processors(
                validation=self.rig.validation,
                audit=self.audit,
                before={"guard.cross_origin": self.cors},
                behind={"outward.upstream": self.rig.hosp},
                finish=self.cors.finish,
            ),
            answers=self.rig.answers,
            clock=self.rig.clock,
            wall=lambda: 0.0,
            deadline_s=28,
            limit=lambda _method, _path: 7,
            meter=self.meter,
        )

    def answer(self, method: str, path: str, *fields: tuple[str, str]) -> Response:
        headers = Headers(tuple((name.encode(), value.encode()) for name, value in fields))
        request = Request(method, path.encode(), headers=headers, client=Client(request_id="r1"))
        return self.successResultOf(self.chain.handle(request))

    def preflight(self, method: str, path: str, origin: str = PAGE, wanted: str = "") -> Response:
        fields = [("origin", origin), ("access-control-request-method", method)]
        if wanted:
            fields.append(("access-control-request-headers", wanted))
        return self.answer("OPTIONS", path, *fields)

    def hits(self) -> Sequence[str]:
        hits: Sequence[str] = self.journal.records[-1]["rule_hits"]
        return hits

    def test_a_preflight_is_answered_without_hosp_and_recorded(self) -> None:
        verifyObject(IProcessor, self.cors)
        answer = self.preflight("PATCH", "/notes/1", wanted="content-type, Authorization,if-match")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.headers.get(ORIGIN), PAGE.encode())
        self.assertEqual(
            answer.headers.get(b"access-control-allow-methods"), b"DELETE, GET, HEAD, OPTIONS, PATCH"
        )
        self.assertEqual(
            answer.headers.get(b"access-control-allow-headers"), b"authorization, content-type, if-match"
        )
        self.assertEqual(answer.headers.get(b"access-control-max-age"), b"600")
        self.assertIn(b"origin", answer.headers.tokens(b"vary"))
        self.assertIn(b"access-control-request-headers", answer.headers.tokens(b"vary"))
        self.assertIsNone(answer.headers.get(b"access-control-allow-credentials"))
        self.assertEqual(self.rig.hosp.calls, [])
        [record] = self.journal.records
        self.assertEqual((record["method"], record["status"]), ("OPTIONS", 204))

    def test_what_the_contract_does_not_have_is_refused(self) -> None:
        for status, rule, preflight in (
            (404, "path", lambda: self.preflight("GET", "/nothing")),
            (404, "path", lambda: self.preflight("GET", "/hospitals/x")),
            (405, "method", lambda: self.preflight("PUT", "/hospitals/1")),
            (405, "method", lambda: self.preflight("GE", "/hospitals/1")),
            (405, "method", lambda: self.preflight("GET, HEAD", "/hospitals/1")),
            (403, "header", lambda: self.preflight("GET", "/hospitals", wanted="accept, x-forwarded-for")),
        ):
            answer = preflight()
            self.assertEqual((answer.status, self.hits()), (status, [f"cors:{rule}"]))
            self.assertIsNone(answer.headers.get(b"access-control-allow-methods"))
            self.assertEqual(answer.headers.get(ORIGIN), PAGE.encode())
        self.assertEqual(self.rig.hosp.calls, [])

    def test_another_origin_is_refused_and_named_nowhere(self) -> None:
        for origin in (OTHER, "null", PAGE.upper(), PAGE + ":443", PAGE + "." + OTHER, f"{PAGE}, {PAGE}", ""):
            answer = self.preflight("GET", "/hospitals", origin)
            self.assertEqual((answer.status, self.hits()), (403, ["cors:origin"]), origin)
            self.assertEqual([name for name, _ in answer.headers if name.lower().startswith(b"access-")], [])
            self.assertEqual(answer.headers.get(b"vary"), b"Origin")
        self.assertEqual(self.meter.value("cors_requests_total", result="origin"), 7)

    def test_options_of_other_clients_are_as_before(self) -> None:
        answer = self.answer("OPTIONS", "/notes/1", ("origin", PAGE))
        self.assertEqual(
            (answer.status, answer.headers.get(b"allow")), (204, b"DELETE, GET, HEAD, OPTIONS, PATCH")
        )

    def test_a_write_without_a_preflight_is_refused_to_other_pages(self) -> None:
        """A body without a type needs no preflight, and the browser adds the password that it has stored."""
        for site in ("cross-site", "same-site"):
            fields = (("origin", OTHER), ("sec-fetch-site", site), ("authorization", STAFF1.decode()))
            self.assertEqual(
                (self.answer("POST", "/hospitals", *fields).status, self.hits()), (403, ["cors:write"])
            )
            self.assertEqual(self.answer("GET", "/hospitals", *fields).status, 200)
        self.assertEqual(self.rig.hosp.seen("createHospital"), [])
        for origin, site in ((PAGE, "cross-site"), ("https://this.example", "same-origin"), (OTHER, "none")):
            fields = (("origin", origin), ("sec-fetch-site", site), ("authorization", STAFF1.decode()))
            self.assertEqual(self.answer("POST", "/hospitals", *fields).status, 400)  # it has no body

    def test_a_page_reads_responses_and_errors(self) -> None:
        for path, fields, status in (
            ("/hospitals", (("authorization", STAFF1.decode()),), 200),
            ("/hospitals", (), 401),
            ("/nothing", (), 404),
        ):
            answer = self.answer("GET", path, ("origin", PAGE), *fields)
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.headers.all(ORIGIN), [PAGE.encode()])
            self.assertIn(b"retry-after", answer.headers.tokens(b"access-control-expose-headers"))
            self.assertEqual(answer.headers.get(b"vary"), b"Origin")
            other = self.answer("GET", path, ("origin", OTHER), *fields)
            self.assertEqual((other.status, other.headers.get(ORIGIN)), (status, None))
            self.assertEqual(other.headers.get(b"vary"), b"Origin")
            self.assertEqual(self.answer("GET", path, *fields).headers.get(b"vary"), b"Origin")

    def test_also_those_that_arrival_makes_or_that_could_not_be_recorded(self) -> None:
        request = Request("GET", b"/hospitals", headers=Headers(((b"origin", PAGE.encode()),)))
        answer = self.successResultOf(self.chain.refuse(request, Refused("Too long.", status=431)))
        self.assertEqual((answer.status, answer.headers.get(ORIGIN)), (431, PAGE.encode()))
        self.journal.full = True
        self.audit.reload(lambda _exchange: Response(503), None)
        answer = self.successResultOf(self.chain.handle(request))
        self.assertEqual((answer.status, answer.headers.get(ORIGIN)), (503, PAGE.encode()))

    def test_a_reload_switches_it_off(self) -> None:
        off = Processors(validation=self.rig.validation, behind={"outward.upstream": self.rig.hosp})
        self.chain.lead_through(off, 28, lambda _method, _path: 7)
        answer = self.answer("GET", "/hospitals", ("origin", PAGE))
        self.assertEqual([answer.headers.get(ORIGIN), answer.headers.get(b"vary")], [None, None])
        self.assertIsNone(self.preflight("GET", "/hospitals").headers.get(b"access-control-allow-methods"))

    def test_nothing_that_hosp_says_about_origins_is_believed(self) -> None:
        upstream = Headers(
            (
                (b"Access-Control-Allow-Origin", b"*"),
                (b"access-control-allow-credentials", b"true"),
                (b"vary", b"accept"),
                (b"Vary", b"ORIGIN"),
            )
        )
        request = Request(headers=Headers(((b"origin", OTHER.encode()),)))
        answer = self.cors.finish(request, Response(200, upstream))
        self.assertEqual(answer.headers.pairs, ((b"Vary", b"accept, ORIGIN"),))

    def test_credentials_and_further_fields_by_option(self) -> None:
        self.start(credentials=True, request_headers=("X-Ward",), exposed_headers=("X-Total",), max_age_s=5)
        answer = self.preflight("GET", "/hospitals", wanted="x-ward")
        self.assertEqual(answer.headers.get(b"access-control-allow-credentials"), b"true")
        self.assertEqual(answer.headers.get(b"access-control-allow-headers"), b"x-ward")
        self.assertIn(b"x-total", answer.headers.tokens(b"access-control-expose-headers"))
        self.assertEqual(answer.headers.get(b"access-control-max-age"), b"5")

    @given(st.binary(max_size=40))
    def test_no_bytes_are_a_listed_origin_but_the_listed_ones(self, origin: bytes) -> None:
        request = Request("OPTIONS", b"/hospitals", headers=Headers(((b"origin", origin),)))
        self.assertFalse(is_preflight(request))
        self.assertIsNone(self.cors.finish(request, Response(200)).headers.get(ORIGIN))

    def test_two_origins_are_none(self) -> None:
        # Arrival joins two lines, or refuses them.
        self.assertNotIn(b"origin", ONCE)
        self.assertIsNone(self.answer("GET", "/hospitals", ("origin", f"{PAGE},{PAGE}")).headers.get(ORIGIN))


class SectionTests(SynchronousTestCase):
    def read(self, **cors: Any) -> CorsSettings:
        return structure({"upstream": {"url": "http://127.0.0.1:3000"}, "cors": cors}).cors

    def test_origins_are_spelled_as_browsers_send_them(self) -> None:
        given = ["HTTPS://Ward.example:443", "http://localhost:5173", "https://[::1]:8443"]
        self.assertEqual(
            self.read(origins=given).origins,
            ("https://ward.example", "http://localhost:5173", "https://[::1]:8443"),
        )

    def test_what_is_no_origin(self) -> None:
        for wrong in (
            "*",
            "null",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "a.example",
            "https://ü.example",
        ):
            with self.assertRaises(ConfigError, msg=wrong):
                self.read(origins=[wrong])
        for key in ("request_headers", "exposed_headers"):
            for wrong in ("*, b", "a b", "a\r\nb", ""):
                with self.assertRaises(ConfigError):
                    self.read(**{key: [wrong]})
