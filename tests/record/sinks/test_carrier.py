from __future__ import annotations

import stat
from itertools import pairwise
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.interfaces import IAuditFileWriter, IAuditWriter
from hospproxy.record.sinks.carrier import MAX_RETRY_AFTER_S, TIMEOUT_S
from hospproxy.record.sinks.pace import TICK_S
from hospproxy.record.sinks.positions import CursorFiles
from hospproxy.record.sinks.signed_post import PostError
from hospproxy.record.trail.follower import Cursor
from hospproxy.record.trail.identity import trail_id

from ..trail.trails import DAY
from .carriers import FakeFileWriter, FakeWriter, Rig, trail_in


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.trail = trail_in(self.mktemp())
        self.trail.start()
        self.rigs: list[Rig] = []
        self.writer = FakeWriter()

    def tearDown(self) -> None:
        for rig in self.rigs:
            rig.kill()

    def rig(self, writer: Any = None) -> Rig:
        rig = Rig(self.trail, writer or self.writer)
        self.rigs.append(rig)
        return rig

    def position_file(self, journal: str = "w0") -> Any:
        return self.trail.folder / "positions" / f"{self.writer.name}-{journal}.json"

    def last_seq(self) -> int:
        assert self.trail.keeper is not None
        assert self.trail.keeper.committed is not None
        return self.trail.keeper.committed.seq

    def all_of_it(self) -> list[int]:
        return list(range(1, self.last_seq() + 1))


class InOrder(Case):
    def test_the_interfaces(self) -> None:
        verifyObject(IAuditWriter, self.writer)
        verifyObject(IAuditFileWriter, FakeFileWriter())

    def test_every_record_once_over_files_packing_and_a_restart(self) -> None:
        rig = self.rig()
        self.trail.keep(30)
        rig.settle_long()
        self.trail.tend()
        self.trail.keep(20)
        rig.settle_long()
        rig.stop()
        self.trail.stop()
        self.trail.keep(20)
        self.rig().settle_long()
        self.assertEqual(self.writer.seqs, self.all_of_it())
        self.assertEqual({batch.trail for batch in self.writer.batches}, {trail_id(self.trail.folder)})
        for batch in self.writer.batches:
            self.assertEqual(batch.first_seq + len(batch.lines) - 1, batch.position.seq)

    def test_what_is_committed_while_it_is_idle_is_carried_within_a_tick(self) -> None:
        rig = self.rig()
        rig.settle_long()
        self.trail.keep(1)
        rig.settle(TICK_S)
        self.assertEqual(self.writer.seqs, self.all_of_it())

    def test_nothing_is_read_while_there_is_nothing(self) -> None:
        rig = self.rig()
        rig.settle_long()
        for _ in range(20):
            rig.clock.advance(TICK_S)
            self.assertEqual(rig.worker.tasks, [])

    def test_a_new_writer_begins_with_the_oldest_file_that_is_there(self) -> None:
        self.trail.keep(40)
        self.trail.now += 10 * DAY
        self.trail.tend(retention_days=5)
        self.trail.keep(10)
        rig = self.rig()
        rig.settle_long()
        first = self.writer.seqs[0]
        self.assertGreater(first, 1)
        self.assertEqual(self.writer.seqs, self.all_of_it()[first - 1 :])
        self.assertEqual(rig.value("missed_total"), None)


class Saved(Case):
    def test_it_is_for_its_owner_alone(self) -> None:
        self.rig().settle_long()
        self.assertEqual(stat.S_IMODE(self.position_file().stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.position_file().parent.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((self.trail.folder / "trail-id").stat().st_mode), 0o600)

    def test_damaged_it_is_said_and_all_comes_again(self) -> None:
        other = b'{"v":1,"trail":"0000000000000000","journal":"w0","number":1,"offset":0,"seq":0}'
        for content in (b"", b"{", b"[]", b'{"v":1}', other):
            rig = self.rig()
            rig.settle_long()
            rig.stop()
            self.position_file().write_bytes(content)
            self.writer.batches.clear()
            with self.assertLogs_(1):
                rig = self.rig()
                rig.settle_long()
            self.assertEqual(self.writer.seqs, self.all_of_it(), content)
            rig.stop()

    def test_beyond_the_end_it_is_said_and_all_comes_again(self) -> None:
        self.rig().settle_long()
        self.rigs.pop().stop()
        CursorFiles(self.trail.folder).save("fake", Cursor("w0", 9, 5, 1000), trail_id(self.trail.folder))
        self.writer.batches.clear()
        with self.assertLogs_(1):
            self.rig().settle_long()
        self.assertEqual(self.writer.seqs, self.all_of_it())

    def test_a_disk_that_is_full_does_not_hold_it_up(self) -> None:
        rig = self.rig()
        self.patch(CursorFiles, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        self.trail.keep(10)
        with self.assertLogs_(1):
            rig.settle_long()
            self.trail.keep(10)
            rig.settle_long()
        self.assertEqual(self.writer.seqs, self.all_of_it())

    def test_what_is_needed(self) -> None:
        positions = CursorFiles(self.trail.folder)
        self.assertIsNone(positions.needed_from([], "w0"))
        self.assertEqual(positions.needed_from(["fake"], "w0"), 0)
        self.trail.keep(40)
        self.rig().settle_long()
        newest = self.trail.paths[-1]
        self.assertEqual(positions.needed_from(["fake"], "w0"), int(newest.name.split("-")[2]))
        self.assertEqual(positions.needed_from(["fake", "new"], "w0"), 0)

    def assertLogs_(self, times: int) -> Any:
        return self.assertLogs_of("critical", "error", times=times)

    def assertLogs_of(self, *levels: str, times: int) -> Any:
        return _Said(self, levels, times)


class _Said:
    """Counts what is logged at these levels."""

    def __init__(self, case: SynchronousTestCase, levels: tuple[str, ...], times: int) -> None:
        self.case, self.levels, self.times = case, levels, times
        self.events: list[str] = []

    def __call__(self, event: Any) -> None:
        if event["log_level"].name in self.levels:
            self.events.append(str(event.get("log_format")))

    def __enter__(self) -> _Said:
        from twisted.logger import globalLogPublisher

        globalLogPublisher.addObserver(self)
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        from twisted.logger import globalLogPublisher

        globalLogPublisher.removeObserver(self)
        if kind is None:
            self.case.assertEqual(len(self.events), self.times, self.events)


class Failing(Case):
    def test_it_is_tried_again_ever_later_and_said_once(self) -> None:
        rig = self.rig()
        self.writer.results = [ValueError("away")] * 9
        times: list[float] = []
        with _Said(self, ("error", "critical"), 1):
            while self.writer.results or rig.worker.tasks:
                before = len(self.writer.seen)
                rig.settle(0.25)
                if len(self.writer.seen) > before:
                    times.append(rig.clock.seconds())
            self.assertEqual(rig.value("failures_total"), 9)
            self.assertFalse(rig.carrier.up)
            rig.settle(61)
        waits = [later - sooner for sooner, later in pairwise(times)]
        for wait, expected in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
            self.assertTrue(expected - 0.5 <= wait <= expected + 0.5, waits)
        self.assertEqual(self.writer.seqs, self.all_of_it())
        self.assertTrue(rig.carrier.up)

    def test_a_wrong_setting_is_said_even_during_an_outage(self) -> None:
        rig = self.rig()
        self.writer.results = [PostError("away"), PostError("x", 401), PostError("x", 401), PostError("away")]
        with _Said(self, ("critical",), 1):
            for _ in range(6):
                rig.settle(61)
        self.assertEqual(self.writer.seqs, self.all_of_it())

    def test_it_may_ask_for_patience_within_bounds(self) -> None:
        for asked, waited in ((40.0, 40.0), (1e9, MAX_RETRY_AFTER_S)):
            writer = FakeWriter(f"w{waited:.0f}", [PostError("busy", 503, asked)])
            rig = self.rig(writer)
            rig.settle_long(3)
            rig.settle(waited - 1)
            self.assertEqual(len(writer.seen), 1)
            rig.settle(2)
            self.assertEqual(len(writer.seen), 2)

    def test_one_that_never_answers(self) -> None:
        self.writer.results = [Deferred()]
        rig = self.rig()
        rig.settle_long(4)
        rig.settle(TIMEOUT_S)
        self.assertEqual(rig.value("failures_total"), 1)
        rig.settle_long(8)
        self.assertEqual(self.writer.seqs, self.all_of_it())

    def test_one_that_is_cancelled_by_somebody_else_is_tried_again(self) -> None:
        self.writer.results = [CancelledError()]
        rig = self.rig()
        rig.settle_long(10)
        self.assertEqual(self.writer.seqs, self.all_of_it())

    def test_the_others_go_on(self) -> None:
        hanging = FakeWriter("slow", [Deferred()])
        self.rig(hanging).settle_long(3)
        self.trail.keep(20)
        self.rig().settle_long()
        self.assertEqual(self.writer.seqs, self.all_of_it())
        self.assertEqual(hanging.batches, [])

    def test_how_far_behind_it_is(self) -> None:
        rig = self.rig()
        rig.settle_long()
        self.assertEqual((rig.carrier.behind_records, rig.carrier.behind_s), (0, 0.0))
        self.writer.results = [ValueError("away")] * 99
        self.trail.keep(6)
        rig.settle(1)
        self.assertEqual(rig.carrier.behind_records, 6)

    def test_the_oldest_that_waits_says_since_when(self) -> None:
        from hospproxy.record.describe import timestamp
        from hospproxy.record.trail.record_line import encode_record

        rig = self.rig()
        rig.settle_long()
        self.writer.results = [ValueError("away")] * 99
        assert self.trail.keeper is not None
        self.trail.keeper.keep([encode_record({"kind": "request", "time": timestamp(self.trail.now)})])
        rig.settle(1)
        self.trail.now += 100
        self.assertEqual(rig.carrier.behind_s, 100)


class Gone(Case):
    def test_a_file_that_is_not_there_is_missed_loudly_and_it_goes_on(self) -> None:
        self.trail.keep(10)
        self.rig().settle_long()
        self.rigs.pop().stop()
        until = self.writer.seqs[-1]
        self.trail.keep(60)
        current = CursorFiles(self.trail.folder).load("fake", "w0", trail_id(self.trail.folder))
        assert current is not None
        gone = [path for path in self.trail.paths if int(path.name.split("-")[2]) == current.number + 1]
        after = [path for path in self.trail.paths if int(path.name.split("-")[2]) == current.number + 2]
        gone[0].unlink()
        rig = self.rig()
        with _Said(self, ("critical",), 1):
            rig.settle_long()
        seqs = self.writer.seqs
        begin = int(after[0].read_bytes().split(b"\n")[0].split(b'"seq":')[-1].split(b",")[0])
        missing = set(self.all_of_it()) - set(seqs)
        self.assertEqual(sorted(missing), list(range(min(missing), begin)))
        self.assertGreater(min(missing), until)
        self.assertEqual(rig.value("missed_total"), len(missing))

    def test_a_file_that_was_cut(self) -> None:
        self.trail.keep(40)
        cut = self.trail.paths[0]
        cut.write_bytes(cut.read_bytes()[:1000])
        rig = self.rig()
        with _Said(self, ("critical",), 1):
            rig.settle_long()
        self.assertEqual(self.writer.seqs, self.all_of_it()[-len(self.writer.seqs) :])
        self.assertEqual(rig.value("missed_total"), self.last_seq() - len(self.writer.seqs))

    def test_a_packed_file_that_is_damaged(self) -> None:
        self.trail.keep(40)
        self.trail.tend()
        packed = self.trail.paths[1]
        packed.write_bytes(packed.read_bytes()[:100])
        rig = self.rig()
        with _Said(self, ("critical",), 1):
            rig.settle_long()
        self.assertEqual(self.writer.seqs[-1], self.last_seq())
        self.assertEqual(rig.value("missed_total"), self.last_seq() - len(set(self.writer.seqs)))


class LeftBehind(Case):
    def leave(self, records: int = 10) -> Any:
        """A journal w1 whose process has ended."""
        other = trail_in(str(self.trail.folder))
        other.now = self.trail.now
        other.keep(records)
        other.crash(b'{"torn')
        return other

    def seqs(self, journal: str) -> list[int]:
        found = [batch for batch in self.writer.batches if batch.position.journal == journal]
        return [batch.first_seq + n for batch in found for n in range(len(batch.lines))]

    def test_it_is_carried_to_its_end_by_whoever_is_there(self) -> None:
        self.leave()
        rig = self.rig()
        rig.settle_long()
        self.assertEqual(self.seqs("w0"), self.all_of_it())
        self.assertEqual(self.seqs("w1"), list(range(1, 12)))
        again = len(self.writer.batches)
        for _ in range(5):
            rig.settle(61)
        self.assertEqual(len(self.writer.batches), again)

    def test_one_whose_process_lives_is_its_own_business(self) -> None:
        other = trail_in(str(self.trail.folder))
        other.keep(5)
        rig = self.rig()
        rig.settle_long()
        self.assertEqual(self.seqs("w1"), [])
        other.crash()
        rig.settle(61)
        rig.settle_long()
        self.assertEqual(self.seqs("w1"), list(range(1, 7)))

    def test_two_do_not_carry_the_same(self) -> None:
        self.leave()
        self.writer.results = [Deferred()]
        first = self.rig()
        first.settle_long(4)
        twin = FakeWriter()
        other = self.rig(twin)
        other.settle_long(4)
        self.assertEqual(twin.seen, [])
        first.stop()
        other.settle(61)
        other.settle_long()
        self.assertEqual(sorted(twin.seqs), sorted([*self.all_of_it(), *range(1, 12)]))

    def test_a_journal_that_is_taken_up_again_goes_on_from_there(self) -> None:
        other = self.leave()
        self.rig().settle_long()
        other.keep(4)
        other.crash()
        self.rigs[0].settle(61)
        self.rigs[0].settle_long()
        self.assertEqual(self.seqs("w1"), list(range(1, len(self.seqs("w1")) + 1)))
        self.assertEqual(len(self.seqs("w1")), 16)


class Files(Case):
    def test_each_once_it_is_over_and_packed_if_it_is(self) -> None:
        writer = FakeFileWriter()
        self.trail.keep(40)
        self.trail.tend()
        self.trail.keep(20)
        rig = self.rig(writer)
        rig.settle_long()
        over = self.trail.paths[:-1]
        self.assertEqual([file.path for file in writer.files], over)
        self.assertEqual({file.path.suffix for file in writer.files}, {".gz", ".jsonl"})
        self.assertEqual(rig.carrier.behind_records, 0)
        from hashlib import sha256

        from ..trail.trails import read

        for file in writer.files:
            line = read(file.path).split(b"\n")[-2]
            self.assertEqual(file.head, sha256(line).hexdigest())
            self.assertEqual(file.position.seq, int(line.split(b'"seq":')[-1].split(b",")[0]))

    def test_the_last_one_of_a_journal_that_was_left(self) -> None:
        other = trail_in(str(self.trail.folder))
        other.keep(5)
        other.crash(b"{torn")
        writer = FakeFileWriter()
        self.rig(writer).settle_long()
        self.assertEqual([file.position.journal for file in writer.files], ["w1"])
        self.assertEqual(writer.files[0].position.seq, 6)

    def test_one_that_was_left_and_is_written_to_again_meanwhile(self) -> None:
        """This happens during an outage: each command of an auditor begins a file in such a journal."""
        writer = FakeFileWriter(away=True)
        trail = self.trail
        trail.keep(1)
        other = trail_in(str(trail.folder))
        other.keep(5)
        other.stop()
        rig = self.rig(writer)
        rig.settle_long()
        other.keep(5)
        other.stop()
        writer.away = False
        rig.settle_long(400)
        self.assertEqual([file.position.journal for file in writer.files], ["w1", "w1"])
        self.assertEqual(writer.files[-1].head, other.head)


class Stopping(Case):
    def test_the_end_of_the_journal_is_carried_too(self) -> None:
        rig = self.rig()
        rig.settle_long()
        self.trail.keep(5)
        keeper = self.trail.keeper
        assert keeper is not None
        keeper.close()  # signs a digest
        rig.stop()
        self.assertEqual(self.writer.seqs, self.all_of_it())
        self.assertTrue(self.writer.closed)
        self.assertTrue(rig.worker.stopped)

    def test_the_end_of_the_journal_is_carried_even_if_a_delivery_is_in_progress(self) -> None:
        rig = self.rig()
        delivering: Deferred[None] = Deferred()
        self.writer.results = [delivering]
        rig.settle_long(4)
        keeper = self.trail.keeper
        assert keeper is not None
        keeper.close()
        rig.clock.callLater(0.2, delivering.callback, None)
        rig.stop()
        self.assertEqual(self.writer.seqs, self.all_of_it())

    def test_one_that_is_away_does_not_hold_it_up(self) -> None:
        rig = self.rig()
        self.writer.results = [ValueError("away")] * 999
        rig.settle_long(4)
        rig.stop(5.0)
        self.assertLess(rig.clock.seconds(), 8)
        self.writer.results = []
        self.rig().settle_long()
        self.assertEqual(self.writer.seqs, self.all_of_it())

    def test_one_that_hangs_does_not_either(self) -> None:
        rig = self.rig()
        self.writer.results = [Deferred()]
        rig.settle_long(4)
        rig.stop(5.0)
        self.assertLess(rig.clock.seconds(), 8)
        self.assertEqual(self.flushLoggedErrors(), [])
