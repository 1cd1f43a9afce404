from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.follower import Cursor, Follower, MissedError

from .trails import DAY, Trail


class InOrder(SynchronousTestCase):
    def setUp(self) -> None:
        self.trail = Trail(Path(self.mktemp()))
        self.trail.keep(20)

    def committed(self) -> Cursor:
        assert self.trail.keeper is not None
        assert self.trail.keeper.committed is not None
        return self.trail.keeper.committed

    def follow(self, since: Cursor, **more: int) -> tuple[list[int], Cursor]:
        """Follow the journal; return the records' numbers and the end position."""
        seqs: list[int] = []
        follower = Follower(self.trail.folder, **more)
        while batch := follower.read(since, self.committed()):
            found = [msgspec.json.decode(line)["seq"] for line in batch.lines]
            seqs += found
            since = batch.position
            self.assertEqual(batch.head, sha256(batch.lines[-1]).hexdigest())
            self.assertEqual(batch.position.seq, found[-1])
        return seqs, since

    def test_every_record_once_over_files_packing_restarts_and_torn_lines(self) -> None:
        seqs, position = self.follow(Cursor("w0"), max_records=3)
        self.trail.crash(b'{"torn')
        self.trail.keep(20)
        self.trail.tend()
        more, position = self.follow(position, max_records=7)
        self.assertEqual(seqs + more, list(range(1, self.committed().seq + 1)))
        self.assertEqual(position, self.committed())
        self.assertEqual(self.follow(position), ([], position))

    def test_from_the_same_position_comes_the_same(self) -> None:
        follower = Follower(self.trail.folder, max_records=4)
        self.assertEqual(
            follower.read(Cursor("w0"), self.committed()), follower.read(Cursor("w0"), self.committed())
        )

    def test_a_batch_is_bounded_in_bytes_but_never_empty(self) -> None:
        batch = Follower(self.trail.folder, max_bytes=1).read(Cursor("w0"), self.committed())
        assert batch is not None
        self.assertEqual(len(batch.lines), 1)

    def test_what_no_sync_has_returned_for_is_not_carried_on(self) -> None:
        until = self.committed()
        assert self.trail.keeper is not None
        assert self.trail.keeper.path is not None
        with self.trail.keeper.path.open("ab") as file:
            file.write(b'{"kind":"request","seq":1}\n')
        seqs, _ = self.follow(Cursor("w0"))
        self.assertEqual(seqs, list(range(1, until.seq + 1)))

    def test_what_is_gone_is_missed_loudly(self) -> None:
        self.trail.keep(20)
        self.trail.now += 10 * DAY
        self.trail.tend(retention_days=1)
        self.assertRaises(
            MissedError, Follower(self.trail.folder).read, Cursor("w0", 1, 0, 0), self.committed()
        )

    def test_a_packed_file_is_unpacked_once_however_many_batches_it_makes(self) -> None:
        self.trail.keep(20)
        self.trail.tend()
        packed = next(path.name for path in self.trail.paths if path.suffix == ".gz")
        opened: list[str] = []
        whole = OsFiles.read
        self.patch(
            OsFiles,
            "read",
            lambda files, folder, name: opened.append(name) or whole(files, folder, name),
        )
        follower = Follower(self.trail.folder, max_records=2)
        since = Cursor("w0")
        while batch := follower.read(since, self.committed()):
            since = batch.position
        self.assertEqual(opened.count(packed), 1)
