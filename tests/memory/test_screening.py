"""A screening's result becomes one note, whatever HOSP does meanwhile."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.errors import FailedAfterSending, NotSent
from hospproxy.guard.credentials import basic
from hospproxy.memory.screening import NOTE_LENGTH, note_body
from tests.rig import CONTRACT, STAFF2, Rig

SCREEN = CONTRACT.operation("screenPatient")
SHAPE = SCREEN.becomes_note
assert SHAPE is not None


class BodyTests(SynchronousTestCase):
    def test_it_reads_as_people_write(self) -> None:
        assert SHAPE is not None
        text = note_body(SHAPE, {"overall": "clear", "results": ["fine", {"a": 1}, None]}, "hp-1")
        self.assertEqual(
            text, 'Overall: clear\nImage 1: fine\nImage 2: {"a":1}\nImage 3: no result\nReference: hp-1'
        )

    def test_odd_answers_still_make_a_note(self) -> None:
        assert SHAPE is not None
        self.assertEqual(note_body(SHAPE, {}, "hp-1"), "Overall: no result\nReference: hp-1")
        self.assertIn("No images.", note_body(SHAPE, {"overall": 1, "results": []}, "hp-1"))

    def test_a_long_one_is_cut_before_its_reference(self) -> None:
        assert SHAPE is not None
        text = note_body(SHAPE, {"overall": "x" * 200_000}, "hp-1")
        self.assertLessEqual(len(text), NOTE_LENGTH)
        self.assertTrue(text.endswith("\n(cut: too long)\nReference: hp-1"))


class ScreeningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.rig.get(self.rig.send("GET", "/notes"))

    def screen(self, **kwargs: Any):
        return self.rig.get(self.rig.send("POST", "/patients/7/screen", {"images": ["a", "b"]}, **kwargs))

    def settle(self, seconds: float = 300) -> list[dict[str, Any]]:
        self.rig.clock.pump([0.5] * int(seconds * 2))
        return self.rig.hosp.records["notes"]

    def test_the_answer_is_unchanged_and_the_note_comes_after_it(self) -> None:
        answer = self.rig.send("POST", "/patients/7/screen", {"images": ["a", "b"]}, auth=STAFF2)
        result = self.successResultOf(answer)
        self.assertEqual(json.loads(result.body), {"overall": "clear", "results": ["a: fine", "b: fine"]})
        self.assertEqual((self.rig.hosp.records["notes"], self.rig.screening.pending), ([], 1))
        (note,) = self.settle(1)
        self.assertEqual((note["patient_id"], note["staff_id"], note["title"]), (7, 2, "Screening result"))
        self.assertIn("Image 2: b: fine", note["body"])
        (recorded,) = [
            one.reference for one in self.rig.exchanges if one.call and one.call.operation is SCREEN
        ]
        self.assertTrue(recorded and recorded in note["body"])
        self.assertEqual(self.rig.screening.pending, 0)

    def test_exactly_one_whatever_becomes_of_its_post(self) -> None:
        for number, faults in enumerate(
            (
                [("after", 500)],
                [("before", 500)] * 5,
                [("after", FailedAfterSending("reset"))],
                [("late:20", FailedAfterSending("reset"))],
                [("before", NotSent("gone"))] * 12,
                [("before", 503), ("after", 500)],
            ),
            1,
        ):
            self.rig.hosp.faults = list(faults)
            self.assertEqual(self.screen().status, 200)
            self.assertEqual(len(self.settle()), number, faults)
            self.assertEqual(self.rig.screening.pending, 0)

    def test_two_equal_screenings_are_two_notes(self) -> None:
        self.screen()
        self.screen()
        self.assertEqual(len({note["body"] for note in self.settle()}), 2)

    def test_a_failed_screening_is_no_note(self) -> None:
        self.rig.hosp.read_faults = [500] * 5
        self.assertEqual(self.screen().status, 500)
        self.assertEqual(self.settle(), [])

    def test_it_waits_out_a_401_and_gives_up_a_refusal(self) -> None:
        self.screen()
        self.rig.hosp.passwords["staff1"] = "other"
        self.assertEqual(self.settle(), [])
        self.assertEqual(self.rig.screening.pending, 1)
        self.rig.hosp.passwords["staff1"] = "new"
        self.assertEqual(self.settle(), [])
        self.rig.get(self.rig.send("GET", "/notes", auth=STAFF2))
        self.assertEqual(self.settle(), [])
        self.rig.get(self.rig.send("GET", "/notes", auth=basic("staff1", "new")))
        self.assertEqual([note["staff_id"] for note in self.settle()], [1])
        self.rig.hosp.passwords["staff1"] = "password1"
        self.screen()
        self.rig.hosp.faults = [("before", 422)]
        self.assertEqual(len(self.settle()), 1)
        self.assertEqual(self.rig.screening.pending, 0)

    def test_what_hosp_refuses_can_be_fetched_by_its_author_alone(self) -> None:
        self.screen()
        reference = self.rig.exchanges[-1].reference
        self.rig.hosp.faults = [("before", 422)]
        self.settle()
        target = f"/.hospproxy/outcomes/{reference}"
        told = json.loads(self.rig.get(self.rig.send("GET", target)).body)
        self.assertEqual(told["outcome"], "refused")
        self.assertIn("Image 2: b: fine", told["note"]["body"])
        self.assertEqual(self.rig.get(self.rig.send("GET", target, auth=STAFF2)).status, 404)
        self.assertNotIn(b"b: fine", b"".join(row[0] or b"" for row in self.rig.disk.all("answer")))

    def test_a_result_outlives_the_process_and_is_one_note(self) -> None:
        for faults in (
            [],
            [("after", FailedAfterSending("reset"))],
            [("late:9", FailedAfterSending("reset"))],
        ):
            self.setUp()
            self.rig.hosp.faults = list(faults)
            self.assertEqual(self.screen().status, 200)
            self.rig.clock.advance(1.0 if faults else 0.0)
            after = self.rig.crash()
            after.clock.pump([0.5] * 200)
            self.assertEqual(len(after.hosp.records["notes"]), 1, faults)
            self.assertEqual(after.screening.pending, 0)

    def test_no_answer_without_the_result_being_safe(self) -> None:
        self.rig.worker.full = True
        self.assertEqual(self.screen().status, 503)

    def test_no_more_is_taken_on_than_can_be_kept(self) -> None:
        self.rig = Rig(max_pending=1)
        self.rig.get(self.rig.send("GET", "/notes"))
        self.screen()
        self.rig.hosp.faults = [("before", NotSent("gone"))] * 99
        self.assertEqual(self.screen().status, 503)
        self.assertEqual(len(self.rig.hosp.seen("screenPatient")), 1)

    def test_stopping_waits_for_what_is_held_and_then_says_what_is_lost(self) -> None:
        self.screen()
        idle = Deferred.fromCoroutine(self.rig.screening.idle())
        self.assertNoResult(idle)
        self.rig.clock.advance(0)
        self.successResultOf(idle)
        self.rig.hosp.faults = [("before", NotSent("gone"))] * 99
        self.screen()
        self.rig.clock.advance(0)
        self.assertEqual(self.rig.screening.stop(), 1)
        self.assertEqual(self.rig.screening.pending, 0)
