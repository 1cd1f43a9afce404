"""The journal of a rollout, its lock, and requests to abort."""

from __future__ import annotations

from pathlib import Path

from rollout.progress import MOST_KEPT, AbortRequest, Busy, Journal, NoRollout, StateLock
from twisted.trial.unittest import SynchronousTestCase


class JournalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.synced: list[int] = []

    def journal(self) -> Journal:
        return Journal(self.folder, self.synced.append)

    def test_what_is_noted_is_read_again(self) -> None:
        journal = self.journal()
        journal.begin({"plan": "x"})
        journal.note("done", stage="test", seconds=1.5)
        self.assertEqual(len(self.synced), 4)  # for each entry the file and the folder
        again = self.journal()
        again.read()
        self.assertEqual(again.entries, journal.entries)
        self.assertTrue(again.has_done("test"))
        self.assertFalse(again.has_done("watch"))
        self.assertFalse(again.is_over)

    def test_nobody_else_may_read_it(self) -> None:
        self.journal().begin({})
        self.assertEqual((self.folder / "rollout.jsonl").stat().st_mode & 0o777, 0o600)

    def test_a_torn_end_is_cut_off(self) -> None:
        self.journal().begin({"plan": "x"})
        file = self.folder / "rollout.jsonl"
        whole = file.read_bytes()
        for torn in (b'{"what": "do', b'{"what": "done"}', b"\0\0\0\0", b"\xff\n"):
            file.write_bytes(whole + torn)
            journal = self.journal()
            journal.read()
            self.assertEqual(len(journal.entries), 1, torn)
            journal.note("end", outcome=1)
            again = self.journal()
            again.read()
            self.assertEqual([entry["what"] for entry in again.entries], ["begin", "end"], torn)

    def test_nothing_to_read(self) -> None:
        self.assertRaises(NoRollout, self.journal().read)
        (self.folder / "rollout.jsonl").write_bytes(b'{"what": "beg')
        self.assertRaises(NoRollout, self.journal().read)

    def test_old_ones_are_kept_for_a_while(self) -> None:
        for number in range(MOST_KEPT + 5):
            self.journal().begin({"number": number})
        kept = sorted(self.folder.glob("rollout-*.jsonl"))
        self.assertEqual(len(kept), MOST_KEPT)
        self.assertIn(f'"number": {MOST_KEPT + 3}', kept[-1].read_text())


class LockTests(SynchronousTestCase):
    def test_one_at_a_time(self) -> None:
        folder = Path(self.mktemp())
        one, other = StateLock(folder), StateLock(folder)
        one.take()
        self.assertRaises(Busy, other.take)
        one.free()
        other.take()
        other.free()


class AbortTests(SynchronousTestCase):
    def test_it_lasts_until_it_is_cleared(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        AbortRequest(folder).make()
        request = AbortRequest(folder)
        self.assertTrue(request.is_made)
        request.clear()
        self.assertFalse(AbortRequest(folder).is_made)
