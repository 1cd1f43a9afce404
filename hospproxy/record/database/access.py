"""A thread with one connection to the database: transactions one after another, none of which may hang for ever."""

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

from ...worker import Worker, WorkerLike
from ..reading.rows import IndexAway, NoIndexYet
from .dialects import Target, engine_for

T = TypeVar("T")


class DatabaseFailed(IndexAway):
    """The database did not do what it was asked; the message holds neither values nor passwords."""


class NoTablesYet(DatabaseFailed, NoIndexYet):
    """There is no database yet, or nothing in it: whatever fills it has not begun."""


_UNDEFINED_TABLE = "42P01"  # SQLSTATE


def words_of(error: SQLAlchemyError | OSError | Exception) -> str:
    """An error in a line. What follows the first line may show a row."""
    cause = getattr(error, "orig", None) or error
    diagnosis = getattr(getattr(cause, "diag", None), "message_primary", None)
    said = str(diagnosis or cause).strip() or type(cause).__name__
    return said.splitlines()[0][:200]


@define(eq=False)
class Access:
    """Runs transactions.

    :param reactor: IReactorTime and IReactorFromThreads.
    :param name: of the thread.
    :param worker: makes it.
    """

    _reactor: Any
    _target: Target
    _name: str
    _read_only: bool = False
    _make_worker: Callable[[Any, str], WorkerLike] = field(default=Worker, alias="worker")
    _worker: WorkerLike = field(init=False)
    _engine: Engine | None = field(default=None, init=False)
    _line: socket.socket | None = field(default=None, init=False)
    _timer: Any = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._worker = self._make_worker(self._reactor, self._name)

    async def run(self, task: Callable[[Connection], T]) -> T:
        """Do a task in one transaction, in the thread.

        :raise DatabaseFailed: it was rolled back, or its end is not known.
        :raise NoTablesYet: to whoever only reads: there is nothing to read.
        """
        return await self._worker.run(partial(self._do, task))

    async def close(self) -> None:
        """Give up what is under way; no task may follow."""
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
        if self._read_only:
            cause = getattr(error, "orig", None)
            no_file = self._target.url is None and not self._target.file.exists()
            if no_file or "no such table" in words or getattr(cause, "sqlstate", None) == _UNDEFINED_TABLE:
                return NoTablesYet(words)
        return DatabaseFailed(words)

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    # A server's own time-out does not help where the network swallows its words; then nothing but the end of the
    # connection wakes libpq. The socket is duplicated: its number may be another's by the time that it is used.

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
