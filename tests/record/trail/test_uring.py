"""io_uring on real files. If this kernel does not allow it, the tests check that a thread takes its place."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from hospproxy.keys.signing_key import Signer
from hospproxy.record.trail.files import JournalFile, OsFiles
from hospproxy.record.trail.group_commit import Committer
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.uring import Uring

from .disks import HandWorker

SIGNER = Signer.generate()


class OnRealFiles(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file: JournalFile = OsFiles().create(self.folder, "x", b"first\n")
        self.addCleanup(self.file.close)

    async def written(self, ring: Uring, data: bytes, at: int, file: Any = None) -> int:
        done: Deferred[int] = Deferred()
        ring.write(file or self.file, data, at, done.callback)
        return await done.addTimeout(30, reactor)  # type: ignore[arg-type]

    async def with_ring(self, use: Any) -> None:
        try:
            ring = Uring(reactor)
        except OSError:
            self.check_that_a_thread_writes()
            return
        try:
            await use(ring)
        finally:
            ring.close()

    def check_that_a_thread_writes(self) -> None:
        worker = HandWorker()
        commits = Committer(
            TrailKeeper(self.folder, lambda: 0.0, signer=SIGNER), worker, lambda: Uring(reactor)
        )
        begun = commits.start()
        worker.step()
        self.successResultOf(begun)
        kept = commits.keep([b'{"n":1}'], [None])
        worker.step()
        self.assertEqual(self.successResultOf(kept), 0)

    def test_what_it_is_given_is_in_the_file(self) -> Deferred[None]:
        async def use(ring: Uring) -> None:
            expected = b"first\n"
            for number in range(40):  # several times around the ring
                data = b"%d" % number * (number * 1000 + 1) + b"\n"
                self.assertEqual(await self.written(ring, data, len(expected)), len(data))
                expected += data
                self.assertEqual((self.folder / "x").read_bytes(), expected)

        return Deferred.fromCoroutine(self.with_ring(use))

    def test_an_error_is_told(self) -> Deferred[None]:
        class ForReading:
            def fileno(inner) -> int:
                return readable

        readable = os.open(self.folder / "x", os.O_RDONLY)
        self.addCleanup(os.close, readable)

        async def use(ring: Uring) -> None:
            self.assertEqual(await self.written(ring, b"x", 0, ForReading()), -errno.EBADF)
            self.assertEqual(await self.written(ring, b"more\n", 6), 5)  # and it continues

        return Deferred.fromCoroutine(self.with_ring(use))

    def test_the_bytes_stay_until_they_are_written(self) -> Deferred[None]:
        async def use(ring: Uring) -> None:
            data = bytes(bytearray(b"x" * 1000))
            before = sys.getrefcount(data)
            done: Deferred[int] = Deferred()
            ring.write(self.file, data, 6, done.callback)
            self.assertEqual(sys.getrefcount(data), before + 2)  # the ring's, and the one that nobody holds
            await done
            await deferLater(reactor, 0)  # type: ignore[arg-type]
            self.assertEqual(sys.getrefcount(data), before)

        return Deferred.fromCoroutine(self.with_ring(use))

    def test_closing_gives_all_descriptors_back(self) -> Deferred[None]:
        def open_files() -> int:
            return len(os.listdir("/proc/self/fd"))

        async def use(ring: Uring) -> None:
            before = open_files()
            for _ in range(5):
                another = Uring(reactor)
                another.close()
            self.assertEqual(open_files(), before)

        return Deferred.fromCoroutine(self.with_ring(use))

    def test_without_room_for_descriptors_it_says_so(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        self.assertRaises(OSError, Uring, reactor)

    def test_a_process_that_ends_meanwhile_writes_what_it_was_given_or_nothing(self) -> None:
        script = (
            "import sys\n"
            "from pathlib import Path\n"
            "from twisted.internet import reactor\n"
            "from hospproxy.record.trail.files import OsFiles\n"
            "from hospproxy.record.trail.uring import Uring\n"
            "file = OsFiles().create(Path(sys.argv[1]), sys.argv[2])\n"
            "try:\n    ring = Uring(reactor)\nexcept OSError:\n    sys.exit()\n"
            "ring.write(file, b'y' * 300_000, 0, print)\n"
        )
        for number in range(2):
            name = f"ended{number}"
            subprocess.run([sys.executable, "-c", script, str(self.folder), name], check=True)
            self.assertEqual((self.folder / name).read_bytes().strip(b"y"), b"")
