"""The simulated disk: a power cut loses exactly what was not synced."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hospproxy.memory import disk_file
from hospproxy.memory.disk_file import CacheFile, CacheRow
from hospproxy.record.sinks.positions import CursorFiles
from hospproxy.record.trail.follower import Cursor
from simulation.kernel import Machine, Process
from simulation.kernel.threads import VirtualWorker
from tests.simulation.worlds import WorldTestCase


class DiskTestCase(WorldTestCase):
    """:ivar machine: with an empty disk."""

    def setUp(self) -> None:
        super().setUp()
        self.world = self.bare()
        self.machines = 0

    def new(self) -> Machine:
        self.machines += 1
        self.machine = self.world.machine(f"m{self.machines}", "10.0.0.1")
        return self.machine

    def do(self, main: Callable[[Path], Any]) -> Process:
        """Let a process do something on the disk, at once."""
        folder, world = self.machine.folder, self.world
        process = self.machine.run(lambda _: main(folder))
        world.run_until(world.seconds() + 0.001)
        self.assertEqual(world.errors, [])
        return process


def written(path: Path, content: bytes, *, sync: bool, sync_folder: bool) -> None:
    """Make a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, content)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)
    if sync_folder:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)


class PowerCuts(DiskTestCase):
    """Tests of ``Machine.power_cut``."""

    def left(self, main: Callable[[Path], Any], times: int = 40) -> set[bytes | None]:
        """What the file "f" is after a power cut, many times."""
        found: set[bytes | None] = set()
        for _ in range(times):
            self.new()
            self.do(main)
            self.machine.power_cut()
            path = self.machine.folder / "f"
            found.add(path.read_bytes() if path.exists() else None)
        return found

    def test_what_is_synced_with_its_name_stays(self) -> None:
        self.assertEqual(
            self.left(lambda folder: written(folder / "f", b"abc", sync=True, sync_folder=True)), {b"abc"}
        )

    def test_a_file_whose_name_is_not_synced_may_vanish(self) -> None:
        self.assertEqual(
            self.left(lambda folder: written(folder / "f", b"abc", sync=True, sync_folder=False)),
            {b"abc", None},
        )

    def test_a_file_that_is_not_synced_may_be_empty_or_zeros(self) -> None:
        self.assertEqual(
            self.left(lambda folder: written(folder / "f", b"abc", sync=False, sync_folder=True)),
            {b"abc", b"", bytes(3)},
        )

    def test_a_write_is_torn_at_sectors(self) -> None:
        def main(folder: Path) -> None:
            written(folder / "f", b"a" * 1024, sync=True, sync_folder=True)
            descriptor = os.open(folder / "f", os.O_WRONLY)
            os.pwrite(descriptor, b"b" * 1024, 0)
            os.close(descriptor)

        a, b = b"a" * 512, b"b" * 512
        self.assertEqual(self.left(main, 80), {a + a, a + b, b + a, b + b})

    def test_a_file_put_in_anothers_place_is_one_or_the_other(self) -> None:
        def main(folder: Path) -> None:
            written(folder / "f", b"old", sync=True, sync_folder=True)
            with open(folder / "f.new", "wb") as file:
                file.write(b"new")
                file.flush()
                os.fsync(file.fileno())
            os.replace(folder / "f.new", folder / "f")

        self.assertEqual(self.left(main), {b"old", b"new"})

    def test_an_in_place_change_of_what_is_shortened_comes_back_or_not(self) -> None:
        def main(folder: Path) -> None:
            written(folder / "f", b"abcdef", sync=True, sync_folder=True)
            descriptor = os.open(folder / "f", os.O_WRONLY)
            os.ftruncate(descriptor, 2)
            os.close(descriptor)

        self.assertLessEqual({b"ab", b"abcdef"}, self.left(main))

    def test_a_removed_file_comes_back_or_not(self) -> None:
        def main(folder: Path) -> None:
            written(folder / "f", b"abc", sync=True, sync_folder=True)
            (folder / "f").unlink()

        self.assertEqual(self.left(main), {b"abc", None})

    def test_after_awhile_the_system_writes_by_itself(self) -> None:
        for _ in range(20):
            self.new()
            self.do(lambda folder: written(folder / "f", b"abc", sync=False, sync_folder=False))
            self.world.run_until(self.world.seconds() + 45.0)
            self.machine.power_cut()
            self.assertEqual((self.machine.folder / "f").read_bytes(), b"abc")

    def test_a_write_with_dsyncis_synced(self) -> None:
        def main(folder: Path) -> None:
            written(folder / "f", b"", sync=True, sync_folder=True)
            descriptor = os.open(folder / "f", os.O_WRONLY | os.O_APPEND | os.O_DSYNC)
            os.write(descriptor, b"abc")
            os.close(descriptor)

        self.assertEqual(self.left(main), {b"abc"})


def insert(path: Path, mode: str, rows: int) -> None:
    """Commit rows one after another; each is acknowledged when this returns."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={mode}")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (value TEXT)")
    for number in range(rows):
        connection.execute("INSERT INTO rows VALUES (?)", (f"{number}" * 300,))


class Sqlite(DiskTestCase):
    """Tests of ``simulation.kernel.disk.sqlite``."""

    def lost(self, mode: str) -> int:
        """Rows lost in many power cuts."""
        lost = 0
        for _ in range(30):
            self.new()
            self.do(lambda folder: insert(folder / "d", mode, 20))
            self.machine.power_cut()
            lost += 20 - self.rows()
        return lost

    def rows(self) -> int:
        connection = sqlite3.connect(self.machine.folder / "d")
        try:
            self.assertEqual(connection.execute("PRAGMA quick_check").fetchone(), ("ok",))
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return 0
            return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])
        finally:
            connection.close()

    def test_synchronous_full_loses_nothing_that_was_committed(self) -> None:
        self.assertEqual(self.lost("FULL"), 0)

    def test_synchronous_normal_loses_some(self) -> None:
        self.assertGreater(self.lost("NORMAL"), 0)

    def test_a_kill_loses_nothing(self) -> None:
        self.new()
        self.do(lambda folder: insert(folder / "d", "OFF", 20)).kill()
        self.assertEqual(self.rows(), 20)

    def test_a_killed_process_holds_no_locks(self) -> None:
        self.new()

        def main(folder: Path) -> None:
            insert(folder / "d", "FULL", 1)
            self.held = sqlite3.connect(folder / "d", isolation_level=None)
            self.held.execute("BEGIN IMMEDIATE")
            self.held.execute("INSERT INTO rows VALUES ('lost')")

        process = self.do(main)
        self.do(lambda folder: self.assertRaises(sqlite3.OperationalError, insert, folder / "d", "FULL", 1))
        process.kill()
        self.do(lambda folder: insert(folder / "d", "FULL", 1))
        self.assertEqual(self.rows(), 2)

    def test_a_kill_within_acommit_leaves_all_or_nothing(self) -> None:
        self.new()
        writes = self.do(lambda folder: insert(folder / "d", "FULL", 3)).reached()["write main"]
        self.assertGreater(writes, 6)
        for nth in range(1, writes + 1):
            self.new()
            folder = self.machine.folder
            process = self.machine.run(lambda _, folder=folder: insert(folder / "d", "FULL", 3))
            process.kill_at("write main", nth)
            self.world.run_until(self.world.seconds() + 1.0)
            self.assertEqual((process.running, self.world.errors), (False, []))
            self.assertLessEqual(self.rows(), 3)


class Faults(DiskTestCase):
    """Tests of ``Disk.full`` and ``Disk.fail_next``."""

    def test_a_full_disk(self) -> None:
        self.new()
        self.do(lambda folder: written(folder / "f", b"abc", sync=True, sync_folder=True))
        self.do(lambda folder: insert(folder / "d", "FULL", 1))
        self.machine.disk.full = True
        found: list[Any] = []

        def main(folder: Path) -> None:
            descriptor = os.open(folder / "f", os.O_WRONLY)
            os.pwrite(descriptor, b"xyz", 0)
            for attempt in (
                lambda: os.pwrite(descriptor, b"d", 3),
                lambda: os.posix_fallocate(descriptor, 0, 100),
                lambda: (folder / "g").write_bytes(b"1"),
                lambda: insert(folder / "d", "FULL", 1),
            ):
                try:
                    attempt()
                except OSError as error:
                    found.append(error.errno)
                except sqlite3.OperationalError as error:
                    found.append(str(error))

        self.do(main)
        self.assertEqual(found, [errno.ENOSPC] * 3 + ["database or disk is full"])
        self.assertEqual((self.machine.folder / "f").read_bytes(), b"xyz")

    def test_what_async_failed_for_is_not_synced_by_the_next(self) -> None:
        lost = 0
        for _ in range(30):
            self.new()
            self.machine.disk.fail_next("sync", "f")

            def main(folder: Path) -> None:
                self.assertRaises(OSError, written, folder / "f", b"abc", sync=True, sync_folder=False)
                written(folder / "f", b"abc", sync=True, sync_folder=True)

            self.do(main)
            self.machine.power_cut()
            lost += (self.machine.folder / "f").read_bytes() != b"abc"
        self.assertEqual(lost, 0)  # it was rewritten

    def test_a_failed_sync_of_sqlite_is_said(self) -> None:
        self.new()
        self.machine.disk.fail_next("sync", "d-wal")
        self.do(lambda folder: self.assertRaises(sqlite3.OperationalError, insert, folder / "d", "FULL", 1))

    def test_locks_go_with_the_process(self) -> None:
        self.new()

        def lock(folder: Path) -> bool:
            descriptor = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            return True

        found: list[bool] = []
        first = self.do(lambda folder: found.append(lock(folder)))
        self.do(lambda folder: found.append(lock(folder)))
        first.kill()
        self.do(lambda folder: found.append(lock(folder)))
        self.assertEqual(found, [True, False, True])


class SlowSyncs(DiskTestCase):
    """Data that a thread syncs are on disk when the sync has ended."""

    def cut(self, after_s: float) -> set[bytes | None]:
        """What a file is after a power cut so long after a thread began to write it; its sync takes 10 s."""
        found: set[bytes | None] = set()
        for _ in range(40):
            self.new()
            self.machine.disk.slow = 10.0
            folder = self.machine.folder

            def main(process: Process, folder: Path = folder) -> None:
                worker = VirtualWorker(process, "files")
                worker.run(lambda: written(folder / "f", b"abc", sync=True, sync_folder=True))

            self.machine.run(main)
            self.world.run_until(self.world.seconds() + after_s)
            self.machine.power_cut()
            path = folder / "f"
            found.add(path.read_bytes() if path.exists() else None)
        return found

    def test_during_the_sync_of_the_file_its_name_may_be_there_and_its_content_not(self) -> None:
        self.assertLessEqual({None, b"", b"abc"}, self.cut(5.0))

    def test_after_it_only_the_name_may_be_missing(self) -> None:
        self.assertEqual(self.cut(15.0), {None, b"abc"})

    def test_after_both_it_is_there(self) -> None:
        self.assertEqual(self.cut(21.0), {b"abc"})


class CacheFiles(DiskTestCase):
    """A group of statements that does not have to last, before one that does."""

    def test_a_power_cut_brings_back_nothing_that_was_revoked(self) -> None:
        def put(key: bytes) -> disk_file.Statement:
            row = CacheRow(key, 0, (b"tag of " + key,), key * 300)
            return lambda connection: disk_file.put(connection, row, 1 << 20)

        def main(folder: Path) -> None:
            file = CacheFile(folder / "cache" / "answers.sqlite", "this key")
            file.open()
            file.run([put(b"one"), put(b"two")], lasting=False)
            file.run([lambda connection: disk_file.drop(connection, b"tag of one")])
            file.run([put(b"three")], lasting=False)

        lost = 0
        for _ in range(20):
            self.new()
            self.do(main)
            self.machine.power_cut()
            file = CacheFile(self.machine.folder / "cache" / "answers.sqlite", "this key")
            file.open()
            one, two, three = file.run(
                [
                    lambda connection, key=key: disk_file.get(connection, key)
                    for key in (b"one", b"two", b"three")
                ]  # type: ignore[misc]
            )
            file.close()
            self.assertEqual((one, file.dropped), (None, ""))
            self.assertEqual(two, (0, b"two" * 300))
            lost += three is None
        self.assertGreater(lost, 0)


class SavedPositions(DiskTestCase):
    """The position of a sink, which is saved several times a second."""

    def test_a_power_cut_leaves_one_that_was_saved(self) -> None:
        def main(folder: Path) -> None:
            files = CursorFiles(folder)
            for seq in (5, 6):
                files.save("http", Cursor("w0", 1, seq * 100, seq), "trail")

        found = set()
        for _ in range(30):
            self.new()
            self.do(main)
            self.machine.power_cut()
            position = CursorFiles(self.machine.folder).load("http", "w0", "trail")
            assert position is not None
            found.add(position.seq)
        self.assertEqual(found, {5, 6})
