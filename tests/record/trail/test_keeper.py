from __future__ import annotations

import errno
import json
import os
import stat
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import RecordFailed
from hospproxy.keys.signing_key import Signer
from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record

from .disks import FakeDisk, FakeFile

FULL = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")


SIGNER = Signer.generate()


def keeper_on(disk: FakeDisk) -> TrailKeeper:
    return TrailKeeper(Path("/audit"), lambda: 1_700_000_000.1239, disk, signer=SIGNER)


def lines(*names: str) -> list[bytes]:
    return [encode_record({"kind": "request", "n": name}) for name in names]


def kept(file: FakeFile) -> list[str]:
    """The kept records that are on disk."""
    return [record["n"] for record in file.records]


class WholeGroupsOrNone(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = FakeDisk()
        self.keeper = keeper_on(self.disk)

    def test_a_group_is_synced_one_line_each(self) -> None:
        self.keeper.keep(lines("a", "b"))
        self.keeper.keep(lines("c"))
        self.assertEqual(kept(self.disk.last), ["a", "b", "c"])
        self.assertEqual(len(self.disk.files), 1)

    def test_a_failed_write_leaves_the_file_as_it_was_and_usable(self) -> None:
        self.keeper.keep(lines("a"))
        self.disk.write = [FULL]
        self.assertIn("No space left", str(self.assertRaises(RecordFailed, self.keeper.keep, lines("b"))))
        self.keeper.keep(lines("c"))
        self.assertEqual(kept(self.disk.last), ["a", "c"])
        self.assertEqual(len(self.disk.files), 1)

    def test_a_short_write_is_cut_back(self) -> None:
        self.keeper.keep(lines("first"))
        self.disk.write = [4]
        self.assertRaises(RecordFailed, self.keeper.keep, lines("torn record"))
        self.assertTrue(self.disk.last.content.endswith(b"\n"))
        self.assertEqual(self.disk.last.content, self.disk.last.synced)
        self.keeper.keep(lines("next"))
        self.assertEqual(kept(self.disk.last), ["first", "next"])

    def test_what_cannot_be_cut_back_is_left_and_another_file_begun(self) -> None:
        self.keeper.keep(lines("a"))
        self.disk.write = [3]
        self.disk.truncate = [BROKEN]
        self.assertRaises(RecordFailed, self.keeper.keep, lines("torn record"))
        torn = self.disk.last
        self.assertFalse(torn.open)
        self.keeper.keep(lines("b"))
        self.assertIsNot(self.disk.last, torn)
        self.assertEqual(kept(self.disk.last), ["b"])
        self.assertEqual(torn.content.splitlines()[2], lines("torn record")[0][:3])

    def test_a_file_that_failed_to_sync_is_never_used_again(self) -> None:
        self.keeper.keep(lines("a"))
        self.disk.sync = [BROKEN]
        self.assertRaises(RecordFailed, self.keeper.keep, lines("b"))
        failed = self.disk.last
        self.assertEqual((failed.content, failed.open), (failed.synced, False))
        self.keeper.keep(lines("c"))
        self.assertIsNot(self.disk.last, failed)
        self.assertEqual(kept(self.disk.last), ["c"])

    def test_another_file_is_cut_back_to_its_own_good_part(self) -> None:
        self.keeper.keep(lines("a long first record"))
        self.disk.sync = [BROKEN]
        self.assertRaises(RecordFailed, self.keeper.keep, lines("b"))
        self.disk.write = [2]
        self.assertRaises(RecordFailed, self.keeper.keep, lines("torn record"))
        self.keeper.keep(lines("c"))
        self.assertEqual(kept(self.disk.last), ["c"])

    def test_a_folder_that_takes_no_file_fails_the_group_and_is_tried_again(self) -> None:
        self.disk.create_ = [FULL]
        self.assertRaises(RecordFailed, self.keeper.keep, lines("a"))
        self.keeper.keep(lines("b"))
        self.assertEqual(kept(self.disk.last), ["b"])

    def test_names_say_when_and_by_whom_and_are_never_taken_twice(self) -> None:
        first = self.keeper.open()
        second = keeper_on(self.disk).open()
        stamp = "20231114T221320.123Z"
        self.assertEqual(
            [first.name, second.name],
            [f"audit-w0-00000001-{stamp}.jsonl", f"audit-w0-00000002-{stamp}.jsonl"],
        )


class OnThisMachine(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "deep" / "audit"

    def test_file_and_folder_are_for_their_owner_alone(self) -> None:
        path = TrailKeeper(self.folder, lambda: 0.0, signer=SIGNER).open()
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_what_was_there_is_never_continued(self) -> None:
        files = OsFiles()
        first = TrailKeeper(self.folder, lambda: 0.0, files, signer=SIGNER)
        first.keep(lines("whole"))
        path = first.open()
        whole = path.read_bytes()
        with path.open("ab") as torn:
            torn.write(b'{"torn')
        files.release()  # as the kernel does when a process exits
        second = TrailKeeper(self.folder, lambda: 0.0, signer=SIGNER)
        second.keep(lines("new"))
        self.assertEqual(path.read_bytes(), whole + b'{"torn')
        begin, new = map(json.loads, second.open().read_bytes().splitlines())
        continues = begin["continues"]
        self.assertEqual((continues["file"], continues["how"]), (path.name, "recovered"))
        self.assertEqual((continues["records"], continues["bytes"]), (2, len(whole)))
        self.assertEqual(continues["torn"]["bytes"], 6)
        self.assertEqual((begin["seq"], new["seq"], new["n"]), (3, 4, "new"))
        self.assertEqual(begin["prev"], sha256(whole.splitlines()[1]).hexdigest())

    def test_two_processes_write_two_journals(self) -> None:
        first = TrailKeeper(self.folder, lambda: 0.0, signer=SIGNER)
        second = TrailKeeper(self.folder, lambda: 0.0, signer=SIGNER)
        self.assertEqual([first.open().name[:8], second.open().name[:8]], ["audit-w0", "audit-w1"])
        first.close()
        self.assertEqual(
            TrailKeeper(self.folder, lambda: 0.0, signer=SIGNER).open().name[:17], "audit-w0-00000002"
        )

    def test_a_removed_file_is_noticed_and_another_begun(self) -> None:
        keeper = TrailKeeper(self.folder, lambda: 0.0, signer=SIGNER)
        gone = keeper.open()
        gone.unlink()
        self.assertRaises(RecordFailed, keeper.keep, lines("a"))
        keeper.keep(lines("b"))
        [path] = self.folder.glob("*.jsonl")
        begin, kept = map(json.loads, path.read_bytes().splitlines())
        self.assertEqual((begin["continues"]["file"], kept["n"]), (gone.name, "b"))

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
        self.assertRaises(RecordFailed, TrailKeeper(self.folder, lambda: 0.0, signer=SIGNER).open)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["audit-w0.lock"])
