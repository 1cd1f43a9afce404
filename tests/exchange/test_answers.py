"""Responses of the proxy in the upstream's own format."""

import json

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.answers import ProxyResponses, accept_class
from hospproxy.http.errors import OutcomeUnknown, OverCapacity, ProxyError, Refused, Unauthorized, reason
from hospproxy.http.messages import Client
from tests.rig import CONTRACT


class AnswerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.answers = ProxyResponses(CONTRACT)

    def test_an_error_has_hosps_members_and_ours(self) -> None:
        answer = self.answers.error(Refused("Too long.", status=422, field="name"), "any")
        self.assertEqual(
            json.loads(answer.body),
            {"status": 422, "error": reason(422), "detail": "Too long.", "field": "name"},
        )
        self.assertEqual(answer.headers.get(b"cache-control"), b"private, no-store")

    def test_an_error_as_a_page_is_escaped(self) -> None:
        answer = self.answers.error(Refused("<script>", status=404), "html")
        self.assertEqual(
            (answer.status, answer.headers.get(b"content-type")), (404, b"text/html; charset=utf-8")
        )
        self.assertIn(b"&lt;script&gt;", answer.body)
        self.assertNotIn(b"<script>", answer.body)

    def test_when_to_come_again(self) -> None:
        answer = self.answers.error(OverCapacity("full", retry_after_s=7), "json")
        self.assertEqual((answer.status, answer.headers.get(b"retry-after")), (503, b"7"))

    def test_an_unknown_outcome_has_its_reference(self) -> None:
        for timed_out, status in ((False, 502), (True, 504)):
            answer = self.answers.error(OutcomeUnknown("x", reference="hp-1", timed_out=timed_out), "any")
            document = json.loads(answer.body)
            self.assertEqual(
                (answer.status, document["outcome"], document["reference"]), (status, "unknown", "hp-1")
            )

    def test_the_401_is_hosps_own(self) -> None:
        answer = self.answers.error(Unauthorized("x"), "json")
        self.assertEqual((answer.status, answer.body), (401, b"HTTP Basic: Access denied.\n"))

    def test_a_found_record_is_a_201_with_its_location(self) -> None:
        client = Client(scheme="https", host="proxy.test:8443")
        answer = self.answers.found(CONTRACT.operation("createNote"), {"id": 5, "title": "é"}, client)
        self.assertEqual(
            (answer.status, answer.headers.get(b"location")), (201, b"https://proxy.test:8443/notes/5")
        )
        self.assertEqual(json.loads(answer.body), {"id": 5, "title": "é"})

    def test_unusual_statuses_have_a_phrase(self) -> None:
        self.assertEqual((reason(599), reason(404)), ("Error", "Not Found"))
        self.assertEqual(ProxyError("x").status, 500)

    def test_classes_of_accept(self) -> None:
        for value, wanted in (
            (None, "any"),
            (b"", "any"),
            (b"*/*", "any"),
            (b"application/json", "json"),
            (b"text/html", "html"),
            (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
            (b"application/json, text/plain, */*", "json"),
            (b"image/png, */*", "any"),
            (b"application/xml", "application/xml"),
        ):
            self.assertEqual(accept_class(value), wanted, value)
