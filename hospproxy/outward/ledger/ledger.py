"""Asynchronous interface of the ledger. Statements that arrive while a transaction runs form the next transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...http.errors import ProxyError
from ...process.sqlite_file import in_one
from ...process.worker import TaskRunner
from . import format as file_format
from . import store
from .owner import LedgerOwner
from .store import HIGHEST_ID, LedgerRow, TurnKeeper

T = TypeVar("T")
Statement = Callable[[sqlite3.Connection], Any]
MAX_WAITING = 10_000
MAX_UNCLOSED = 1_000
"""Maximum number of entries that could not be closed and are closed later. The next start resolves any others."""
MAX_UNCLOSED_ANSWER = 64 << 10
"""Maximum bytes of a response that waits in memory with such an entry."""
_log = Logger()


class LedgerFailed(ProxyError):
    """The ledger cannot be written, so no write may be sent."""

    status = 503
    outcome = "refused"

    def __init__(self, why: str) -> None:
        super().__init__("The proxy cannot store writes safely now, so nothing was sent.", retry_after_s=5)
        self.why = why


class Ledger:
    """Durable entries, each owned by a process that holds a lock.

    :param path: the database file.
    :param worker: the only thread that touches it.
    :param wall: seconds since the epoch. Read once, for a file that has no time yet.
    :param open_file: opens the file; see format.py.
    :param owner_name: returns the name under which this process owns entries; see ``LedgerOwner``.
    :param monotonic: seconds of the clock by which the ledger's time passes. Default: ``wall``.
    """

    def __init__(
        self,
        path: Path,
        worker: TaskRunner,
        wall: Callable[[], float],
        open_file: Callable[[Path], tuple[sqlite3.Connection, Path | None]] = file_format.open_file,
        owner_name: Callable[[], str | None] = lambda: None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._open_file = open_file
        self._owner_name = owner_name
        self._path = path
        self._worker = worker
        self._wall = wall
        self._monotonic = monotonic or wall
        self._began = 0.0, 0.0
        self._connection: sqlite3.Connection | None = None
        self._owner: LedgerOwner | None = None
        self._waiting: list[tuple[Statement, Deferred[Any]]] = []
        self._running = False
        self._unclosed: dict[str, Statement] = {}
        self.trouble: str | None = "not open"

    def open(self) -> None:
        """Open the file and take the owner's lock. Blocks; call it once, before the first request.

        :raise LedgerFormatError: a newer version wrote the file.
        :raise sqlite3.Error, OSError: the file cannot be used.
        """
        self._connection, aside = self._open_file(self._path)
        if aside is not None:
            _log.critical(
                "ledger: the file was damaged and is now {aside}; "
                "outcomes of writes in it are unknown: check them at HOSP",
                aside=aside,
            )
        kept = store.time(self._connection)
        self._began = self._wall() if kept is None else kept, self._monotonic()
        self._owner = LedgerOwner(self._path.with_name("owners"), self._owner_name())
        self.trouble = None

    def now(self) -> float:
        """The ledger's time in seconds. It continues where the last process stopped, by the monotonic clock.

        So setting the machine's clock makes no entry expire early, and time without a process does not count.
        """
        time, since = self._began
        return time + max(0.0, self._monotonic() - since)

    @property
    def is_open(self) -> bool:
        """Whether the file is open: after `open` and before `shut`."""
        return self._connection is not None

    @property
    def owner(self) -> LedgerOwner:
        """This process, as the owner of entries. Available after ``open``."""
        assert self._owner is not None
        return self._owner

    async def enter(self, *rows: LedgerRow) -> None:
        """Store entries before their writes are sent: all or none.

        :raise LedgerFailed: they are not stored.
        """
        owner = self._owner
        if owner is None:
            raise LedgerFailed("not open")
        await self._do(lambda connection: store.enter(connection, rows, owner.name))

    async def mark(self, reference: str, state: str) -> None:
        """Set the state of an entry that stays open."""
        await self._do(lambda connection: store.mark(connection, reference, state))

    async def close(
        self, reference: str, state: str, record: str | None, answer: bytes | None, *, pending: bool = False
    ) -> None:
        """Settle an entry and wipe its call. If that fails, the ledger tries again later.

        :param answer: the sealed response.
        :param pending: whether the write may still be in flight at the upstream.
        :raise LedgerFailed: the entry is not settled on disk yet.
        """
        settle = self._closing(reference, state, record, answer, pending)
        try:
            await self._do(settle)
        except LedgerFailed:
            if answer is not None and len(answer) > MAX_UNCLOSED_ANSWER:
                settle = self._closing(reference, state, record, None, pending)
            self._try_later(reference, settle)
            raise

    def _try_later(self, name: str, statement: Statement) -> None:
        if len(self._unclosed) < MAX_UNCLOSED and self._connection is not None:
            self._unclosed[name] = statement

    def _closing(
        self, reference: str, state: str, record: str | None, answer: bytes | None, pending: bool
    ) -> Statement:
        wall = self.now()
        keeper = self.owner.name if pending else None
        return lambda connection: store.close(
            connection, reference, state, record, answer, wall, keeper=keeper
        )

    def _close_again(self) -> None:
        """Close the entries that failed to close, in a separate transaction: a new failure blocks nothing else."""
        connection = self._connection
        if not self._unclosed or connection is None:
            return
        waiting, self._unclosed = self._unclosed, {}

        def failed(failure: Failure) -> None:
            _log.error(
                "ledger: settled entries not closed: {why}; retried later", why=failure.getErrorMessage()
            )
            self._unclosed = {**waiting, **self._unclosed}

        self._worker.run(lambda: in_one(connection, list(waiting.values()))).addErrback(failed)

    async def end_pending(self, reference: str) -> None:
        """Note that a settled write is no longer in flight.

        :raise LedgerFailed: it is not noted on disk yet. The ledger tries again later.
        """
        if reference in self._unclosed:
            # First close it: a later close would mark it as in flight again.
            self._close_again()

        def end(connection: sqlite3.Connection) -> None:
            store.end_pending(connection, reference)

        try:
            await self._do(end)
        except LedgerFailed:
            self._try_later(f"{reference} over", end)
            raise

    async def pending(self) -> list[LedgerRow]:
        """Settled writes that may still be in flight at the upstream."""
        return await self._do(store.pending)

    async def keep_turn(self, reference: str) -> TurnKeeper:
        """Who keeps the turn of a settled write: from now on this process, if its keeper is dead."""
        owner = self.owner
        return await self._do(
            lambda connection: store.keep_turn(connection, reference, owner.name, owner.is_gone)
        )

    async def is_changed_elsewhere(self, resource: str, record: str) -> bool:
        """Whether another process of this machine has a change of a record that the upstream may still carry out."""
        name = self.owner.name
        return await self._do(
            lambda connection: store.is_changed_elsewhere(connection, resource, record, name)
        )

    async def sequences(self) -> list[tuple[str, int]]:
        """For each resource, the highest id that a write is known to have made."""
        return await self._do(lambda connection: store.sequences(connection, HIGHEST_ID))

    async def hand_over(self, reference: str) -> None:
        """Note that the client has received the response."""
        await self._do(lambda connection: store.hand_over(connection, reference))

    async def overtake(self, reference: str) -> None:
        """Note that a later change ended the time in which an equal write is a retry of this one.

        :raise LedgerFailed: it is not noted on disk yet. The ledger tries again later.
        """

        def note(connection: sqlite3.Connection) -> None:
            store.hand_over(connection, reference)

        try:
            await self._do(note)
        except LedgerFailed:
            self._try_later(f"{reference} overtaken", note)
            raise

    async def by_key(self, key: bytes) -> LedgerRow | None:
        """The entry under an Idempotency-Key that says most about the write's outcome."""
        wall = self.now()
        return await self._do(lambda connection: store.by_key(connection, key, wall))

    async def by_reference(self, reference: str) -> LedgerRow | None:
        """The entry with this reference; None if there is none."""
        return await self._do(lambda connection: store.by_reference(connection, reference))

    async def in_doubt(self, equal: bytes, window_s: float, known: Sequence[str]) -> str | None:
        """Reference of an equal write without a key of which one that arrives now may be the retry; see ``store``.

        :param window_s: seconds.
        :param known: references of writes whose responses this process knows better.
        """
        since = self.now() - window_s
        return await self._do(lambda connection: store.in_doubt(connection, equal, since, known))

    async def take_over(self) -> list[LedgerRow]:
        """Take over the open entries of dead owners."""
        owner = self._owner
        assert owner is not None

        def take(connection: sqlite3.Connection) -> list[LedgerRow]:
            gone = [name for name in store.owners(connection) if owner.is_gone(name)]
            taken = [row for name in gone for row in store.take_over(connection, name, owner.name)]
            return list({row.reference: row for row in taken}.values())

        taken = await self._do(take)
        for name in owner.others():
            if owner.is_gone(name):
                owner.forget(name)
        return taken

    async def undelivered(self, window_s: float) -> list[LedgerRow]:
        """Settled entries whose client never got the response and may ask again.

        :param window_s: seconds since the entry was settled.
        """
        since = self.now() - window_s
        return await self._do(lambda connection: store.undelivered(connection, since))

    async def keyed(self, since: float, after: str, most: int) -> list[LedgerRow]:
        """Entries with a key that were settled since a time (ledger time), in order of reference.

        :param after: the reference to continue after.
        :param most: maximum number of entries.
        """
        return await self._do(lambda connection: store.keyed(connection, since, after, most))

    def is_gone(self, name: str) -> bool:
        """Whether the process that owned entries under this name is gone."""
        return self._owner is not None and self._owner.is_gone(name)

    async def later_records(self, resource: str, above: int, since: float) -> list[tuple[str, str, str]]:
        """Records above an id that were made or changed by writes that were open at ``since`` or later.

        :param since: ledger time.
        :return: (kind, record id, reference) of each.
        """
        return await self._do(lambda connection: store.later_records(connection, resource, above, since))

    async def tidy(self, window_s: float) -> None:
        """Wipe expired responses and delete expired entries.

        :param window_s: seconds to keep the response of an entry without a key.
        """
        self._close_again()
        wall = self.now()
        await self._do(lambda connection: store.tidy(connection, wall, window_s))

    async def shut(self) -> None:
        """Write what is queued, then close. The next start finds the entries that are still open."""
        if self._connection is None:
            return
        self._close_again()
        with contextlib.suppress(LedgerFailed):
            time = self.now()
            await self._do(lambda connection: store.keep_time(connection, time))
        connection, self._connection = self._connection, None
        await self._worker.run(connection.close)
        self._worker.stop()
        if self._owner is not None:
            self._owner.leave()

    def _do(self, statement: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        if self._connection is None or len(self._waiting) >= MAX_WAITING:
            done.errback(LedgerFailed(self.trouble or "closed, or too many statements are waiting"))
            return done
        self._waiting.append((statement, done))
        self._begin_group()
        return done

    def _begin_group(self) -> None:
        if self._running or not self._waiting or self._connection is None:
            return
        group, self._waiting = self._waiting, []
        self._running = True
        connection = self._connection
        self._worker.run(lambda: in_one(connection, [statement for statement, _ in group])).addBoth(
            self._group_done, [done for _, done in group]
        )

    def _group_done(self, outcome: list[Any] | Failure, waiting: list[Deferred[Any]]) -> None:
        self._running = False
        self._begin_group()  # before the callbacks of this group run
        if isinstance(outcome, Failure):
            self.trouble = outcome.getErrorMessage()
            _log.error(
                "ledger: writing failed: {why}. Writes are refused until it works; check the disk",
                why=self.trouble,
            )
            for done in waiting:
                if not done.called:
                    done.errback(LedgerFailed(self.trouble))
            return
        if self.trouble is not None:
            self.trouble = None
            self._close_again()
        for done, result in zip(waiting, outcome, strict=True):
            if not done.called:
                done.callback(result)
