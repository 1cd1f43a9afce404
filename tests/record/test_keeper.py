from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.errors import RecordFailed
from hospproxy.record.files import OsFiles
from hospproxy.record.keeper import Keeper

from .disks import FakeDisk

FULL = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")


def keeper_on(disk: FakeDisk) -> Keeper:
    return Keeper(Path("/audit"), lambda: 1_700_000_000.1239, disk)


class WholeGroupsOrNone(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = FakeDisk()
        self.keeper = keeper_on(self.disk)

    def test_a_group_is_synced_one_line_each(self) -> None:
        self.keeper.keep([b"a", b"b"])
        self.keeper.keep([b"c"])
        self.assertEqual(self.disk.last.synced, b"a\nb\nc\n")
        self.assertEqual(len(self.disk.files), 1)

    def test_a_failed_write_leaves_the_file_as_it_was_and_usable(self) -> None:
        self.keeper.keep([b"a"])
        self.disk.write = [FULL]
        self.assertIn("No space left", str(self.assertRaises(RecordFailed, self.keeper.keep, [b"b"])))
        self.keeper.keep([b"c"])
        self.assertEqual(self.disk.last.synced, b"a\nc\n")
        self.assertEqual(len(self.disk.files), 1)

    def test_a_short_write_is_cut_back(self) -> None:
        self.keeper.keep([b"first"])
        self.disk.write = [4]
        self.assertRaises(RecordFailed, self.keeper.keep, [b"torn record"])
        self.assertEqual(self.disk.last.content, b"first\n")
        self.keeper.keep([b"next"])
        self.assertEqual(self.disk.last.lines, [b"first", b"next"])

    def test_what_cannot_be_cut_back_is_left_and_another_file_begun(self) -> None:
        self.keeper.keep([b"a"])
        self.disk.write = [3]
        self.disk.truncate = [BROKEN]
        self.assertRaises(RecordFailed, self.keeper.keep, [b"torn record"])
        torn = self.disk.last
        self.assertFalse(torn.open)
        self.keeper.keep([b"b"])
        self.assertIsNot(self.disk.last, torn)
        self.assertEqual(self.disk.last.lines, [b"b"])
        self.assertEqual(torn.content, b"a\ntor")

    def test_a_file_that_failed_to_sync_is_never_used_again(self) -> None:
        self.keeper.keep([b"a"])
        self.disk.sync = [BROKEN]
        self.assertRaises(RecordFailed, self.keeper.keep, [b"b"])
        failed = self.disk.last
        self.assertEqual((failed.content, failed.open), (b"a\n", False))
        self.keeper.keep([b"c"])
        self.assertIsNot(self.disk.last, failed)
        self.assertEqual(self.disk.last.lines, [b"c"])

    def test_another_file_is_cut_back_to_its_own_good_part(self) -> None:
        self.keeper.keep([b"a long first record"])
        self.disk.sync = [BROKEN]
        self.assertRaises(RecordFailed, self.keeper.keep, [b"b"])
        self.disk.write = [2]
        self.assertRaises(RecordFailed, self.keeper.keep, [b"torn record"])
        self.keeper.keep([b"c"])
        self.assertEqual(self.disk.last.synced, b"c\n")

    def test_a_folder_that_takes_no_file_fails_the_group_and_is_tried_again(self) -> None:
        self.disk.create_ = [FULL]
        self.assertRaises(RecordFailed, self.keeper.keep, [b"a"])
        self.keeper.keep([b"b"])
        self.assertEqual(self.disk.last.lines, [b"b"])

    def test_names_say_when_and_by_whom_and_are_never_taken_twice(self) -> None:
        first = self.keeper.open()
        second = keeper_on(self.disk).open()
        stem = f"audit-20231114T221320.123Z-{os.getpid()}"
        self.assertEqual([first.name, second.name], [f"{stem}.jsonl", f"{stem}-2.jsonl"])


class OnThisMachine(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "deep" / "audit"

    def test_file_and_folder_are_for_their_owner_alone(self) -> None:
        path = Keeper(self.folder, lambda: 0.0).open()
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_what_was_there_is_never_continued(self) -> None:
        first = Keeper(self.folder, lambda: 0.0)
        first.keep([b"whole"])
        path = first.open()
        with path.open("ab") as torn:
            torn.write(b'{"torn')
        second = Keeper(self.folder, lambda: 0.0)
        second.keep([b"new"])
        self.assertEqual(path.read_bytes(), b'whole\n{"torn')
        self.assertEqual(second.open().read_bytes(), b"new\n")

    def test_a_removed_file_is_noticed_and_another_begun(self) -> None:
        keeper = Keeper(self.folder, lambda: 0.0)
        gone = keeper.open()
        gone.unlink()
        self.assertRaises(RecordFailed, keeper.keep, [b"a"])
        keeper.keep([b"b"])
        self.assertEqual([path.read_bytes() for path in self.folder.iterdir()], [b"b\n"])

    def test_truncate_and_write_go_on_from_the_cut(self) -> None:
        self.folder.mkdir(parents=True)
        file = OsFiles().create(self.folder, "x")
        file.write(b"keep me, not me")
        file.truncate(8)
        file.write(b"!")
        file.close()
        self.assertEqual((self.folder / "x").read_bytes(), b"keep me,!")

    def test_a_folder_that_cannot_be_synced_leaves_no_file_behind(self) -> None:
        def broken(descriptor: int) -> None:
            raise BROKEN

        self.folder.mkdir(parents=True)
        self.patch(os, "fsync", broken)
        self.assertRaises(RecordFailed, Keeper(self.folder, lambda: 0.0).open)
        self.assertEqual(list(self.folder.iterdir()), [])
