"""A disk that fails when told to, and a thread that works when told to."""

from __future__ import annotations

import errno
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

MARKS = ("begin", "digest")


class FakeFile:
    def __init__(self, disk: FakeDisk, first: bytes = b"") -> None:
        self.disk = disk
        self.content = self.synced = first
        self.open = True

    def write(self, data: bytes) -> int:
        if self.disk.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self.disk.write.pop(0) if self.disk.write else len(data)
        if isinstance(taken, OSError):
            self.content += data[:3]  # the content after an error is not known
            raise taken
        self.content += data[:taken]
        return taken

    def sync(self) -> None:
        if self.disk.sync:
            raise self.disk.sync.pop(0)
        self.synced = self.content

    def truncate(self, size: int) -> None:
        if self.disk.truncate:
            raise self.disk.truncate.pop(0)
        self.content = self.content[:size]

    def fileno(self) -> int:
        raise AssertionError("only a ring of the kernel's asks")

    def close(self) -> None:
        self.open = False

    @property
    def all(self) -> list[Any]:
        """Every record that is on disk."""
        return [msgspec.json.decode(line) for line in self.synced.split(b"\n")[:-1]]

    @property
    def records(self) -> list[Any]:
        """Every record on disk except the journal's own."""
        return [record for record in self.all if record["kind"] not in MARKS]


class FakeReserve(FakeFile):
    def __init__(self, disk: FakeDisk, first: bytes, room: int) -> None:
        super().__init__(disk, first)
        self.room = room

    def write(self, data: bytes) -> int:
        if len(self.content) + len(data) > self.room:
            raise OSError(errno.ENOSPC, "the reserve is full")
        self.content += data
        return len(data)


class FakeDisk:
    """The lists hold the results of the next calls: an error, or for a write how much it takes.

    While it is full, nothing can be created or written except within the reserve.
    """

    def __init__(self) -> None:
        self.files: dict[str, FakeFile] = {}
        self.create_: list[OSError] = []
        self.write: list[OSError | int] = []
        self.sync: list[OSError] = []
        self.truncate: list[OSError] = []
        self.reserves: dict[str, int] = {}
        self.full = False
        self.claimed = False

    def claim(self, directory: Path) -> str:
        self.claimed = True
        return "w0"

    def release(self) -> None:
        self.claimed = False

    def names(self, directory: Path) -> list[str]:
        return [*self.files, *self.reserves]

    def read(self, directory: Path, name: str) -> BinaryIO:
        return BytesIO(self.files[name].content)

    def make_reserve(self, directory: Path, name: str, size: int) -> None:
        self._want_room()
        self.reserves[name] = size

    def from_reserve(self, directory: Path, reserve: str, name: str, first: bytes) -> FakeFile:
        self.files[name] = FakeReserve(self, first, self.reserves.pop(reserve))
        return self.files[name]

    def _want_room(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def create(self, directory: Path, name: str, first: bytes = b"") -> FakeFile:
        self._want_room()
        if self.create_:
            raise self.create_.pop(0)
        if name in self.files:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        self.files[name] = FakeFile(self, first)
        return self.files[name]

    @property
    def last(self) -> FakeFile:
        return list(self.files.values())[-1]


class HandWorker:
    """Does a task only when the test says so."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.stopped = False

    def run(self, task: Callable[[], Any]) -> Deferred[Any]:
        assert not self.stopped
        done: Deferred[Any] = Deferred()
        self.tasks.append((task, done))
        return done

    def step(self) -> None:
        task, done = self.tasks.pop(0)
        try:
            result = task()
        except Exception:
            done.errback(Failure())
        else:
            done.callback(result)

    def stop(self) -> None:
        self.stopped = True


class HandRing:
    """Writes only when the test says so: a write is one of the worker's tasks.

    :param refused: errors that the next writes raise at once.
    :param failing: errors with which the next writes end, having written a part.
    """

    def __init__(self, worker: HandWorker) -> None:
        self.worker = worker
        self.refused: list[OSError] = []
        self.failing: list[OSError] = []
        self.writes = 0
        self.flying = False
        self.open = True

    def write(self, file: FakeFile, data: bytes, offset: int, completed: Callable[[int], None]) -> None:
        assert self.open
        assert not self.flying
        assert offset == len(file.content)
        if self.refused:
            raise self.refused.pop(0)
        self.writes += 1
        self.flying = True
        self.worker.run(lambda: self._written(file, data)).addCallback(completed)

    def _written(self, file: FakeFile, data: bytes) -> int:
        self.flying = False
        if self.failing:
            file.content += data[:5]
            return -int(self.failing.pop(0).errno or 0)
        try:
            return file.write(data)
        except OSError as error:
            return -int(error.errno or 0)

    def close(self) -> None:
        assert not self.flying
        self.open = False
