"""Which parts of HOSP's responses are kept and sent on, and what counts as a bad response."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract import document as contract_document
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.errors import BadAnswer
from hospproxy.http.messages import Client, Headers, Origin, Request, Response
from hospproxy.outward.response_check import KNOWN, AllowedAddresses, ResponseCheck, authority
from hospproxy.outward.upstream_request import UpstreamTarget
from hospproxy.watch.metrics import Metrics
from tests.stages import identified

CONTRACT = contract_document.load()
JSON = (b"Content-Type", b"application/json; charset=utf-8")
HTML = (b"Content-Type", b"text/html; charset=utf-8")
CLIENT = Client("192.0.2.7", "192.0.2.7", (), "https", "proxy.test", "req-1")
HOSP = UpstreamTarget.from_url("http://hosp.internal:3000")
NOTE = {
    "id": 1,
    "title": "t",
    "body": "b",
    "patient_id": 7,
    "staff_id": 1,
    "url": "https://proxy.test/notes/1.json",
}


class CheckCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Metrics("0", strict=True)

    def exchange(self, operation: str, accept: str = "json", client: Client = CLIENT) -> Exchange:
        call = Call(
            CONTRACT.operation(operation), ("1",) if "{" in CONTRACT.operation(operation).template else ()
        )
        return identified(evolve(call, accept=accept), Request(client=client))

    def checked(
        self,
        operation: str,
        body: Any,
        *fields: tuple[bytes, bytes],
        status: int = 200,
        enforce: bool = False,
        **how: Any,
    ) -> Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.last = self.exchange(operation, **how)
        check = ResponseCheck(CONTRACT, HOSP, self.meter, enforce=enforce)
        return check.checked(self.last, Response(status, Headers(fields or (JSON,)), raw, Origin.UPSTREAM))

    def bad(
        self, operation: str, body: Any, *fields: tuple[bytes, bytes], status: int = 200, **how: Any
    ) -> None:
        error = self.assertRaises(BadAnswer, self.checked, operation, body, *fields, status=status, **how)
        self.assertEqual(error.head_status, status)

    def counted(self, finding: str) -> float | None:
        return self.meter.value("answer_findings_total", finding=finding)


class ContentTests(CheckCase):
    def test_what_the_contract_says_passes_as_it_is(self) -> None:
        body = json.dumps([NOTE]).encode()
        answer = self.checked("listNotes", body)
        self.assertIs(answer.body, body)
        self.assertEqual((answer.headers.pairs, self.last.trace.rule_hits), ((JSON,), []))
        self.checked("getStatus", b"<p>online</p>", HTML)
        self.checked("deleteNote", b"<p>deleted</p>", HTML)
        self.checked("createNote", NOTE, status=201)

    def test_another_type(self) -> None:
        self.bad("listNotes", b"[]", HTML)
        self.bad("listNotes", b"[]", (b"Content-Type", b"text/plain"))
        self.bad("listNotes", b"[]", (b"ETag", b'"x"'))
        self.bad("createNote", b"<p>made</p>", HTML, status=201)
        self.bad("getStatus", {})
        self.assertEqual(self.counted("type"), 5)

    def test_what_the_client_itself_asked_for(self) -> None:
        self.checked("listNotes", b"<ul></ul>", HTML, accept="html")
        self.checked("listNotes", b"id\n1\n", (b"Content-Type", b"text/csv"), accept="text/csv")
        self.bad("listNotes", b"id\n1\n", (b"Content-Type", b"text/csv"), accept="html")

    def test_what_nobody_has_asked_for(self) -> None:
        """The proxy sends no Range and no condition, so it would take a 206 for the whole, and a 304 has no content."""
        for operation in ("listNotes", "getNote", "updateNote", "createNote"):
            for status in (206, 304):
                self.bad(operation, [], status=status)
        self.assertEqual(self.counted("unasked"), 8)

    def test_no_json(self) -> None:
        for body in (
            b"",
            b"[",
            b'[{"id":1}',
            b'[{"id":1}]]',
            b"[1,]",
            b"<p>",
            b"\xff",
            b'["\xff"]',
            b"[" * 100_000,
        ):
            self.bad("listNotes", body)
        self.assertEqual(self.counted("json"), 9)

    def test_another_shape(self) -> None:
        for body in ({}, "x", 1, None, True):
            self.bad("listNotes", body)
        for body in ([], [NOTE], "x", None):
            self.bad("getNote", body)
        self.bad("createNote", [NOTE], status=201)
        self.bad("createNote", [NOTE], status=200)

    def test_the_schema_is_reported_or_enforced(self) -> None:
        wrong = [{**NOTE, "patient_id": "seven"}] * 3
        self.assertEqual(json.loads(self.checked("listNotes", wrong).body), wrong)
        self.assertEqual(self.last.trace.rule_hits, ["answers:schema:*.patient_id"])
        self.bad("listNotes", wrong, enforce=True)
        self.checked("listNotes", [NOTE], enforce=True)

    def test_errors_are_not_held_against_anything(self) -> None:
        for status, body in (
            (400, b""),
            (404, b"<p>"),
            (422, b'{"name":["is"'),
            (500, b"oops"),
            (401, b"denied"),
        ):
            self.assertEqual(self.checked("listNotes", body, HTML, status=status).body, body)

    @given(st.binary(max_size=200))
    def test_whatever_comes_is_an_answer_or_abad_one(self, body: bytes) -> None:
        self.meter = Metrics("0")
        try:
            answer = self.checked("listNotes", body)
        except BadAnswer:
            return
        self.assertIsInstance(json.loads(answer.body), list)


class FieldTests(CheckCase):
    def test_what_is_not_known_stays_here(self) -> None:
        steering = (
            b"X-Accel-Redirect", b"X-Sendfile", b"Clear-Site-Data", b"Alt-Svc", b"Refresh", b"X-Powered-By",
            b"Strict-Transport-Security", b"Server", b"Authorization", b"Public-Key-Pins", b"X-Secret",
        )  # fmt: skip
        answer = self.checked(
            "listNotes", [], JSON, *((name, b"x") for name in steering), (b"ETag", b'W/"a"')
        )
        self.assertEqual(answer.headers.pairs, (JSON, (b"ETag", b'W/"a"')))
        self.assertEqual(self.counted("field"), 1)

    def test_of_errors_too(self) -> None:
        answer = self.checked("listNotes", b"", (b"X-Accel-Redirect", b"/etc"), status=500)
        self.assertEqual(answer.headers.pairs, ())

    def test_what_rails_says_goes_on(self) -> None:
        fields = tuple((name, b"x") for name in sorted(KNOWN - {b"content-type", b"location"}))
        self.assertEqual(self.checked("listNotes", [], JSON, *fields).headers.pairs, (JSON, *fields))

    def test_nothing_is_said_of_ranges_whatever_the_contract_knows(self) -> None:
        contract = evolve(CONTRACT, answer_fields=frozenset({b"accept-ranges", b"content-range"}))
        check = ResponseCheck(contract, HOSP, self.meter)
        fields = (JSON, (b"Accept-Ranges", b"bytes"), (b"Content-Range", b"bytes 0-1/2"))
        answer = check.checked(
            self.exchange("listNotes"), Response(200, Headers(fields), b"[]", Origin.UPSTREAM)
        )
        self.assertEqual(answer.headers.pairs, (JSON,))

    def test_the_contract_may_know_more(self) -> None:
        contract = evolve(CONTRACT, answer_fields=frozenset({b"x-secret"}))
        check = ResponseCheck(contract, HOSP, self.meter)
        response = Response(200, Headers((JSON, (b"X-Secret", b"1"))), b"[]", Origin.UPSTREAM)
        self.assertEqual(check.checked(self.exchange("listNotes"), response), response)


class AddressTests(CheckCase):
    def location(self, url: bytes, status: int = 201, **how: Any) -> bytes | None:
        return self.checked("createNote", NOTE, JSON, (b"Location", url), status=status, **how).headers.get(
            b"location"
        )

    def test_the_clients_own_address_stays(self) -> None:
        for url in (
            b"https://proxy.test/notes/1",
            b"https://PROXY.test:443/notes/1",
            b"/notes/1",
            b"//proxy.test/x",
        ):
            self.assertEqual(self.location(url), url)
        self.assertIsNone(self.counted("address"))

    def test_hosps_becomes_the_proxys(self) -> None:
        self.assertEqual(self.location(b"http://hosp.internal:3000/notes/1"), b"https://proxy.test/notes/1")
        body = {
            **NOTE,
            "url": "http://hosp.internal:3000/notes/1.json",
            "body": "see http://hosp.internal:3000/x",
        }
        answer = json.loads(self.checked("getNote", body).body)
        self.assertEqual(answer, {**body, "url": "https://proxy.test/notes/1.json"})
        [listed] = json.loads(self.checked("listNotes", [body]).body)
        self.assertEqual(listed, answer)

    def test_who_came_without_ahost_has_no_other(self) -> None:
        url = b"http://hosp.internal:3000/notes/1"
        self.assertEqual(self.location(url, client=evolve(CLIENT, host="")), url)

    def test_anybody_elses_is_left_out(self) -> None:
        for url in (
            b"https://evil.test/notes/1",
            b"//evil.test",
            b"javascript:alert(1)",
            b"ftp://proxy.test/",
            b"/\\evil",
        ):
            self.assertIsNone(self.location(url), url)
        self.assertIsNone(self.location(b"http://[/"))

    def test_a_redirect_elsewhere_is_no_answer(self) -> None:
        for url in (b"https://evil.test/", b"/\t/evil.test"):
            self.bad("listNotes", b"", (b"Location", url), status=302)
        answer = self.checked("listNotes", b"", (b"Location", b"http://hosp.internal:3000/notes"), status=302)
        self.assertEqual(answer.headers.get(b"location"), b"https://proxy.test/notes")

    def test_a_base_is_left_out(self) -> None:
        addresses = AllowedAddresses(UpstreamTarget.from_url("http://hosp.internal/api"), ())
        for url, wanted in (("http://hosp.internal/api/x", "/x"), ("http://hosp.internal/apiary", "/apiary")):
            self.assertEqual(addresses.public(url, CLIENT), "https://proxy.test" + wanted)

    def test_authorities(self) -> None:
        self.assertEqual(authority("Host:443", "https"), "host")
        self.assertEqual(authority("Host:443", "http"), "host:443")
        self.assertEqual(authority("[::1]:80", "http"), "[::1]")
