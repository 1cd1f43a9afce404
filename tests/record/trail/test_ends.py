"""How far journals may be read, in memory that processes share."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import RecordFailed
from hospproxy.record.trail.ends import JournalEnds
from hospproxy.record.trail.follower import Cursor
from hospproxy.record.trail.keeper import TrailKeeper

from .disks import FakeDisk
from .trails import SIGNER, Trail, lines

_COUNT = st.integers(0, 2**63)
POSITIONS = st.builds(Cursor, st.integers(0, 9999).map("w{}".format), _COUNT, _COUNT, _COUNT)


class Notes(SynchronousTestCase):
    def setUp(self) -> None:
        self.ends = JournalEnds.make(3)
        self.others = JournalEnds.at(os.dup(self.ends.fileno()), 3)

    def test_nothing_is_known_at_first(self) -> None:
        self.assertEqual((self.others.live(), self.others.open(), self.others.of(0)), ({}, [], None))

    @given(POSITIONS, POSITIONS)
    def test_another_process_reads_what_was_noted(self, first: Cursor, third: Cursor) -> None:
        assume(first.journal != third.journal)
        self.ends.publish(0, first)
        self.ends.publish(2, third, closed=True)
        self.assertEqual(self.others.of(0), (first, False))
        self.assertEqual(self.others.of(2), (third, True))
        self.assertEqual(self.others.live(), {first.journal: first, third.journal: third})
        self.assertEqual(self.others.open(), [first.journal])

    def test_of_a_journal_that_another_worker_has_taken_over_the_later_end_counts(self) -> None:
        before, after = Cursor("w1", 1, 900, 5), Cursor("w1", 2, 100, 7)
        for first, second in ((before, after), (after, before)):
            self.ends.publish(0, first, closed=first is before)
            self.ends.publish(2, second, closed=second is before)
            self.assertEqual(self.others.live(), {"w1": after})
            self.assertEqual(self.others.open(), ["w1"])

    def test_half_a_note_is_not_read(self) -> None:
        """Its writer was killed in between: the note before it is still true."""
        before, after = Cursor("w0", 1, 100, 5), Cursor("w0", 1, 200, 9)
        self.ends.publish(0, before)
        self.assertEqual(self.others.of(0), (before, False))
        memory = mmap.mmap(self.ends.fileno(), 3 * 64)
        old = memory[:64]
        self.ends.publish(0, after)
        new = memory[:64]
        for cut in range(1, 33):
            memory[:64] = new[:cut] + old[cut:]
            self.assertIn(self.others.of(0), ((before, False), (after, False)))

    def test_it_is_not_inherited_by_chance(self) -> None:
        self.assertFalse(os.get_inheritable(self.ends.fileno()))
        self.assertFalse(os.get_inheritable(self.others.fileno()))


class Published(SynchronousTestCase):
    """The keeper tells of nothing that is not on disk."""

    def setUp(self) -> None:
        self.told: list[tuple[Cursor, bool]] = []

    def note(self, end: Cursor, /, *, closed: bool) -> None:
        self.told.append((end, closed))

    def test_each_group_and_the_end(self) -> None:
        trail = Trail(Path(self.mktemp()))
        keeper = TrailKeeper(trail.folder, trail.wall, signer=SIGNER, publish=self.note)
        keeper.open()
        keeper.keep(lines(0, 3))
        self.assertEqual(self.told[-1], (keeper.committed, False))
        self.assertEqual(self.told[-1][0].seq, 4)
        assert keeper.path is not None
        self.assertEqual(self.told[-1][0].offset, keeper.path.stat().st_size)
        keeper.close()
        self.assertEqual(self.told[-1], (keeper.committed, True))
        self.assertEqual([closed for _, closed in self.told].count(True), 1)

    def test_not_a_group_that_failed(self) -> None:
        disk = FakeDisk()
        keeper = TrailKeeper(Path("/audit"), lambda: 0.0, disk, signer=SIGNER, publish=self.note)
        keeper.open()
        before = list(self.told)
        disk.write = [OSError(5, "Input/output error")]
        self.assertRaises(RecordFailed, keeper.keep, lines(0, 3))
        self.assertEqual(self.told, before)
