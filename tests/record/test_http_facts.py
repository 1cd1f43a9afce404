"""What a record says for the access log, and that it says it only while one is written."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import Refused
from hospproxy.http.messages import Headers
from hospproxy.record.describe import Describer
from hospproxy.record.http_facts import HttpFacts
from hospproxy.record.trail.record_line import LineTemplate, encode_record

from .exchanges import LIST_NOTES, READ_NOTE, SECRET, answer, exchange


class HttpFactsTests(SynchronousTestCase):
    def of(self, given: Any, response: Any = None, duration_s: float = 2.0, *, values: bool = False) -> Any:
        describer = Describer(b"k", http=HttpFacts(query_values=values))
        return describer.request(given, answer(b"{}") if response is None else response, duration_s)["http"]

    def asked(self, **more: Any) -> Any:
        given = exchange(READ_NOTE, ("3",))
        return evolve(given, request=evolve(given.request, **more))

    def test_all_of_it(self) -> None:
        given = self.asked(headers=Headers(((b"user-agent", b"curl/8.5"),)))
        given.last_attempt.sent_at = 100.5
        self.assertEqual(
            self.of(given),
            {
                "version": "1.1",
                "host": "h",
                "user_agent": "curl/8.5",
                "query": None,
                "received": len(SECRET),
                "sent": 2,
                "waited_ms": 500.0,
            },
        )

    def test_nothing_of_it_without_an_access_log_or_of_an_own_request(self) -> None:
        self.assertNotIn("http", Describer(b"k").request(exchange(READ_NOTE, ("3",)), answer(), 1.0))
        own = evolve(exchange(READ_NOTE, ("3",)), own="identity")
        self.assertNotIn("http", Describer(b"k", http=HttpFacts()).request(own, answer(), 1.0))
        self.assertNotIn("http", Describer(b"k", http=HttpFacts()).intent(exchange(READ_NOTE, ("3",)), 1.0))

    def test_only_known_parameters_and_no_value_unless_asked_for(self) -> None:
        given = exchange(LIST_NOTES, (), (("patient_id", "7"), ("q", 'a b&c="é')))
        self.assertEqual(self.of(given)["query"], "patient_id=*&q=*")
        self.assertEqual(self.of(given, values=True)["query"], "patient_id=7&q=a%20b%26c%3D%22%C3%A9")
        self.assertIsNone(self.of(exchange(), Refused("no"))["query"], "it was not read")
        odd = exchange(LIST_NOTES, (), (("\udcff", "\ud800"),))
        self.assertEqual(self.of(odd, values=True)["query"], "%3F=%3F")

    def test_no_secret_of_the_request(self) -> None:
        found = self.of(exchange(LIST_NOTES, (), (("patient_id", "7"),)), values=True)
        self.assertNotIn(SECRET, repr(found))

    def test_sizes_that_are_known(self) -> None:
        incoming: Any = object()
        length = Headers(((b"content-length", b"70000"),))
        for more, wanted in (
            ({"body": None}, 0),
            ({"body": b""}, 0),
            ({"body": None, "incoming": incoming}, None),
            ({"body": None, "incoming": incoming, "headers": length}, 70000),
            (
                {"body": None, "incoming": incoming, "headers": Headers(((b"content-length", b"9" * 99),))},
                None,
            ),
        ):
            self.assertEqual(self.of(self.asked(**more))["received"], wanted)
        chunks: Any = object()
        for more, response, size in (
            ({}, answer(b"abc"), 3),
            ({"method": "HEAD"}, answer(b"abc"), 0),
            ({}, answer(b"abc", 304), 0),
            ({}, answer(b"abc", chunks=chunks), None),
            ({}, Refused("no"), None),
            ({}, CancelledError(), 0),
        ):
            self.assertEqual(self.of(self.asked(**more), response)["sent"], size)

    def test_texts_are_short_and_any_bytes_do(self) -> None:
        given = self.asked(headers=Headers(((b"user-agent", b'\xff\n"' + b"x" * 999),)))
        found = self.of(given)["user_agent"]
        self.assertEqual((len(found), found[:6]), (200, '\\xff\n"'))
        encode_record({"http": found})

    def test_the_last_attempt_was_within_the_request(self) -> None:
        given = exchange(READ_NOTE, ("3",))
        for sent_at, wanted in ((99.0, 0.0), (100.25, 250.0), (500.0, 2000.0)):
            given.last_attempt.sent_at = sent_at
            self.assertEqual(self.of(given)["waited_ms"], wanted)

    def test_an_equal_request_has_equal_facts_so_a_shortcut_has_them_in_its_template(self) -> None:
        given = self.asked(headers=Headers(((b"user-agent", b"curl/8.5"),)))
        record = Describer(b"k", http=HttpFacts()).request(given, answer(b"{}"), 0.0)
        template = LineTemplate.of(record)
        assert template is not None
        self.assertEqual(template.filled(record["time"], record["request_id"]), encode_record(record))
