"""A thread with one database connection: runs transactions one after another; none may hang for ever."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from attrs import define, field
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ...process.worker import TaskRunner, TaskThread
from ..search.rows import IndexAway, NoIndexYet
from .connect import DatabaseTarget, engine_for

T = TypeVar("T")


class DatabaseFailed(IndexAway):
    """A transaction failed, or its result is unknown. The message holds neither values nor passwords."""


class NoTablesYet(DatabaseFailed, NoIndexYet):
    """The tables do not exist yet: the sink that fills them has not started."""


_UNDEFINED_TABLE = "42P01"  # SQLSTATE


def words_of(error: SQLAlchemyError | OSError | Exception) -> str:
    """The first line of an error, 200 characters at most. Later lines may show a row's values."""
    cause = getattr(error, "orig", None) or error
    diagnosis = getattr(getattr(cause, "diag", None), "message_primary", None)
    said = str(diagnosis or cause).strip() or type(cause).__name__
    return said.splitlines()[0][:200]


@define(eq=False)
class TransactionThread:
    """Runs transactions in a thread of its own.

    :param reactor: IReactorTime and IReactorFromThreads.
    :param name: of the thread.
    :param worker: makes the thread.
    """

    _reactor: Any
    _target: DatabaseTarget
    _name: str
    _read_only: bool = False
    _make_worker: Callable[[Any, str], TaskRunner] = field(default=TaskThread, alias="worker")
    _worker: TaskRunner = field(init=False)
    _engine: Engine | None = field(default=None, init=False)
    _line: socket.socket | None = field(default=None, init=False)
    _timer: Any = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._worker = self._make_worker(self._reactor, self._name)

    async def run(self, task: Callable[[Connection], T]) -> T:
        """Run a task in one transaction, in the thread.

        :raise DatabaseFailed: it was rolled back, or its result is unknown.
        :raise NoTablesYet: only if read-only: there is nothing to read yet.
        """
        return await self._worker.run(partial(self._do, task))

    async def close(self) -> None:
        """Abort the transaction in flight and stop the thread; no task may follow."""
        self._sever()
        await self._worker.run(self._dispose)
        self._worker.stop()

    def _do(self, task: Callable[[Connection], T]) -> T:
        try:
            if self._engine is None:
                self._engine = engine_for(self._target, read_only=self._read_only)
            with self._engine.connect() as connection:
                self._begin_watch(connection)
                try:
                    with connection.begin():
                        return task(connection)
                finally:
                    self._reactor.callFromThread(self._end_watch)
        except (SQLAlchemyError, OSError) as error:
            raise self._failure(error) from None

    def _failure(self, error: SQLAlchemyError | OSError) -> DatabaseFailed:
        words = words_of(error)
        cause = getattr(error, "orig", None)
        if self._read_only and getattr(cause, "sqlstate", None) == _UNDEFINED_TABLE:
            return NoTablesYet(words)
        return DatabaseFailed(words)

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    # The server's own timeout does not help when the network drops its packets: libpq then wakes only if the
    # connection is shut down. The socket is duplicated, since its number may belong to another socket by then.

    def _begin_watch(self, connection: Connection) -> None:
        fileno = getattr(connection.connection.driver_connection, "fileno", None)
        if fileno is not None:
            self._reactor.callFromThread(self._watch, socket.socket(fileno=os.dup(fileno())))

    def _watch(self, line: socket.socket) -> None:
        self._line = line
        self._timer = self._reactor.callLater(self._target.timeout_s * 1.5, self._sever)

    def _sever(self) -> None:
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def _end_watch(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
