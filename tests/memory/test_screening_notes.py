"""A screening's result becomes one note, whatever HOSP does meanwhile."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.exchange.exchange import Exchange
from hospproxy.guard.credentials import basic
from hospproxy.http.errors import FailedAfterSending, NotSent, RecordFailed
from hospproxy.http.messages import Response
from hospproxy.interfaces import IProcessor, Proceed
from hospproxy.memory.note_text import NOTE_BYTES
from tests.rig import CONTRACT, STAFF2, Rig

SCREEN = CONTRACT.operation("screenPatient")


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
            one.trace.reference
            for one in self.rig.exchanges
            if one.trace.call and one.trace.call.operation is SCREEN
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

    def test_a_note_in_doubt_is_looked_for_with_the_credentials_that_are_good_now(self) -> None:
        self.rig.hosp.faults = [("before", FailedAfterSending("reset"))]
        self.screen()
        self.rig.hosp.passwords["staff1"] = "new"
        self.assertEqual(self.settle(5), [])
        self.rig.get(self.rig.send("GET", "/notes", auth=basic("staff1", "new")))
        self.assertEqual(len(self.settle(200)), 1)
        self.assertEqual(self.rig.screening.pending, 0)

    def test_what_hosp_refuses_can_be_fetched_by_its_author_alone(self) -> None:
        self.screen()
        reference = self.rig.exchanges[-1].trace.reference
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

    def long(self, count: int = 4) -> list[str]:
        """Images whose results fill several notes: the beginning of each result, up to the colon."""
        return [f"{number} {'x' * 40_000}" for number in range(count)]

    def screen_long(self, **kwargs: Any) -> Any:
        self.rig.hosp.padding = "x" * 40_000
        return self.rig.send("POST", "/patients/7/screen", {"images": ["0 ", "1 ", "2 ", "3 "]}, **kwargs)

    def is_whole(self, notes: list[dict[str, Any]]) -> None:
        """Check that every note of one long result exists once."""
        self.assertEqual(len(notes), 4)
        for number, image in enumerate(self.long(), 1):
            (note,) = [each for each in notes if each["title"] == f"Screening result (part {number} of 4)"]
            self.assertIn(f"{image}: fine", note["body"])
            self.assertLessEqual(len(note["body"].encode()), NOTE_BYTES)

    def test_a_long_result_is_several_notes_in_their_order(self) -> None:
        self.assertEqual(self.rig.get(self.screen_long()).status, 200)
        self.assertEqual(self.rig.screening.pending, 4)
        notes = self.settle()
        self.is_whole(notes)
        self.assertEqual([note["body"][:11] for note in notes], [f"Part {n} of 4" for n in range(1, 5)])
        self.assertEqual(self.rig.screening.pending, 0)

    def test_each_once_whatever_becomes_of_their_posts(self) -> None:
        reset = FailedAfterSending("reset")
        for faults in (
            [("after", 500), ("before", 500), ("after", reset), ("late:20", reset)],
            [("late:20", reset)] * 4,
            [("before", NotSent("gone")), ("after", 500)] * 4,
        ):
            self.setUp()
            self.rig.hosp.faults = list(faults)
            self.rig.get(self.screen_long())
            self.is_whole(self.settle(600))

    def test_a_crash_between_two_parts(self) -> None:
        reset = FailedAfterSending("reset")
        for stored in range(5):
            for fault in ("before", "after"):
                self.setUp()
                hosp = self.rig.hosp
                self.rig.get(self.screen_long())
                hosp.faults = [("after", 201)] * stored + [(fault, reset)] * (stored < 4)
                hosp.read_faults = [500] * 9
                self.rig.clock.advance(0.0)
                self.assertEqual(len(hosp.records["notes"]), min(4, stored + (fault == "after")))
                self.rig = self.rig.crash()
                hosp.read_faults = []
                self.is_whole(self.settle(600))
                self.assertEqual(self.rig.screening.pending, 0)

    def test_all_parts_are_safe_before_the_answer_or_none(self) -> None:
        answer = self.screen_long()
        self.assertEqual(self.successResultOf(answer).status, 200)
        self.assertEqual(len(self.rig.disk.all("reference")), 4)
        self.setUp()
        self.rig.disk.keeper.execute(
            "CREATE TRIGGER full BEFORE INSERT ON entries WHEN NEW.reference LIKE '%-3of4%' "
            "BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        self.assertEqual(self.rig.get(self.screen_long()).status, 503)
        self.assertEqual(self.rig.disk.all("reference"), [])
        self.assertEqual((self.settle(), self.rig.screening.pending), ([], 0))

    def test_a_part_that_hosp_refuses_can_be_fetched_and_the_others_are_stored(self) -> None:
        self.rig.get(self.screen_long())
        reference = self.rig.exchanges[-1].trace.reference
        self.rig.hosp.faults = [("after", 201), ("before", 422)]
        self.assertEqual(len(self.settle()), 3)
        told = json.loads(self.rig.get(self.rig.send("GET", f"/.hospproxy/outcomes/{reference}-2of4")).body)
        self.assertEqual(told["outcome"], "refused")
        self.assertIn(self.long()[1], told["note"]["body"])
        self.flushLoggedErrors()

    def test_a_long_result_counts_as_its_notes(self) -> None:
        self.rig = Rig(max_pending=4)
        self.rig.get(self.rig.send("GET", "/notes"))
        self.rig.get(self.screen_long())
        self.assertEqual(self.screen().status, 503)
        self.settle()
        self.assertEqual(self.screen().status, 200)

    def test_a_client_that_leaves_while_its_result_is_being_kept(self) -> None:
        self.leave_while_kept()
        self.assertEqual((len(self.settle()), self.rig.screening.pending), (1, 0))
        self.assertEqual(self.rig.disk.all("state"), [("answered",)])

    def test_nor_is_anything_left_if_it_cannot_be_kept(self) -> None:
        self.leave_while_kept(fails=True)
        self.assertEqual((self.settle(), self.rig.screening.pending), ([], 0))
        self.assertEqual(self.rig.disk.all("state"), [])

    def leave_while_kept(self, *, fails: bool = False) -> None:
        asked: list[tuple[Any, Deferred[Any]]] = []
        worker = self.rig.worker

        def slow(work: Any) -> Deferred[Any]:
            asked.append((work, Deferred()))
            return asked[-1][1]

        with self.patched(worker, slow):
            answer = self.rig.send("POST", "/patients/7/screen", {"images": ["a", "b"]})
            answer.cancel()
            self.failureResultOf(answer)
        ((work, done),) = asked
        worker.full = fails
        worker.run(work).chainDeferred(done)
        worker.full = False

    @contextlib.contextmanager
    def patched(self, worker: Any, run: Any) -> Iterator[None]:
        patch = self.patch(worker, "run", run)
        yield
        patch.restore()

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
        late = Deferred.fromCoroutine(self.rig.screening.idle())
        late.cancel()
        self.failureResultOf(late, CancelledError)
        self.assertEqual(self.rig.screening.stop(), 1)
        self.assertEqual(self.rig.screening.pending, 0)


@implementer(IProcessor)
class FailingRecord:
    """Fails to record the next deliveries, after the request was carried out."""

    def __init__(self) -> None:
        self.left = 0

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        response = await proceed(exchange)
        if exchange.own == "screening note" and self.left:
            self.left -= 1
            raise RecordFailed("Input/output error")
        return response


class DeliveryWithoutARecordTests(SynchronousTestCase):
    def test_a_note_whose_record_failed_is_looked_for_and_stored_once(self) -> None:
        record = FailingRecord()
        rig = Rig(put_in={"record.audit": record})
        rig.get(rig.send("GET", "/notes"))
        record.left = 1
        rig.get(rig.send("POST", "/patients/7/screen", {"images": ["a"]}))
        rig.clock.pump([0.5] * 600)
        self.assertEqual((len(rig.hosp.records["notes"]), rig.screening.pending), (1, 0))
        self.assertEqual(len(rig.hosp.seen("createNote")), 1)
