"""What is taken from responses, when, and that nothing waits for the copy or fails with it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.copy import intake
from hospproxy.copy.files import CopyUnusable
from hospproxy.copy.intake import CopyIntake
from hospproxy.copy.store import CopyStore
from hospproxy.http.messages import Headers, Origin, Response
from tests.memory.cache_rig import call_of

from .rig import CONTRACT, DAY, MUCH, SHAPES, Rig, Worker, body, patient


class Meter:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        self.counts[labels.get("event", name)] += int(amount)


def response(content: bytes = b"", status: int = 200) -> Response:
    return Response(status, Headers(()), content, Origin.UPSTREAM)


class IntakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig(Path(self.mktemp()))
        self.clock, self.worker, self.meter = Clock(), Worker(), Meter()
        self.intake = self.made(self.rig.store)

    def made(self, store: CopyStore, max_bytes: int = MUCH) -> CopyIntake:
        made = CopyIntake(
            store, CONTRACT, SHAPES, self.worker, self.clock, self.meter,  # type: ignore[arg-type]
            since_boot=lambda: 500.0 + self.clock.seconds(), wall=lambda: DAY + self.clock.seconds(),
            max_bytes=max_bytes,
        )  # fmt: skip
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(made.stop())))
        return made

    def saw(
        self, operation: str, *path: str, content: bytes = b"", status: int = 200, took_s: float = 1.0
    ) -> None:
        now = self.clock.seconds()
        self.intake.saw(call_of(operation, *path), response(content, status), now - took_s, now)

    def after(self, seconds: float = intake.LAZY_S) -> dict[str, int]:
        self.clock.advance(seconds)
        counts, self.meter.counts = self.meter.counts, Counter()
        return dict(counts)

    def test_records_and_lists_are_taken_after_their_responses_have_left(self) -> None:
        self.intake.start()
        with mock.patch.object(self.rig.store, "apply", wraps=self.rig.store.apply) as apply:
            self.saw("getPatient", "7", content=body(patient()))
            self.saw("listPatients", content=body(patient(9), patient(8)))
            apply.assert_not_called()
            self.assertEqual(self.after(), {"new": 3})
        self.assertEqual(self.rig.rows("SELECT seen FROM records WHERE id = '7'"), [(DAY,)])
        self.assertEqual(self.rig.rows("SELECT began, ended FROM records WHERE id = '7'"), [(499.0, 500.0)])

    def test_how_much_is_known_is_counted_once_a_minute(self) -> None:
        self.intake.start()
        self.assertEqual((self.intake.extent.records, self.intake.oldest_s()), (0, 0.0))
        self.saw("listPatients", content=body(patient(9), patient(8)))
        self.after()
        self.assertEqual((self.intake.extent.records, self.intake.oldest_s()), (2, intake.LAZY_S))
        self.saw("getPatient", "7", content=body(patient()))
        self.after()
        self.assertEqual(self.intake.extent.records, 2)
        self.rig.boot += 60.0
        self.saw("getPatient", "9", content=body(patient(9)))
        self.after()
        self.assertEqual(self.intake.extent.records, 3)
        self.clock.advance(3600.0)
        self.assertEqual(self.intake.oldest_s(), 3600.0 + 3 * intake.LAZY_S)

    def test_a_piece_of_a_large_list_is_as_old_as_its_response(self) -> None:
        self.intake.start()
        self.clock.advance(100.0)
        self.intake.saw(call_of("listPatients"), response(body(patient(7), patient(8))), 10.0, 14.0)
        self.after()
        self.assertEqual(self.rig.rows("SELECT began, ended FROM records WHERE id = '7'"), [(510.0, 514.0)])

    def test_acknowledged_writes_are_taken(self) -> None:
        self.intake.start()
        self.saw("createPatient", content=body(patient()), status=201)
        self.saw("updatePatient", "8", content=body(patient(8)))
        self.assertEqual(self.after(), {"new": 2})
        self.intake.deleted(call_of("deletePatient", "7"), response(b"<html>", 200))
        self.intake.deleted(call_of("updatePatient", "8"), response(b"{}", 200))
        self.assertEqual(self.after(), {"deleted": 1})

    def test_nothing_else_is_taken(self) -> None:
        self.intake.start()
        for status in (201, 202, 204, 301, 401, 403, 500, 503):
            self.saw("getPatient", "7", content=body(patient()), status=status)
        self.saw("createPatient", content=body(patient()), status=200)
        self.saw("screenPatient", "7", content=body(patient()))
        self.saw("deletePatient", "7", content=body(patient()))
        self.saw("getStatus", content=b"<html>")
        self.saw("getPatient", "7", content=b"")
        self.saw("listPatients", status=404)
        self.assertEqual(self.after(), {})
        self.saw("getPatient", "7", content=body(patient()))
        self.after(5.0)
        for operation in ("updatePatient", "deletePatient", "screenPatient"):
            self.saw(operation, "7", status=404)
        self.assertEqual(self.after(), {})
        self.assertEqual(self.rig.rows("SELECT place, state FROM records"), [("patients/7", "present")])

    def test_a_record_that_is_not_found(self) -> None:
        self.intake.start()
        self.saw("getPatient", "7", content=body(patient()))
        self.clock.advance(5.0)
        self.saw("getPatient", "7", status=404)
        self.assertEqual(self.after(), {"new": 1, "missing": 1})

    def test_who_am_i_shows_a_record(self) -> None:
        self.intake.start()
        me = {"id": 3, "name": "ann", "hospital_id": 1, "created_at": "", "updated_at": "", "url": ""}
        self.saw("getMe", content=body(me))
        self.assertEqual(self.after(), {"new": 1})
        self.assertEqual(self.rig.rows("SELECT place FROM records"), [("staffs/3",)])

    def test_a_slow_disk_drops_and_counts(self) -> None:
        self.intake.start()
        self.worker.holds = True
        self.saw("getPatient", "7", content=body(patient()))
        self.clock.advance(intake.LAZY_S)
        self.patch(intake, "MOST_BYTES", 3 * len(body(patient(8))) + 10)
        for _ in range(8):
            self.saw("getPatient", "8", content=body(patient(8)))
        self.assertEqual(self.after(60.0), {"dropped": 5})
        self.assertEqual(len(self.worker.held), 1)
        self.worker.go()
        self.assertEqual(self.after(), {"new": 2, "confirmed": 2})

    def test_much_goes_in_several_transactions_so_that_other_processes_get_their_turn(self) -> None:
        self.intake.start()
        self.patch(intake, "AT_ONCE_BYTES", 2 * len(body(patient(7))))
        for number in (3, 4, 5, 6, 7):
            self.saw("getPatient", str(number), content=body(patient(number)))
        self.assertEqual(self.after(), {"new": 2})
        self.assertEqual(self.after(intake.GAP_S), {"new": 2})
        self.saw("getPatient", "8", content=b" " * 5000 + body(patient(8)))
        self.assertEqual(self.after(intake.GAP_S), {"new": 1})
        self.assertEqual(self.after(intake.GAP_S), {"new": 1}, "one that is longer goes alone")
        for number in (3, 4, 5):
            self.saw("getPatient", str(number), content=body(patient(number)))
        self.successResultOf(Deferred.fromCoroutine(self.intake.stop()))
        self.assertEqual(self.meter.counts, {"confirmed": 3})

    def test_responses_without_content_are_bounded_too(self) -> None:
        self.intake.start()
        self.patch(intake, "MOST_ANSWERS", 4)
        for _ in range(7):
            self.intake.deleted(call_of("deletePatient", "7"), response())
        self.assertEqual(self.after(), {"dropped": 3, "deleted": 1})

    def test_a_disk_that_fails_loses_a_group_and_goes_on(self) -> None:
        self.intake.start()
        with mock.patch.object(self.rig.store, "apply", side_effect=sqlite3.OperationalError("disk full")):
            self.saw("getPatient", "7", content=body(patient()))
            self.saw("getPatient", "8", content=body(patient(8)))
            self.assertEqual(self.after(), {"failed": 2})
        self.assertEqual(self.intake.trouble, "disk full")
        self.saw("getPatient", "7", content=body(patient()))
        self.assertEqual(self.after(), {"new": 1})
        self.assertIsNone(self.intake.trouble)

    def test_a_copy_that_cannot_be_opened_now_is_tried_again(self) -> None:
        opening = mock.patch.object(self.rig.store, "open", side_effect=sqlite3.OperationalError("locked"))
        with opening:
            self.intake.start()
            self.saw("getPatient", "7", content=body(patient()))
            self.assertEqual(self.after(intake.AGAIN_S - 1.0), {})
            self.assertEqual(self.intake.trouble, "locked")
        self.assertEqual(self.after(1.0 + intake.LAZY_S), {})
        self.assertIsNone(self.intake.trouble)
        self.assertEqual(self.after(), {"new": 1})

    def test_a_copy_that_is_not_usable_is_left_alone(self) -> None:
        with mock.patch.object(
            self.rig.store, "open", side_effect=CopyUnusable("a newer version")
        ) as opening:
            self.worker.holds = True
            self.intake.start()
            self.saw("getPatient", "7", content=body(patient()))
            self.worker.go()
            self.assertEqual(self.after(1000.0), {"failed": 1})
            opening.assert_called_once()
        self.assertEqual(self.intake.trouble, "a newer version")
        self.saw("getPatient", "7", content=body(patient()))
        self.assertEqual(self.after(), {})

    def test_a_bug_is_counted_and_logged_and_does_not_stop_it(self) -> None:
        self.intake.start()
        with mock.patch.object(self.rig.store, "apply", side_effect=ZeroDivisionError("a bug")):
            self.saw("getPatient", "7", content=body(patient()))
            self.assertEqual(self.after(), {"failed": 1, "unhandled_errors_total": 1})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.saw("getPatient", "7", content=body(patient()))
        self.assertEqual(self.after(), {"new": 1})

    def test_a_full_copy_says_so_once_and_a_reload_lets_it_go_on(self) -> None:
        said: list[Any] = []
        self.patch(intake._log, "warn", lambda words, **fields: said.append(words))
        self.intake.reload(1)
        self.intake.start()
        for number in (7, 8, 9):
            self.saw("getPatient", str(number), content=body(patient(number)))
            self.assertEqual(self.after(), {"full": 1})
        self.assertEqual(len(said), 1)
        self.intake.reload(MUCH)
        self.saw("getPatient", "7", content=body(patient()))
        self.assertEqual(self.after(), {"new": 1})

    def test_a_stop_stores_what_waits(self) -> None:
        self.intake.start()
        self.saw("getPatient", "7", content=body(patient()))
        self.successResultOf(Deferred.fromCoroutine(self.intake.stop()))
        self.assertEqual((self.meter.counts, self.worker.stopped), ({"new": 1}, True))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.saw("getPatient", "8", content=body(patient(8)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_before_the_start_nothing_is_taken(self) -> None:
        self.saw("getPatient", "7", content=body(patient()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
