from __future__ import annotations

import contextlib
import errno
import random
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import RecordFailed
from hospproxy.record.disclosures import disclosure_of
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.group_commit import Committer
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record

from .disks import FakeDisk, HandRing, HandWorker
from .test_journal import (
    BROKEN,
    SIGNER,
    Bounded,
    Buffered,
    JournalCase,
    OnDiskBeforeItCounts,
    StartAndClose,
)

FULL = OSError(errno.ENOSPC, "No space left on device")
SET = disclosure_of(range(5))


class RingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk, self.worker, self.now = FakeDisk(), HandWorker(), 0.0
        self.keeper = TrailKeeper(
            Path("/audit"),
            lambda: self.now,
            self.disk,
            signer=SIGNER,
            plan=RotationPlan(rotate_bytes=60_000, reserve_bytes=4000),
        )
        self.ring = HandRing(self.worker)
        self.said: list[Any] = []
        globalLogPublisher.addObserver(self.said.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.said.append)
        self.commits = Committer(self.keeper, self.worker, lambda: self.ring)
        self.commits.start()
        self.worker.step()

    def keep(self, *numbers: int, named: Any = None) -> Deferred[int]:
        lines = [encode_record({"kind": "request", "n": number}) for number in numbers]
        return self.commits.keep(lines, [named] * len(lines))

    def step_all(self) -> None:
        while self.worker.tasks:
            self.worker.step()

    def numbers(self) -> list[int]:
        found = [record for file in self.disk.files.values() for record in file.records]
        return [record["n"] for record in found if "n" in record]

    def logged(self, words: str) -> int:
        return sum(words in str(event.get("log_format")) for event in self.said)


class Usual(RingCase):
    def test_the_ring_writes_and_the_chain_goes_on(self) -> None:
        for numbers in ((1,), (2, 3)):
            done = self.keep(*numbers)
            self.assertNoResult(done)
            self.worker.step()
            self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual((self.ring.writes, self.numbers()), (2, [1, 2, 3]))
        seqs = [record["seq"] for record in self.disk.last.all]
        self.assertEqual(seqs, [1, 2, 3, 4])
        committed = self.keeper.committed
        assert committed is not None
        self.assertEqual((committed.seq, committed.offset), (4, len(self.disk.last.content)))

    def test_a_set_is_written_once_and_counted(self) -> None:
        first = self.keep(1, named=SET)
        self.worker.step()
        second = self.keep(2, named=SET)
        self.worker.step()
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (1, 0))
        self.assertEqual(self.ring.writes, 2)

    def test_it_is_said_once_which_it_is(self) -> None:
        self.assertEqual(self.logged("written by io_uring"), 1)

        def none() -> HandRing:
            raise OSError(errno.EPERM, "Operation not permitted")

        Committer(self.keeper, self.worker, none).start()
        self.assertEqual(self.logged("by a thread: io_uring is not available"), 1)


class Unusual(RingCase):
    def test_a_task_for_the_thread_waits_for_the_ring_and_the_next_group_for_the_task(self) -> None:
        first = self.keep(1)
        tended = self.commits.run(self.keeper.tend)
        self.assertEqual(len(self.worker.tasks), 1)
        self.worker.step()
        self.successResultOf(first)
        second = self.keep(2)
        self.worker.step()
        self.successResultOf(tended)
        self.worker.step()
        self.successResultOf(second)
        self.assertEqual((self.ring.writes, self.numbers()), (1, [1, 2]))
        self.keep(3)
        self.assertEqual(self.ring.writes, 2)
        self.worker.step()

    def test_a_mistake_at_the_end_of_a_write_holds_up_nobody_else(self) -> None:
        done = self.keep(1)
        tended = self.commits.run(self.keeper.tend)
        with mock.patch.object(self.keeper, "written", side_effect=ValueError):
            self.worker.step()
        self.failureResultOf(done, ValueError)
        self.worker.step()
        self.successResultOf(tended)

    def test_another_file_is_begun_by_the_thread(self) -> None:
        self.now = 86_400.0
        self.keep(1)
        self.step_all()
        self.assertEqual((self.ring.writes, len(self.disk.files)), (0, 2))

    def test_a_long_group_is_the_threads(self) -> None:
        done = self.commits.keep([encode_record({"kind": "request", "n": 1, "x": "x" * 300_000})], [None])
        self.worker.step()
        self.successResultOf(done)
        self.assertEqual(self.ring.writes, 0)

    def test_the_reserve_is_the_threads(self) -> None:
        self.keep(0)
        self.worker.step()
        self.disk.full = True
        done = self.keep(1)
        self.step_all()
        self.successResultOf(done)
        self.assertTrue(self.keeper.full)
        self.keep(2)
        self.step_all()
        self.assertEqual((self.ring.writes, self.numbers()), (2, [0, 1, 2]))
        self.assertTrue(self.ring.open)

    def test_of_a_short_write_nothing_is_left_and_the_same_group_is_kept(self) -> None:
        self.disk.write = [7]
        done = self.keep(1, 2, named=SET)
        self.worker.step()
        self.assertNoResult(done)
        self.worker.step()
        self.assertEqual(self.successResultOf(done), 1)
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual(len(self.disk.files), 1)

    def test_a_file_that_failed_is_given_up_and_the_group_goes_to_the_next(self) -> None:
        self.ring.failing = [BROKEN]
        done = self.keep(1)
        self.step_all()
        self.successResultOf(done)
        first, second = self.disk.files.values()
        self.assertFalse(first.open)
        self.assertEqual((first.records, [record["n"] for record in second.records]), ([], [1]))
        self.assertEqual(second.all[0]["continues"]["how"], "failed")
        self.assertTrue(self.ring.open)

    def test_so_is_one_that_was_removed(self) -> None:
        self.disk.sync = [OSError(errno.ENOENT, "removed")]
        done = self.keep(1)
        self.step_all()
        self.successResultOf(done)
        self.assertEqual([record["n"] for record in self.disk.last.records], [1])
        self.assertEqual(len(self.disk.files), 2)

    def test_a_disk_that_goes_on_failing_fails_the_group(self) -> None:
        self.ring.failing = [BROKEN]
        self.disk.write = [BROKEN]
        done = self.keep(1)
        self.step_all()
        self.failureResultOf(done, RecordFailed)

    def test_what_waits_for_the_thread_comes_after_the_second_try(self) -> None:
        self.disk.write = [7]
        done = self.keep(1)
        closed = self.commits.run(self.keeper.close)
        self.step_all()
        self.successResultOf(done)
        self.successResultOf(closed)
        self.assertEqual(self.numbers(), [1])
        self.assertTrue(self.disk.last.all[-1]["closing"])

    def test_a_ring_that_refuses_or_fails_by_itself_is_left(self) -> None:
        for refused, failing in (([OSError(errno.EAGAIN, "busy")], []), ([], [OSError(errno.EINVAL, "?")])):
            self.setUp()
            self.ring.refused, self.ring.failing = refused, failing
            done = self.keep(1)
            self.step_all()
            self.successResultOf(done)
            self.assertFalse(self.ring.open)
            after = self.keep(2)
            self.step_all()
            self.successResultOf(after)
            self.assertEqual(self.numbers(), [1, 2])
            self.assertEqual(self.logged("from now on"), 1)

    def test_a_mistake_fails_the_group_and_no_other(self) -> None:
        def mistaken(*_: object) -> None:
            raise ValueError("a mistake")

        for name in ("prepare", "written"):
            undo = self.patch(TrailKeeper, name, mistaken)
            done = self.keep(1)
            self.step_all()
            self.failureResultOf(done, ValueError)
            undo.restore()

    def test_the_end_gives_the_ring_back(self) -> None:
        self.commits.stop()
        self.assertFalse(self.ring.open)
        self.assertTrue(self.worker.stopped)


class AnyOrder(RingCase):
    def test_what_counts_is_there_once_whatever_fails(self) -> None:
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        for _ in range(60):
            self.setUp()
            kept, tasks = [], []
            for number in range(40):
                self.go_wrong(chance)
                if chance.random() < 0.2:
                    tasks.append(self.commits.run(self.keeper.tend).addErrback(lambda _: None))
                done = self.keep(number, named=chance.choice([None, SET]))
                if chance.random() < 0.2:
                    tasks.append(self.commits.run(self.keeper.tend).addErrback(lambda _: None))
                self.step_all()
                with contextlib.suppress(RecordFailed):
                    done.addErrback(lambda failure: failure.trap(RecordFailed) and None)
                    if self.successResultOf(done) is not None:
                        kept.append(number)
            self.check(kept, seed)

    def go_wrong(self, chance: random.Random) -> None:
        self.now += chance.choice([0, 1, 6, 4000])
        what = chance.randrange(10)
        self.disk.full = what == 0
        self.disk.write = [chance.randrange(30)] if what == 1 else [BROKEN] if what == 2 else []
        self.disk.sync = [BROKEN] if what == 3 else []
        self.disk.truncate = [BROKEN] if chance.random() < 0.1 else []
        self.ring.failing = [chance.choice([BROKEN, FULL])] if what == 4 else []

    def check(self, kept: list[int], seed: int) -> None:
        """Check each file, up to the end that its successor states."""
        files = list(self.disk.files.values())
        found: list[Any] = []
        for file, after in zip(files, [*files[1:], None], strict=True):
            counts = after.all[0]["continues"]["records"] if after is not None else len(file.all)
            found += file.all[:counts]
        seqs = [record["seq"] for record in found]
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)), f"seed {seed}")
        numbers = [record["n"] for record in found if "n" in record]
        self.assertEqual(numbers, kept, f"seed {seed}")


class ByTheRing:
    """The journal's tests, with io_uring."""

    def made(self: Any, **bounds: float) -> Any:
        self.ring = HandRing(self.worker)
        journal = JournalCase.made(self, **bounds)
        journal._commits._make_ring = lambda: self.ring
        journal._commits._ring = self.ring
        return journal


class OnDiskBeforeItCountsByTheRing(ByTheRing, OnDiskBeforeItCounts):
    def tearDown(self) -> None:
        self.assertGreater(self.ring.writes, 0, "the ring was not used") if self.numbers() else None


class BoundedByTheRing(ByTheRing, Bounded):
    pass


class StartAndCloseByTheRing(ByTheRing, StartAndClose):
    def test_close_says_what_was_lost(self) -> None:
        self.disk.write = [BROKEN, BROKEN]
        lost = self.append(1)
        self.worker.step()
        self.worker.step()
        self.failureResultOf(lost, RecordFailed)
        closed = self.journal.close()
        while self.worker.tasks:
            self.worker.step()
        self.successResultOf(closed)
        self.assertFalse(self.ring.open)
        self.assertEqual([record["kind"] for record in self.kept()], ["gap"])


class BufferedByTheRing(ByTheRing, Buffered):
    def test_a_disk_that_fails_is_told_of_and_makes_answers_wait(self) -> None:
        self.disk.write = [BROKEN, BROKEN]
        self.successResultOf(self.append(1))
        self.clock.advance(0.5)
        self.worker.step()
        self.worker.step()
        waits = self.append(2)
        self.assertNoResult(waits)
        self.worker.step()
        self.successResultOf(waits)
        self.assertEqual(self.meter.value("record_failures_total"), 1)


del OnDiskBeforeItCounts, Bounded, Buffered, StartAndClose  # they run in their own module
