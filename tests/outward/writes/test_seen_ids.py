"""Ids that were seen, claimed and touched; kept only while they are needed."""

import json

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Call
from hospproxy.http.messages import Response
from hospproxy.outward.writes.seen_ids import SeenIds, id_of, ids_in
from tests.rig import CONTRACT

LIST, ONE = CONTRACT.operation("listNotes"), CONTRACT.operation("getNote")


class SightingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sightings = SeenIds(CONTRACT, most=3)

    def test_what_is_no_number_stays_text(self) -> None:
        for text, wanted in (("7", 7), ("x", "x"), ("\u00b2", "\u00b2"), ("9" * 5000, "9" * 5000)):
            self.assertEqual(id_of(text), wanted)

    def see(self, *ids: object, status: int = 200) -> None:
        body = json.dumps([{"id": number} for number in ids]).encode()
        self.sightings.saw(Call(LIST), Response(status, body=body))

    def test_the_highest_id_of_any_answer_is_the_floor_of_what_begins_then(self) -> None:
        self.assertIsNone(self.sightings.open("notes", "a"))
        self.see(3, 9, "x", None, True)
        self.see(50, status=500)
        self.sightings.saw(Call(ONE, ("4",)), Response(200, body=b'{"id":4}'))
        self.assertEqual(self.sightings.open("notes", "b"), 9)
        self.assertIsNone(self.sightings.open("patients", "c"))

    def test_a_claim_is_the_first_ones(self) -> None:
        self.sightings.open("notes", "a")
        self.assertTrue(self.sightings.claim("notes", 5, "a"))
        self.assertFalse(self.sightings.claim("notes", 5, "b"))
        self.assertEqual(self.sightings.claimed_by_others("notes", "b"), {5})
        self.assertEqual(self.sightings.claimed_by_others("notes", "a"), set())

    def test_nothing_is_kept_that_no_open_write_needs(self) -> None:
        self.sightings.claim("notes", 5, "nobody waits")
        self.sightings.touch(ONE, "5")
        self.sightings.made("notes", 1)
        self.sightings.open("notes", "a")
        self.assertEqual(self.sightings.claimed_by_others("notes", "a"), set())
        self.sightings.claim("notes", 2, "b")
        self.sightings.touch(ONE, "2")
        self.sightings.made("notes", 7)
        self.sightings.open("notes", "c")
        self.assertEqual(self.sightings.touched("notes"), {2})
        self.sightings.close("notes", "a")
        self.assertEqual(self.sightings.touched("notes"), set())
        self.assertEqual(self.sightings.claimed_by_others("notes", "c"), set())
        self.sightings.claim("notes", 8, "b")
        self.sightings.close("notes", "c")
        self.sightings.open("notes", "d")
        self.assertEqual(self.sightings.claimed_by_others("notes", "d"), set())

    def test_an_imported_id_is_no_part_of_the_sequence(self) -> None:
        self.see(10**9)
        self.assertIsNone(self.sightings.sequence("notes"))
        created = Response(201, body=b'{"id":5}')
        self.sightings.saw(Call(CONTRACT.operation("createNote")), created)
        self.assertEqual((self.sightings.sequence("notes"), self.sightings.highest("notes")), (5, 10**9))

    def test_an_id_that_nobody_can_compare_exactly_is_no_floor(self) -> None:
        for number in (2**53, 2**63, 10**30, 0, -5):
            self.see(number)
        self.assertIsNone(self.sightings.highest("notes"))

    def test_a_certain_claim_is_remembered_for_awhile(self) -> None:
        for number in range(1100):
            self.sightings.claim("notes", number, "a", lasting=True)
        others = self.sightings.claimed_by_others("notes", "b")
        self.assertEqual((min(others), len(others)), (100, 1000))  # type: ignore[type-var]
        self.assertEqual(self.sightings.claimed_by_others("notes", "a"), set())

    def test_beyond_the_bound_nothing_is_sure_until_all_are_settled(self) -> None:
        self.sightings.open("notes", "a")
        for number in range(5):
            self.sightings.claim("notes", number, "b")
        self.assertEqual(len(self.sightings.claimed_by_others("notes", "a")), 3)
        self.assertIn("notes", self.sightings.overflowed)
        self.sightings.close("notes", "a")
        self.assertEqual(self.sightings.overflowed, set())

    def test_answers_without_records_hold_no_ids(self) -> None:
        for body in (b"", b"<p>", b"[1,2]", b"null", b'{"id":{}}'):
            self.assertEqual(ids_in(body, "id"), [])
