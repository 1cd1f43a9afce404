"""Requests that arrive together share a group, and lines that are encoded already are kept like any record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hospproxy.http.errors import RecordFailed
from hospproxy.record.describe import gap
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.journal import Journal, JournalBounds
from hospproxy.record.trail.keeper import TrailKeeper
from tests.record.trail.test_journal import BROKEN, SIGNER, JournalCase


class SharedGroups(JournalCase):
    def made(self, **bounds: float) -> Journal:
        self.later: list[Callable[[], None]] = []
        self.told: list[Exception | None] = []
        self.keeper = TrailKeeper(
            Path("/audit"), lambda: 0.0, self.disk, signer=SIGNER, plan=RotationPlan(reserve_bytes=4000)
        )
        return Journal(
            self.keeper, self.worker, self.clock, self.meter, gap(lambda: 0.0), bounds=JournalBounds(**bounds),
            after_poll=self.later.append,
        )  # fmt: skip

    def poll_ends(self) -> None:
        later, self.later = self.later, []
        for begin in later:
            begin()

    def put(self, number: int) -> None:
        self.journal.append_line(b'{"kind":"request","n":%d}' % number, "request", self.told.append)

    def test_what_arrives_in_one_poll_is_one_group(self) -> None:
        for number in (1, 2):
            self.put(number)
        done = self.append(3)
        self.assertEqual((len(self.later), self.worker.tasks), (1, []))
        self.poll_ends()
        self.assertEqual(self.told, [])
        self.worker.step()
        self.assertEqual(self.told, [None, None])
        self.successResultOf(done)
        self.assertEqual(self.numbers(), [1, 2, 3])
        self.assertEqual(self.meter.value("record_group_size_count"), 1)

    def test_a_group_that_ends_does_not_wait_for_the_poll(self) -> None:
        self.put(1)
        self.poll_ends()
        self.put(2)
        self.assertEqual(self.later, [])
        self.worker.step()
        self.worker.step()
        self.assertEqual(self.told, [None, None])

    def test_a_close_commits_what_waits_for_the_poll(self) -> None:
        self.put(1)
        closed = self.journal.close()
        while self.worker.tasks:
            self.worker.step()
        self.successResultOf(closed)
        self.assertEqual((self.told, self.numbers()), ([None], [1]))
        self.poll_ends()

    def test_a_failed_group_tells_each_line(self) -> None:
        self.disk.write = [BROKEN, BROKEN]
        for number in (1, 2):
            self.put(number)
        self.poll_ends()
        while self.worker.tasks:
            self.worker.step()
        self.assertEqual([type(each) for each in self.told], [RecordFailed, RecordFailed])

    def test_too_many_and_a_closed_journal_refuse_lines(self) -> None:
        self.journal = self.made(max_records=1)
        self.journal.start()
        self.worker.step()
        self.put(1)
        self.put(2)
        self.assertEqual([type(each) for each in self.told], [RecordFailed])
        self.journal.close()
        self.put(3)
        self.assertEqual([type(each) for each in self.told], [RecordFailed, RecordFailed])

    def test_a_request_that_fails_after_its_record_costs_no_other_its_response(self) -> None:
        def broken(_: Exception | None) -> None:
            raise ZeroDivisionError

        self.journal.append_line(b'{"n":1}', "request", broken)
        self.put(2)
        self.poll_ends()
        self.worker.step()
        self.assertEqual(self.told, [None])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_line_may_run_ahead_of_the_disk(self) -> None:
        self.journal = self.made(buffer_s=1.0)
        self.journal.start()
        self.worker.step()
        self.put(1)
        self.assertEqual(self.told, [None])
        self.clock.advance(0.5)
        self.worker.step()
        self.assertEqual((self.told, self.numbers()), ([None], [1]))
