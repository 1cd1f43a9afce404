"""Files turn over, digests are signed, and a full disk leads into the reserve and out again."""

from __future__ import annotations

import errno
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import RecordFailed
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.files import CLOSING_ROOM, OsFiles
from hospproxy.record.trail.hash_chain import is_signed_by
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record

from .disks import FakeDisk
from .trails import KEYS, SIGNER

RESERVE = "audit-w0.reserve"


def line(number: int) -> bytes:
    return encode_record({"kind": "request", "n": number})


class Case(SynchronousTestCase):
    reserve = 0

    def setUp(self) -> None:
        self.disk, self.clock = FakeDisk(), Clock()
        plan = RotationPlan(rotate_bytes=2000, rotate_s=1000, digest_s=100, reserve_bytes=self.reserve)
        self.keeper = TrailKeeper(Path("/audit"), self.clock.seconds, self.disk, signer=SIGNER, plan=plan)
        self.keeper.open()

    def kinds(self, number: int) -> list[str]:
        return [record["kind"] for record in list(self.disk.files.values())[number].all]

    def kept(self) -> list[int]:
        return [record["n"] for file in self.disk.files.values() for record in file.records]


class Turning(Case):
    def test_a_file_of_a_size_is_closed_with_a_digest_and_followed(self) -> None:
        for number in range(20):
            self.keeper.keep([line(number)])
        self.assertEqual(self.kept(), list(range(20)))
        first, second = list(self.disk.files.values())[:2]
        self.assertEqual(
            (self.kinds(0)[0], self.kinds(0)[-1], first.all[-1]["closing"]), ("begin", "digest", True)
        )
        self.assertFalse(first.open)
        self.assertEqual(second.all[0]["continues"]["how"], "closed")
        self.assertEqual(second.all[0]["continues"]["bytes"], len(first.synced))
        self.assertEqual(second.all[0]["seq"], first.all[-1]["seq"] + 1)

    def test_a_file_of_an_age_is_followed_without_a_request(self) -> None:
        self.clock.advance(999)
        self.keeper.tend()
        self.assertEqual(len(self.disk.files), 1)
        self.clock.advance(1)
        self.keeper.tend()
        self.assertEqual(len(self.disk.files), 2)

    def test_digests_come_by_the_clock_and_at_the_end(self) -> None:
        self.keeper.keep([line(1)])
        self.keeper.tend()
        self.assertEqual(self.kinds(0), ["begin", "request"])
        self.clock.advance(100)
        self.keeper.tend()
        self.keeper.tend()
        self.keeper.close()
        self.assertEqual(self.kinds(0), ["begin", "request", "digest", "digest"])
        last = self.disk.last
        digest, closing = last.all[2:]
        self.assertEqual([digest["closing"], closing["closing"]], [False, True])
        self.assertEqual((digest["records"], closing["records"]), (2, 3))
        self.assertEqual(closing["bytes"], sum(len(each) + 1 for each in last.synced.split(b"\n")[:3]))
        for each in last.synced.split(b"\n")[:-1]:
            self.assertEqual(is_signed_by(each, KEYS.verify), b'"n"' not in each)
        self.assertFalse(self.disk.claimed)

    def test_what_was_committed_is_what_is_on_disk(self) -> None:
        self.keeper.keep([line(1), line(2)])
        assert self.keeper.committed is not None
        self.assertEqual(self.keeper.committed.offset, len(self.disk.last.synced))
        self.assertEqual(self.keeper.committed.seq, 3)
        before = self.keeper.committed
        self.disk.write = [OSError(errno.EIO, "broken")]
        self.assertRaises(RecordFailed, self.keeper.keep, [line(3)])
        self.assertEqual(self.keeper.committed, before)


class FullDisk(Case):
    reserve = 1500

    def test_records_go_to_the_reserve_until_it_is_full_and_none_is_half_kept(self) -> None:
        self.assertEqual((self.disk.reserves, self.keeper.full), ({RESERVE: 1500}, False))
        self.keeper.keep([line(0)])
        self.disk.full = True
        self.keeper.keep([line(1)])
        self.assertTrue(self.keeper.full)
        self.assertEqual(self.disk.reserves, {})
        left = self.keeper.reserve_left
        self.keeper.keep([line(2)])
        self.assertLess(self.keeper.reserve_left, left)
        for number in range(3, 20):
            try:
                self.keeper.keep([line(number)])
            except RecordFailed:
                break
        else:
            self.fail("a reserve has an end")
        self.assertEqual(self.kept(), list(range(number)))
        self.assertRaises(RecordFailed, self.keeper.keep, [line(99)])

    def test_with_room_for_another_reserve_it_goes_on(self) -> None:
        self.disk.full = True
        self.keeper.keep([line(1)])
        self.keeper.tend()
        self.assertTrue(self.keeper.full)
        self.disk.full = False
        self.clock.advance(4)
        self.keeper.tend()
        self.assertTrue(self.keeper.full)
        self.clock.advance(1)
        self.keeper.tend()
        self.assertEqual((self.keeper.full, self.disk.reserves), (False, {RESERVE: 1500}))
        self.keeper.keep([line(2)])
        self.assertEqual(self.kept(), [1, 2])
        hows = [
            file.all[0]["continues"] and file.all[0]["continues"]["how"] for file in self.disk.files.values()
        ]
        self.assertEqual(hows, [None, "failed", "closed"])

    def test_a_disk_that_was_full_before_the_reserve_could_be_made(self) -> None:
        self.disk.reserves.clear()
        self.disk.full = True
        self.assertRaises(RecordFailed, self.keeper.keep, [line(1)])
        self.assertFalse(self.keeper.full)

    def test_a_failing_disk_is_not_a_full_one(self) -> None:
        self.disk.write = [OSError(errno.EIO, "broken")]
        self.assertRaises(RecordFailed, self.keeper.keep, [line(1)])
        self.assertEqual((self.keeper.full, len(self.disk.reserves)), (False, 1))


class RealReserve(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.files = OsFiles()
        self.files.make_reserve(self.folder, RESERVE, 4096 + CLOSING_ROOM)

    def test_its_blocks_are_there_before_they_are_needed(self) -> None:
        status = (self.folder / RESERVE).stat()
        self.assertEqual(status.st_size, 4096 + CLOSING_ROOM)
        self.assertGreaterEqual(status.st_blocks * 512, 4096 + CLOSING_ROOM)

    def test_it_is_written_in_place_and_never_beyond_its_end(self) -> None:
        file = self.files.from_reserve(self.folder, RESERVE, "x", b"first\n")
        path = self.folder / "x"
        size = path.stat().st_size
        self.assertEqual(file.write(b"a" * 4000 + b"\n"), 4001)
        error = self.assertRaises(OSError, file.write, b"b" * 100)
        self.assertEqual((error.errno, path.stat().st_size), (errno.ENOSPC, size))
        file.write(b'{"closing":true}' + b"c" * 100)
        file.truncate(6)
        self.assertEqual(path.read_bytes().rstrip(b" "), b"first\n")
        file.write(b"next\n")
        file.sync()
        file.close()
        self.assertEqual(path.read_bytes(), b"first\nnext\n")
        self.assertFalse((self.folder / RESERVE).exists())

    def test_one_that_is_too_small_is_not_used(self) -> None:
        self.files.make_reserve(self.folder, "small", 100)
        self.assertRaises(OSError, self.files.from_reserve, self.folder, "small", "x", b"first\n")
        self.assertTrue((self.folder / "small").exists())
