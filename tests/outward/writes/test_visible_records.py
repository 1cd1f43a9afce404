"""Which records HOSP has shown to whom: what counts, and what voids it."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Call
from hospproxy.http.messages import Response
from hospproxy.outward.writes.visible_records import FOR_S, VisibleRecords
from hospproxy.sharing.news import EntriesInvalidated, EverythingStale
from tests.rig import CONTRACT, STAFF1, STAFF2


def call_of(operation: str, *path: str, who: bytes | None = STAFF1) -> Call:
    return Call(CONTRACT.operation(operation), path, authorization=who)


class ShownTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.era: object | None = 1
        self.shown = VisibleRecords(
            CONTRACT, b"k" * 32, self.clock, lambda: self.era, most=20, most_bytes=4000
        )

    def saw(self, call: Call, document: Any, status: int = 200, ago: float = 0.0) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.shown.saw(call, Response(status, body=body), self.clock.seconds() - ago)

    def has(self, number: int = 5, who: bytes = STAFF1) -> bool:
        return self.shown.has(call_of("deleteNote", str(number), who=who))

    def test_a_list_a_record_and_what_was_made(self) -> None:
        self.assertFalse(self.has())
        for call, document, status in (
            (call_of("listNotes"), [{"id": 6}, {"id": 5}], 200),
            (call_of("getNote", "5"), {"id": 5}, 200),
            (call_of("createNote"), {"id": 5}, 201),
        ):
            self.setUp()
            self.saw(call, document, status)
            self.assertEqual((self.has(), self.has(7), self.has(who=STAFF2)), (True, False, False))

    def test_nothing_else(self) -> None:
        for call, document, status in (
            (call_of("listNotes"), [{"id": 5}], 500),
            (call_of("listPatients"), [{"id": 5}], 200),
            (call_of("updateNote", "5"), {"id": 5}, 200),
            (call_of("getNote", "5", who=None), {"id": 5}, 200),
            (call_of("getNote", "5"), b"", 404),
            (call_of("listNotes"), b"junk", 200),
        ):
            self.saw(call, document, status)
        self.assertFalse(self.has())

    def test_where_no_credentials_are_needed_all_are_one(self) -> None:
        self.saw(call_of("getNote", "5", who=None), {"id": 5})
        self.assertTrue(self.shown.has(call_of("deleteNote", "5", who=None)))
        self.assertFalse(self.has())

    def test_the_last_word_counts(self) -> None:
        self.saw(call_of("listNotes"), [{"id": 5}])
        self.saw(call_of("getNote", "5"), b"", 404)
        self.assertFalse(self.has())

    def test_a_write_voids_what_was_asked_before_it(self) -> None:
        self.saw(call_of("getNote", "5"), {"id": 5})
        self.shown.strike("notes", "6")
        self.assertTrue(self.has())
        self.shown.strike("notes", "5")
        self.saw(call_of("getNote", "5"), {"id": 5}, ago=1)
        self.assertFalse(self.has())
        self.clock.advance(1)
        self.saw(call_of("getNote", "5"), {"id": 5})
        self.assertTrue(self.has())

    def test_so_does_one_to_what_it_belongs_to(self) -> None:
        for name, number in (("patients", "7"), ("hospitals", "1"), ("staffs", "2"), (None, None)):
            self.setUp()
            self.saw(call_of("getNote", "5"), {"id": 5})
            self.shown.strike(name, number)
            self.assertFalse(self.has(), name)

    def test_so_does_one_of_another_worker(self) -> None:
        for news, voids in (
            (EntriesInvalidated((), resource="notes", record="5"), True),
            (EntriesInvalidated((), resource="notes"), False),
            (EntriesInvalidated(()), True),
            (EverythingStale(), True),
        ):
            self.setUp()
            self.saw(call_of("getNote", "5"), {"id": 5})
            self.shown.heard(news)
            self.assertEqual(self.has(), not voids, news)

    def test_it_ages(self) -> None:
        self.saw(call_of("getNote", "5"), {"id": 5})
        self.clock.advance(FOR_S)
        self.assertFalse(self.has())

    def test_where_others_may_have_written_unheard_nothing_counts(self) -> None:
        self.saw(call_of("getNote", "5"), {"id": 5})
        for era, counts in ((None, False), (2, False), (1, True)):
            self.era = era
            self.assertEqual(self.has(), counts)
        self.era = None
        self.saw(call_of("getNote", "6"), {"id": 6})
        self.era = 1
        self.assertFalse(self.has(6))

    def test_it_is_bounded(self) -> None:
        for number in range(100):
            self.saw(call_of("getNote", str(number)), {"id": number})
        self.assertEqual([self.has(79), self.has(80)], [False, True])
        for _ in range(30):
            self.saw(call_of("listNotes"), [{"id": 5, "body": "x" * 600}])
        self.saw(call_of("listNotes"), [{"id": 3, "body": "x" * 2000}])
        self.assertLessEqual(self.shown._bytes, 4000)
        self.assertEqual((self.has(5), self.has(3)), (True, False))

    def test_strikes_are_bounded_and_none_is_forgotten(self) -> None:
        self.saw(call_of("getNote", "5"), {"id": 5})
        self.shown.strike("notes", "5")
        for number in range(1000, 1300):
            self.shown.strike("notes", str(number))
        self.assertEqual(len(self.shown._struck), 200)
        self.assertFalse(self.has())
