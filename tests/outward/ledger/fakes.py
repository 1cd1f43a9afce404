"""A ledger without a thread and without a disk, and its possible faults."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from hospproxy.outward.ledger import format as file_format
from hospproxy.outward.ledger.ledger import Ledger
from hospproxy.outward.ledger.owner import LedgerOwner

T = TypeVar("T")
_FOLDER = tempfile.TemporaryDirectory(prefix="hospproxy-test-")


class AtOnce:
    """A worker thread's stand-in: it does each task at once, fails it like a full disk, or is dead."""

    def __init__(self) -> None:
        self.full = False
        self.dead = False

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        if self.dead:
            return Deferred()
        if self.full:
            return maybeDeferred(_full)
        return maybeDeferred(work)

    def stop(self) -> None:
        pass


def _full() -> Any:
    raise sqlite3.OperationalError("database or disk is full")


class Disk:
    """The part of a ledger that outlives a process: a database in memory."""

    def __init__(self) -> None:
        self.keeper = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        file_format.prepare(self.keeper, Path("memory"))

    def ledger(
        self,
        wall: Callable[[], float],
        worker: AtOnce | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> Ledger:
        """Open the ledger of a process on this disk."""
        path = Path(_FOLDER.name) / "ledger.sqlite"
        ledger = Ledger(
            path,
            worker or AtOnce(),
            wall,
            lambda _path: (_Uncloseable(self.keeper), None),
            monotonic=monotonic,
        )
        ledger.open()
        ledger._owner.__class__ = _PassingOwner
        return ledger

    def all(self, what: str) -> list[tuple[Any, ...]]:
        """Return some columns of every entry."""
        return self.keeper.execute(f"SELECT {what} FROM entries ORDER BY entered, reference").fetchall()


class _PassingOwner(LedgerOwner):
    """Releases its lock with the last reference to it: most tests end without ending their processes."""

    _left = False

    def leave(self) -> None:
        if not self._left:
            self._left = True
            super().leave()

    def __del__(self) -> None:
        self.leave()


class _Uncloseable:
    """A process's connection to the database. Closing it keeps the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def close(self) -> None:
        pass
