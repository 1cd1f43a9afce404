"""A journal that was left behind and cannot be read does not hold up any other."""

from __future__ import annotations

import gzip
from typing import Any

from hospproxy.record.sinks.feeds import JournalEnd
from hospproxy.record.sinks.journals import Journals
from hospproxy.record.trail.follower import Cursor

from . import test_carrier
from .carriers import trail_in


class Unreadable(test_carrier.Case):
    def leave(self) -> Any:
        """A journal w1 whose process has ended."""
        other = trail_in(str(self.trail.folder))
        other.keep(10)
        other.crash(b'{"torn')
        return other

    def seqs(self, journal: str) -> list[int]:
        found = [batch for batch in self.writer.batches if batch.position.journal == journal]
        return [batch.first_seq + n for batch in found for n in range(len(batch.lines))]

    def test_one_that_cannot_be_taken_holds_nobody_up(self) -> None:
        other = self.leave()
        [path] = [path for path in other.paths if "-w1-" in path.name]
        whole = path.read_bytes()
        packed = path.with_name(path.name + ".gz")
        packed.write_bytes(gzip.compress(whole)[:-9])
        path.unlink()
        rig = self.rig()
        rig.settle_long()
        self.trail.keep(5)
        for _ in range(3):
            rig.settle(61)
        self.assertEqual(self.seqs("w0"), self.all_of_it())
        path.write_bytes(whole)
        packed.unlink()
        rig.settle(61)
        rig.settle_long()
        self.assertEqual(self.seqs("w1"), list(range(1, 12)))

    def test_nor_does_one_that_cannot_be_read_further(self) -> None:
        self.leave()
        broken, real = True, Journals.next

        def next_(journals: Journals, since: Cursor, end: JournalEnd) -> Any:
            if since.journal == "w1" and broken:
                raise OSError(5, "Input/output error")
            return real(journals, since, end)

        self.patch(Journals, "next", next_)
        rig = self.rig()
        rig.settle_long()
        self.assertEqual(self.seqs("w0"), self.all_of_it())
        self.assertTrue(rig.carrier.up)
        broken = False
        rig.settle(61)
        rig.settle_long()
        self.assertEqual(self.seqs("w1"), list(range(1, 12)))
