"""A database filled by hand: SQLite stands in for PostgreSQL, which the integration tests use.

The statements are the same. SQLAlchemy renders PostgreSQL's INSERT … ON CONFLICT for SQLite too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, BigInteger, create_engine, event
from sqlalchemy.ext.compiler import compiles
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from hospproxy.record.database.access import TransactionThread
from hospproxy.record.database.connect import DatabaseTarget
from hospproxy.record.database.reader import DatabaseReader
from hospproxy.record.database.sink import DatabaseSink
from hospproxy.record.trail.follower import Batch, Cursor
from hospproxy.record.trail.hash_chain import ChainHead, linked
from hospproxy.record.trail.record_line import encode_record

T = TypeVar("T")


@compiles(BigInteger, "sqlite")
def _integer(*_: Any, **__: Any) -> str:
    """SQLite numbers rows by itself only in a column of this type."""
    return "INTEGER"


class AtOnce:
    """A worker without a thread."""

    def run(self, task: Callable[[], T]) -> Deferred[T]:
        return execute(task)

    def stop(self) -> None:
        """There is nothing to stop."""


class ThreadlessClock(Clock):
    """A reactor for Access."""

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None:
        callable(*args)


def _without_locks(connection: Any, _: object) -> None:
    connection.create_function("pg_advisory_xact_lock", 1, lambda _number: None)


def access(file: Path, *, read_only: bool = False) -> TransactionThread:
    """Access that works in the caller's thread."""
    made = TransactionThread(
        ThreadlessClock(), DatabaseTarget(url=URL.create("postgresql")), "test", read_only
    )
    made._worker = AtOnce()  # type: ignore[assignment]
    file.parent.mkdir(parents=True, exist_ok=True)
    made._engine = create_engine(f"sqlite:///{file}")
    event.listen(made._engine, "connect", _without_locks)
    return made


def writer(file: Path) -> DatabaseSink:
    """A sink that writes to a file."""
    return DatabaseSink(access(file))


def reader(file: Path) -> DatabaseReader:
    """A reader of the file."""
    return DatabaseReader(access(file, read_only=True), access(file, read_only=True))


class Chain:
    """Makes batches that follow one another."""

    def __init__(self, trail: str = "t1", journal: str = "w0") -> None:
        self._trail = trail
        self._journal = journal
        self._head = ChainHead()

    def batch(self, records: Iterable[Mapping[str, Any]]) -> Batch:
        """A batch of the next records."""
        lines, self._head = linked([encode_record(record) for record in records], self._head)
        return self.of_lines(lines)

    def of_lines(self, lines: Iterable[bytes]) -> Batch:
        """A batch of given lines, after those made so far."""
        position = Cursor(self._journal, 1, 0, self._head.seq)
        return Batch(tuple(lines), self._head.hash.decode(), position, self._trail)


def record(time_ms: int = 1000, **fields: Any) -> dict[str, Any]:
    """A client's request."""
    return {
        "v": 1,
        "kind": "request",
        "time": f"1970-01-01T00:{time_ms // 60000:02d}:{time_ms // 1000 % 60:02d}.{time_ms % 1000:03d}Z",
        "request_id": "r1",
        "who": {"id": 7, "name": "Ada", "certainty": "verified"},
        "on_behalf_of": None,
        "client": {"address": "192.0.2.7"},
        "route": "/patients/{id}",
        "action": "read",
        "resource": "patients",
        "record_id": "3",
        "patient_id": "3",
        "outcome": "success",
        "status": 200,
        "disclosed": None,
        **fields,
    }
