"""Writes in progress: each has one entry, and equal ones go out one at a time. In memory, bounded."""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections import deque
from collections.abc import Callable

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...errors import OverCapacity
from ...messages import ABSENT, Call, Exchange


class State(enum.Enum):
    """How far a write is."""

    OPEN = "open"
    UNKNOWN = "unknown"
    FOUND = "found"
    ABSENT = "absent"
    SETTLED = "settled"


@define(slots=True, eq=False)
class Entry:
    """One write.

    :param key: writes with the same key go out one at a time.
    :param started: monotonic seconds at which it began.
    :param floor: the highest id of its resource that had been seen by then.
    :param sent: monotonic seconds at which its last uncertain try began, None while there is none.
    :param record: the record that was found, if any.
    """

    reference: str
    key: bytes
    exchange: Exchange
    started: float
    floor: int | None = None
    sent: float | None = None
    state: State = State.OPEN
    record: dict[str, object] | None = field(default=None, repr=False)

    @property
    def call(self) -> Call:
        assert self.exchange.call is not None
        return self.exchange.call


class Ledger:
    """The open entries.

    :param key: key of the HMAC under which equal writes are recognised; no body is kept for it.
    :param reference: makes the reference of an entry.
    :param max_open: entries open at a time, waiting ones included.
    """

    def __init__(
        self, clock: IReactorTime, key: bytes, reference: Callable[[], str], *, max_open: int = 1000
    ) -> None:
        self._clock = clock
        self._key = key
        self._reference = reference
        self._max_open = max_open
        self._open = 0
        self._turns: dict[bytes, deque[Deferred[Entry]]] = {}

    def __len__(self) -> int:
        return self._open

    async def enter(self, exchange: Exchange) -> tuple[Entry, Entry | None]:
        """Open an entry when it is its turn.

        :return: the entry, and the equal one that it had to wait for, if any.
        :raise OverCapacity: too many are open, or the turn did not come before the deadline. Nothing was sent.
        """
        if self._open >= self._max_open:
            raise OverCapacity("Too many writes are under way.")
        assert exchange.call is not None
        key = self._key_of(exchange, exchange.call)
        self._open += 1
        try:
            before = await self._turn(key, exchange.deadline)
        except BaseException:
            self._open -= 1
            raise
        reference = exchange.reference or self._reference()
        return Entry(reference, key, exchange, self._clock.seconds()), before

    def leave(self, entry: Entry) -> None:
        """The entry is settled: the next equal one may go."""
        self._open -= 1
        waiting = self._turns[entry.key]
        while waiting:
            following = waiting.popleft()
            if not following.called:
                following.callback(entry)
                return
        del self._turns[entry.key]

    async def _turn(self, key: bytes, deadline: float) -> Entry | None:
        waiting = self._turns.get(key)
        if waiting is None:
            self._turns[key] = deque()
            return None
        mine: Deferred[Entry] = Deferred()
        waiting.append(mine)
        mine.addTimeout(max(0.0, deadline - self._clock.seconds()), self._clock, _too_late)
        try:
            return await mine
        except BaseException:
            if mine in waiting:
                waiting.remove(mine)
            raise

    def _key_of(self, exchange: Exchange, call: Call) -> bytes:
        """Equal: a POST of one body to one route by one author; for a change, the record that it changes."""
        operation = call.operation
        what: list[object] = [operation.resource, operation.path(call.path)]
        if operation.lookup is not None or operation.resource is None or not call.path:
            # With identity switched off the credentials alone tell two callers apart.
            author = call.authorization if exchange.identity is None else exchange.identity.id
            document = None if call.document is ABSENT else call.document
            if isinstance(document, dict):
                # A field left out is stored as null: the same record, so the same turn.
                document = {name: value for name, value in document.items() if value is not None}
            what += [operation.method, author, list(call.query), document]
        return hmac.digest(self._key, msgspec.json.encode(what, order="sorted"), hashlib.sha256)


def _too_late(_result: object, _timeout: float) -> Entry:
    raise OverCapacity("An equal write, or one to the same record, is still under way.")
