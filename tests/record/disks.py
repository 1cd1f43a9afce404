"""A disk that fails when told to, and a thread that works when told to."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class FakeFile:
    def __init__(self, disk: FakeDisk) -> None:
        self.disk = disk
        self.content = b""
        self.synced = b""
        self.open = True

    def write(self, data: bytes) -> int:
        taken = self.disk.write.pop(0) if self.disk.write else len(data)
        if isinstance(taken, OSError):
            self.content += data[:3]  # who knows what an error has left behind
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

    def close(self) -> None:
        self.open = False

    @property
    def lines(self) -> list[bytes]:
        return self.synced.splitlines()


class FakeDisk:
    """The lists hold what the next calls do: an error, or for a write how much it takes."""

    def __init__(self) -> None:
        self.files: dict[str, FakeFile] = {}
        self.create_: list[OSError] = []
        self.write: list[OSError | int] = []
        self.sync: list[OSError] = []
        self.truncate: list[OSError] = []

    def create(self, directory: Path, name: str) -> FakeFile:
        if self.create_:
            raise self.create_.pop(0)
        if name in self.files:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        self.files[name] = FakeFile(self)
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
