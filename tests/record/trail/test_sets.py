"""Disclosure sets are in the same file before the first record that names them, whatever happens to files."""

from __future__ import annotations

import contextlib
import errno
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import RecordFailed
from hospproxy.record.describe import gap
from hospproxy.record.disclosures import Disclosure, disclosure_of
from hospproxy.record.trail import current as current_module
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.journal import Journal, JournalBounds
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.scan import scan
from hospproxy.watch.metrics import Metrics

from .disks import FakeDisk, FakeFile, HandWorker
from .trails import SIGNER, Trail, read, write

BROKEN = OSError(errno.EIO, "Input/output error")


def some(*ids: int, part_bytes: int = 1 << 20) -> Disclosure:
    found = disclosure_of(ids, part_bytes)
    assert found is not None
    return found


SETS = [some(1), some(1, 2), some(3, 4, 5), some(*range(10, 60), part_bytes=40), some(*range(70))]


def line(number: int, disclosure: Disclosure | None = None) -> bytes:
    named = disclosure.named if disclosure is not None else None
    return encode_record({"v": 1, "kind": "request", "n": number, "disclosed": named})


def kinds(file: FakeFile) -> list[Any]:
    """The number of each record and the hash of each set, except the journal's own records."""
    return [record["n"] if record["kind"] == "request" else record["set"] for record in file.records]


def check(records: list[dict[str, Any]]) -> int:
    """Check that this file alone shows whom each record disclosed; return how many name a set."""
    whole: dict[str, list[str]] = {}
    open_: dict[str, list[str]] = {}
    named = 0
    for record in records:
        if record["kind"] == "disclosure":
            so_far = [] if record["part"] == 1 else open_.pop(record["set"])
            members = [*so_far, *record["patients"]]
            (whole if record["part"] == record["parts"] else open_)[record["set"]] = members
        elif record.get("disclosed"):
            named += 1
            assert len(whole[record["disclosed"]["set"]]) == record["disclosed"]["count"], record
    assert not open_
    return named


class BeforeTheFirstThatNamesIt(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk, self.wall = FakeDisk(), 0.0
        self.plan = RotationPlan(rotate_bytes=4000, rotate_s=1000, reserve_bytes=6000)
        self.keeper = self.made()

    def made(self) -> TrailKeeper:
        return TrailKeeper(Path("/audit"), lambda: self.wall, self.disk, signer=SIGNER, plan=self.plan)

    def keep(self, number: int, *named: Disclosure | None) -> int:
        return self.keeper.keep([line(number + at, one) for at, one in enumerate(named)], named)

    def test_once_a_file(self) -> None:
        one, two = SETS[0], SETS[1]
        self.assertEqual(self.keep(1, None, one, one, two), 2)
        self.assertEqual(self.keep(5, two, one), 0)
        self.assertEqual(kinds(self.disk.last), [1, one.set, 2, 3, two.set, 4, 5, 6])

    def test_again_in_the_next_file_and_after_a_restart(self) -> None:
        one = SETS[0]
        self.keep(1, one)
        self.wall = 1001
        self.keep(2, one)
        self.keeper.close()
        self.keeper = self.made()
        self.keep(3, one)
        self.assertEqual(
            [kinds(file) for file in self.disk.files.values()], [[one.set, 1], [one.set, 2], [one.set, 3]]
        )

    def test_what_was_cut_off_again_counts_as_never_written(self) -> None:
        one = SETS[0]
        self.keep(1, None)
        self.disk.write = [BROKEN]
        self.assertRaises(RecordFailed, self.keep, 2, one)
        self.assertEqual(self.keep(3, one), 1)
        self.assertEqual([kinds(file) for file in self.disk.files.values()], [[1], [one.set, 3]])

    def test_a_file_that_failed_to_sync_takes_its_sets_with_it(self) -> None:
        one = SETS[0]
        self.keep(1, one)
        self.disk.sync = [BROKEN]
        self.assertRaises(RecordFailed, self.keep, 2, one)
        self.keep(3, one)
        self.assertEqual(kinds(self.disk.last), [one.set, 3])

    def test_into_the_reserve_and_out_again(self) -> None:
        one = SETS[0]
        self.keep(1, one)
        self.keeper.tend()
        self.disk.full = True
        self.keep(2, one)
        self.assertTrue(self.keeper.full)
        self.disk.full = False
        self.wall = 6
        self.keep(3, one)
        self.assertFalse(self.keeper.full)
        self.assertEqual(
            [kinds(file) for file in self.disk.files.values()], [[one.set, 1], [one.set, 2], [one.set, 3]]
        )

    def test_a_long_set_takes_several_records(self) -> None:
        long = SETS[3]
        parts = len(long.lines(0))
        self.assertGreater(parts, 2)
        self.assertEqual(self.keep(1, long), parts)
        self.assertEqual(kinds(self.disk.last), [*[long.set] * parts, 1])

    def test_what_was_forgotten_is_written_again(self) -> None:
        self.patch(current_module, "_MOST_SETS", 2)
        self.keep(1, *SETS[:3])
        self.assertEqual(self.keep(4, SETS[2]), 0)
        self.assertEqual(self.keep(5, SETS[0]), 1)
        check(self.disk.last.all)

    def test_it_has_the_time_at_which_it_was_written(self) -> None:
        self.wall = 1.5
        self.keep(1, SETS[0])
        [record] = [record for record in self.disk.last.all if record["kind"] == "disclosure"]
        self.assertEqual(record["time"], "1970-01-01T00:00:01.500Z")

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 2**32))
    def test_whatever_happens(self, seed: int) -> None:
        self.disk, self.wall = FakeDisk(), 0.0
        self.keeper = self.made()
        random, kept = Random(seed), 0
        for number in range(0, 400, 10):
            self._disturb(random)
            named = [random.choice([None, *SETS]) for _ in range(random.randint(1, 5))]
            with contextlib.suppress(RecordFailed):
                self.keep(number, *named)
                kept += sum(one is not None for one in named)
        found = 0
        for file in self.disk.files.values():
            found += check(file.all)
            self.assertTrue(scan(BytesIO(file.synced)).whole, f"seed {seed}")
        self.assertEqual(found, kept, f"seed {seed}")

    def _disturb(self, random: Random) -> None:
        disk, what = self.disk, random.randrange(12)
        disk.write = [random.choice([BROKEN, 25])] if what == 0 else []
        disk.sync = [BROKEN] if what == 1 else []
        disk.truncate = [BROKEN] if what in (0, 1) and random.random() < 0.3 else []
        disk.full = random.random() < 0.8 if disk.full else what == 2
        self.wall += random.choice([0.1, 6, 400])
        if what == 3:
            self.keeper.close()
        if what == 4:  # killed
            disk.claimed = False
            self.keeper = self.made()
        if what == 5:
            with contextlib.suppress(RecordFailed):
                self.keeper.tend()


class OnARealDisk(SynchronousTestCase):
    def test_the_trail_holds_and_a_changed_set_is_found(self) -> None:
        trail = Trail(Path(self.mktemp()))
        keeper = trail.start()
        for number in range(40):
            named = SETS[number % len(SETS)]
            keeper.keep([line(number, named)], [named])
        trail.tend()
        report = trail.verify()
        self.assertEqual(report.problems, [])
        self.assertGreater(len(trail.paths), 1)
        path = trail.paths[1]
        changed = read(path).replace(b'"patients":["1","2"]', b'"patients":["1","9"]', 1)
        self.assertNotEqual(changed, read(path))
        write(path, changed)
        self.assertNotEqual(trail.verify().problems, [])


class Waiting(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk, self.worker, self.meter = FakeDisk(), HandWorker(), Metrics(strict=True)
        keeper = TrailKeeper(Path("/audit"), lambda: 0.0, self.disk, signer=SIGNER)
        self.size = SETS[4].size
        self.journal = Journal(
            keeper,
            self.worker,
            Clock(),
            self.meter,
            gap(lambda: 0.0),
            bounds=JournalBounds(max_bytes=self.size + 300),
        )
        self.journal.start()
        self.worker.step()

    def append(self, number: int, named: Disclosure | None) -> Deferred[None]:
        return self.journal.append({"kind": "request", "n": number}, named)

    def test_the_set_goes_with_its_record(self) -> None:
        done = self.append(1, SETS[1])
        self.assertNoResult(done)
        self.worker.step()
        self.successResultOf(done)
        self.assertEqual(kinds(self.disk.last), [SETS[1].set, 1])
        self.assertEqual(self.meter.value("records_total", kind="disclosure"), 1)
        self.assertEqual(self.meter.value("records_total", kind="request"), 1)

    def test_a_set_is_counted_once_and_until_the_last_that_names_it(self) -> None:
        for _ in range(3):
            self.append(1, SETS[4])
            taken = [self.append(number, SETS[4]) for number in (2, 3)]
            self.failureResultOf(self.append(4, SETS[3]), RecordFailed)
            self.worker.step()
            self.failureResultOf(self.append(4, SETS[3]), RecordFailed)
            self.worker.step()
            for done in taken:
                self.successResultOf(done)
            other = self.append(5, SETS[3])
            self.worker.step()
            self.successResultOf(other)
        for load in (self.journal._load, self.journal._load_in_flight):
            self.assertEqual((load.records, load.bytes, load.sets), (0, 0, {}))

    def test_alone_it_is_taken_however_long_it_is(self) -> None:
        long = some(*range(10_000))
        self.assertGreater(long.size, self.size + 300)
        done = self.append(1, long)
        self.failureResultOf(self.append(2, None), RecordFailed)
        self.worker.step()
        self.successResultOf(done)
