from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.upkeep import TrailUpkeep

from .trails import DAY, SIGNER, Trail, read, write


class Counting(OsFiles):
    """Counts how often something is looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = self.opened = 0

    def names(self, directory: Path) -> list[str]:
        self.listed += 1
        return super().names(directory)

    def read(self, directory: Path, name: str) -> BinaryIO:
        self.opened += 1
        return super().read(directory, name)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.trail = Trail(Path(self.mktemp()))
        self.trail.keep(40)
        self.before = {path.name: path.read_bytes() for path in self.trail.paths}

    def tender(self, **more: object) -> TrailUpkeep:
        return TrailUpkeep(self.trail.folder, SIGNER, self.trail.wall, **more)  # type: ignore[arg-type]

    def run_(self, **more: object) -> tuple[int, int, list[str]]:
        keeper = self.trail.keeper
        assert keeper is not None
        assert keeper.committed is not None
        done = self.tender(**more).run(keeper.committed)
        return done.packed, done.removed, done.troubles


class Packing(Case):
    def test_files_that_are_over_are_packed_and_the_one_in_use_is_not(self) -> None:
        self.assertEqual(self.run_(), (len(self.before) - 1, 0, []))
        self.assertEqual(
            [path.suffix for path in self.trail.paths], [".gz"] * (len(self.before) - 1) + [".jsonl"]
        )
        self.assertEqual(
            {path.name.removesuffix(".gz"): read(path) for path in self.trail.paths}, self.before
        )
        self.assertEqual(self.run_(), (0, 0, []))

    def test_a_round_lists_the_folder_a_few_times_and_opens_nothing_that_is_packed(self) -> None:
        """However many files there are: rounds repeat for ever, and a folder may have tens of thousands."""
        self.run_()
        files = Counting()
        self.assertEqual(self.run_(files=files), (0, 0, []))
        self.assertLessEqual(files.listed, 2)
        # Not even the newest packed one: there is nothing to do to it.
        self.assertEqual(files.opened, 0)

    def test_a_file_that_is_not_what_it_was_stays_as_it_is(self) -> None:
        path = self.trail.paths[0]
        path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":9', 1))
        changed = path.read_bytes()
        packed, removed, troubles = self.run_(retention_days=0.0)
        self.assertEqual((packed, removed, len(troubles)), (len(self.before) - 2, 0, 1))
        self.assertEqual(path.read_bytes(), changed)
        self.trail.now += 100 * DAY
        self.run_(retention_days=1.0)
        self.assertEqual(path.read_bytes(), changed)

    def test_a_crash_between_packing_and_removing_leaves_both_and_harms_nothing(self) -> None:
        path = self.trail.paths[0]
        twin = path.with_name(path.name + ".gz")
        twin.write_bytes(gzip.compress(path.read_bytes()))
        self.assertEqual(self.trail.verify().problems, [])
        write(twin, read(twin).replace(b'"n":1', b'"n":9', 1))
        self.assertEqual(len(self.trail.verify().problems), 1)
        self.run_()
        self.assertFalse(path.exists())
        self.assertEqual(self.trail.verify().problems, [])

    def test_the_files_of_a_journal_that_no_process_writes_are_packed_too(self) -> None:
        other = Trail(self.trail.folder)
        other.keep(40)
        count = sum("-w1-" in path.name for path in self.trail.paths)
        other.stop()
        self.run_()
        plain = [path.name for path in self.trail.paths if path.suffix == ".jsonl"]
        self.assertEqual([name[:8] for name in plain], ["audit-w0", "audit-w1"])
        self.assertGreater(count, 1)

    def test_a_journal_whose_lock_is_anothers_holds_no_other_up(self) -> None:
        for _ in range(2):
            other = Trail(self.trail.folder)
            other.keep(40)
        other.stop()
        lock = self.trail.folder / "audit-w1.lock"
        lock.unlink()
        lock.mkdir()  # root ignores file modes
        troubles = self.run_()[2]
        self.assertEqual([trouble[:11] for trouble in troubles], ["journal w1:"])
        self.assertTrue(any("-w2-" in path.name for path in self.trail.folder.glob("*.gz")))


class Retention(Case):
    def test_for_ever_by_default(self) -> None:
        self.trail.now += 10_000 * DAY
        self.assertEqual(self.run_()[1], 0)

    def test_files_go_so_many_days_after_their_end(self) -> None:
        self.trail.now += 4.9 * DAY
        self.assertEqual(self.run_(retention_days=5.0)[1], 0)
        self.trail.now += DAY
        self.assertEqual(self.run_(retention_days=5.0)[1], len(self.before) - 1)
        self.assertEqual(self.trail.verify().problems, [])

    def test_what_a_writer_has_still_to_carry_on_stays(self) -> None:
        self.trail.now += 10 * DAY
        self.assertEqual(self.run_(retention_days=5.0, needed_from=lambda journal: {"w0": 2}[journal])[1], 1)
