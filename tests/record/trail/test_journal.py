from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.http.errors import RecordFailed
from hospproxy.interfaces import ILineJournal
from hospproxy.keys.signing_key import Signer
from hospproxy.record.describe import gap
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.journal import Journal, JournalBounds
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.null_journal import NullJournal
from hospproxy.watch.metrics import Metrics

from .disks import FakeDisk, HandWorker

BROKEN = OSError(errno.EIO, "Input/output error")
SIGNER = Signer.generate()


class JournalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk, self.worker, self.clock = FakeDisk(), HandWorker(), Clock()
        self.meter = Metrics(strict=True)
        self.journal = self.made()
        self.journal.start()
        self.worker.step()

    def made(self, **bounds: float) -> Journal:
        self.keeper = TrailKeeper(
            Path("/audit"), lambda: 0.0, self.disk, signer=SIGNER, plan=RotationPlan(reserve_bytes=4000)
        )
        return Journal(
            self.keeper, self.worker, self.clock, self.meter, gap(lambda: 0.0), bounds=JournalBounds(**bounds)
        )

    def append(self, number: int) -> Deferred[None]:
        return self.journal.append({"kind": "request", "n": number})

    def kept(self) -> list[Any]:
        return [record for file in self.disk.files.values() for record in file.records]

    def numbers(self) -> list[Any]:
        return [record["n"] for record in self.kept() if "n" in record]


class OnDiskBeforeItCounts(JournalCase):
    def test_interfaces(self) -> None:
        verifyObject(ILineJournal, self.journal)
        verifyObject(ILineJournal, NullJournal())

    def test_append_fires_only_when_synced(self) -> None:
        done = self.append(1)
        self.assertNoResult(done)
        self.worker.step()
        self.assertEqual(self.numbers(), [1])
        self.assertIsNone(self.successResultOf(done))

    def test_a_group_is_what_came_while_the_last_one_was_written(self) -> None:
        first = self.append(1)
        later = [self.append(number) for number in (2, 3, 4)]
        self.assertEqual(len(self.worker.tasks), 1)
        self.worker.step()
        self.successResultOf(first)
        for done in later:
            self.assertNoResult(done)
        self.worker.step()
        for done in later:
            self.successResultOf(done)
        self.assertEqual(self.worker.tasks, [])
        self.assertEqual(self.numbers(), [1, 2, 3, 4])
        self.assertEqual(self.meter.value("record_group_size_sum"), 4)
        self.assertEqual(self.meter.value("record_group_size_count"), 2)

    def test_the_next_group_is_begun_before_answers_go_out(self) -> None:
        under_way: list[int] = []
        self.append(1).addCallback(lambda _: under_way.append(len(self.worker.tasks)))
        self.append(2)
        self.worker.step()
        self.assertEqual(under_way, [1])

    def test_counts_kinds(self) -> None:
        self.append(1)
        self.worker.step()
        self.assertEqual(self.meter.value("records_total", kind="request"), 1)

    def test_the_time_of_a_group_is_measured(self) -> None:
        self.append(1)
        self.clock.advance(0.25)
        self.worker.step()
        self.assertEqual(self.meter.value("record_sync_seconds_sum"), 0.25)

    def test_a_cancelled_append_is_written_all_the_same(self) -> None:
        done = self.append(1)
        done.addErrback(lambda _: None)
        done.cancel()
        self.worker.step()
        self.assertEqual(self.numbers(), [1])


class Failing(JournalCase):
    def test_every_append_of_a_failed_group_fails_and_the_next_is_tried(self) -> None:
        first = self.append(1)
        group = [self.append(2), self.append(3)]
        self.worker.step()
        self.successResultOf(first)
        self.disk.write = [BROKEN]
        self.worker.step()
        for done in group:
            self.failureResultOf(done, RecordFailed)
        self.assertIn("Input/output error", self.journal.trouble or "")
        after = self.append(4)
        self.worker.step()
        self.successResultOf(after)
        self.assertEqual(self.numbers(), [1, 4])
        self.assertIsNone(self.journal.trouble)
        self.assertEqual(self.meter.value("record_failures_total"), 2)

    def test_a_gap_is_noted_as_soon_as_records_are_kept_again(self) -> None:
        self.disk.write = [BROKEN, BROKEN]
        lost = [self.append(1), self.append(2)]
        self.worker.step()
        self.worker.step()
        for done in lost:
            self.failureResultOf(done, RecordFailed)
        self.disk.write = [BROKEN]
        self.clock.advance(5)  # the first attempt to record that fails, too
        self.worker.step()
        self.assertEqual(self.kept(), [])
        self.assertIsNotNone(self.journal.trouble)
        self.clock.advance(5)
        self.worker.step()
        [record] = self.kept()
        self.assertEqual((record["kind"], record["lost"]), ("gap", 2))
        self.assertIn("Input/output error", record["reason"])
        self.assertIsNone(self.journal.trouble)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.meter.value("record_failures_total"), 2)

    def test_a_mistake_in_the_thread_fails_the_group_too(self) -> None:
        def mistaken(lines: object) -> None:
            raise ValueError("a mistake")

        self.patch(TrailKeeper, "keep", lambda _, lines, named: mistaken(lines))
        done = self.append(1)
        self.worker.step()
        self.failureResultOf(done, RecordFailed)

    def test_a_value_that_is_no_json_fails_only_its_own_record(self) -> None:
        self.failureResultOf(self.journal.append({"kind": "request", "n": object()}), RecordFailed)
        done = self.append(1)
        self.worker.step()
        self.successResultOf(done)

    def test_the_log_says_it_once(self) -> None:
        said: list[Any] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        self.disk.write = [BROKEN, BROKEN]
        for number in (1, 2):
            self.failureResultOf(self._stepped(number), RecordFailed)
        self.assertEqual(sum("cannot be written" in str(event.get("log_format")) for event in said), 1)

    def _stepped(self, number: int) -> Deferred[None]:
        done = self.append(number)
        self.worker.step()
        return done


class Bounded(JournalCase):
    def test_beyond_so_many_records_it_fails_at_once(self) -> None:
        self.journal = self.made(max_records=2)
        taken = [self.append(1), self.append(2)]
        self.failureResultOf(self.append(3), RecordFailed)
        self.worker.step()
        self.worker.step()
        for done in taken:
            self.successResultOf(done)
        again = self.append(4)
        self.worker.step()
        self.successResultOf(again)
        self.assertEqual(self.numbers(), [1, 2, 4])

    def test_beyond_so_many_bytes_it_fails_at_once(self) -> None:
        self.journal = self.made(max_bytes=40)
        taken = self.append(1)
        self.failureResultOf(self.journal.append({"kind": "request", "n": "x" * 60}), RecordFailed)
        self.worker.step()
        self.successResultOf(taken)
        again = self.append(2)
        self.worker.step()
        self.successResultOf(again)

    def test_an_overflow_is_a_gap_too(self) -> None:
        self.journal = self.made(max_records=1)
        self.append(1)
        self.failureResultOf(self.append(2), RecordFailed)
        self.worker.step()
        self.clock.advance(5)
        self.worker.step()
        self.assertEqual(self.kept()[-1]["lost"], 1)


class FullDisk(JournalCase):
    def test_no_intent_is_taken_and_the_rest_goes_to_the_reserve(self) -> None:
        self.disk.full = True
        first = self.append(1)
        self.worker.step()
        self.successResultOf(first)
        self.assertTrue(self.journal.full)
        self.assertIsNone(self.journal.trouble)
        self.failureResultOf(self.journal.append({"kind": "intent"}), RecordFailed)
        refusal = self.append(2)
        self.worker.step()
        self.successResultOf(refusal)
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual(self.meter.value("record_failures_total"), 0)

    def test_when_the_reserve_is_full_nothing_is_answered(self) -> None:
        self.disk.full = True
        outcomes = []
        for number in range(60):
            done = self.append(number)
            self.worker.step()
            done.addCallbacks(lambda _: outcomes.append(True), lambda _: outcomes.append(False))
        kept = outcomes.index(False)
        self.assertEqual(self.numbers(), list(range(kept)))
        self.assertEqual(outcomes[kept:], [False] * (60 - kept))
        self.assertEqual(self.meter.value("record_failures_total"), 60 - kept)
        self.assertIsNotNone(self.journal.trouble)

    def test_it_goes_on_when_there_is_room_again(self) -> None:
        journal = self.tended()
        self.disk.full = True
        done = self.append(1)
        self.worker.step()
        self.successResultOf(done)
        self.disk.full = False
        self.wall = 5.0
        self.clock.advance(5)
        self.worker.step()
        self.assertFalse(journal.full)
        intent = journal.append({"kind": "intent"})
        self.worker.step()
        self.successResultOf(intent)

    def tended(self) -> Journal:
        self.wall = 0.0
        keeper = TrailKeeper(
            Path("/audit"), lambda: self.wall, self.disk, signer=SIGNER, plan=RotationPlan(reserve_bytes=4000)
        )
        self.tendings: list[float] = []
        tend = keeper.tend

        def tending() -> None:
            self.tendings.append(self.wall)
            tend()

        self.patch(keeper, "tend", tending)
        self.journal = Journal(keeper, self.worker, self.clock, self.meter, gap(lambda: 0.0), by_clock=True)
        self.journal.start()
        self.worker.step()
        self.clock.advance(0)
        self.worker.step()
        return self.journal

    def test_what_is_due_by_the_clock_is_done_now_and_then_until_the_end(self) -> None:
        journal = self.tended()
        self.assertEqual(len(self.tendings), 1)
        self.clock.advance(5)
        self.worker.step()
        self.assertEqual(len(self.tendings), 2)
        journal.close()
        self.worker.step()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_trouble_with_the_next_file_ends_without_a_request(self) -> None:
        journal = self.tended()
        self.wall = 90_000.0  # another file is due
        self.disk.create_ = [BROKEN]
        self.clock.advance(5)
        self.worker.step()
        self.assertIn("cannot create audit files", journal.trouble or "")
        self.clock.advance(5)
        self.worker.step()
        self.assertIsNone(journal.trouble)


class Buffered(JournalCase):
    def setUp(self) -> None:
        super().setUp()
        self.journal = self.made(buffer_s=1.0, buffer_records=3)
        self.journal.start()
        self.worker.step()

    def test_an_answer_need_not_wait_and_its_record_follows_in_time(self) -> None:
        self.successResultOf(self.append(1))
        self.successResultOf(self.append(2))
        self.assertEqual(self.worker.tasks, [])
        self.clock.advance(0.5)
        self.worker.step()
        self.assertEqual(self.numbers(), [1, 2])

    def test_beyond_so_many_records_answers_wait(self) -> None:
        for number in range(3):
            self.successResultOf(self.append(number))
        waits = self.append(3)
        self.assertNoResult(waits)
        self.worker.step()
        self.successResultOf(waits)
        self.assertEqual(self.numbers(), [0, 1, 2, 3])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_when_the_disk_is_behind_answers_wait(self) -> None:
        self.successResultOf(self.append(1))
        self.clock.advance(0.5)
        self.successResultOf(self.append(2))
        self.clock.advance(0.5)  # the first is still being written
        waits = self.append(3)
        self.assertNoResult(waits)
        self.worker.step()
        self.assertNoResult(waits)
        self.worker.step()
        self.successResultOf(waits)

    def test_what_is_sent_to_hosp_is_on_disk_before(self) -> None:
        self.successResultOf(self.append(1))
        intent = self.journal.append({"kind": "intent"})
        self.assertNoResult(intent)
        self.worker.step()
        self.successResultOf(intent)

    def test_a_disk_that_fails_is_told_of_and_makes_answers_wait(self) -> None:
        self.disk.write = [BROKEN]
        self.successResultOf(self.append(1))
        self.clock.advance(0.5)
        self.worker.step()
        waits = self.append(2)
        self.assertNoResult(waits)
        self.worker.step()
        self.successResultOf(waits)
        self.clock.advance(5)
        self.clock.advance(0.5)
        self.worker.step()
        record = self.kept()[-1]
        self.assertEqual((record["kind"], record["lost"]), ("gap", 1))
        self.assertIn("1 of them already had their response", record["reason"])

    def test_close_keeps_what_was_answered(self) -> None:
        self.successResultOf(self.append(1))
        closed = self.journal.close()
        self.worker.step()
        self.worker.step()
        self.successResultOf(closed)
        self.assertEqual(self.numbers(), [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StartAndClose(JournalCase):
    def test_start_says_which_file(self) -> None:
        said: list[Any] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        begun = self.made().start()
        self.worker.step()
        path = self.successResultOf(begun)
        self.assertRegex(path.name, r"^audit-w0-00000002-19700101T000000\.000Z\.jsonl$")
        self.assertIn(str(path), [event.get("path") for event in said])

    def test_a_folder_that_cannot_be_used_fails_the_start(self) -> None:
        self.disk.create_ = [OSError(errno.EACCES, "Permission denied")]
        journal = self.made()
        begun = journal.start()
        self.worker.step()
        self.assertIn("Permission denied", self.failureResultOf(begun, RecordFailed).getErrorMessage())
        self.assertIsNotNone(journal.trouble)

    def test_close_waits_for_what_was_taken(self) -> None:
        taken = [self.append(1), self.append(2)]
        closed = self.journal.close()
        again = self.journal.close()
        self.failureResultOf(self.append(3), RecordFailed)
        self.worker.step()
        self.worker.step()
        for done in taken:
            self.successResultOf(done)
        self.assertNoResult(closed)
        self.worker.step()
        self.successResultOf(closed)
        self.successResultOf(again)
        self.assertTrue(self.worker.stopped)
        self.assertFalse(self.disk.last.open)
        self.assertEqual(self.numbers(), [1, 2])

    def test_close_says_what_was_lost(self) -> None:
        self.disk.write = [BROKEN]
        lost = self.append(1)
        self.worker.step()
        self.failureResultOf(lost, RecordFailed)
        closed = self.journal.close()
        self.worker.step()
        self.worker.step()
        self.successResultOf(closed)
        self.assertEqual([record["kind"] for record in self.kept()], ["gap"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_null_journal_keeps_nothing_and_never_fails(self) -> None:
        self.successResultOf(NullJournal().append({"kind": "request"}))
        self.successResultOf(NullJournal().close())
