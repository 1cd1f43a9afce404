"""Searches of the index: sent by the service, answered by the courier process.

A result goes in parts of bounded size. All rows of a search are fetched a few at a time, as the client takes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec
from attrs import frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..interfaces import ITrailReader
from ..process.background import Background
from ..record.search.filters import Filters
from ..record.search.rows import IndexAway, IndexRow, NoIndexYet, RowKey, RowName, RowPage, Summary
from .messages import Failed, Forget, Part, Search

PART_BYTES: Final = 256 << 10
"""Bytes of a result in one message."""
ROWS: Final = 100
ROWS_BYTES: Final = 1 << 20
"""Most rows, or bytes of rows, that are fetched together."""
MOST: Final = 50
"""Searches that may be waited for at one time."""

Message = Search | Forget
_encode = msgspec.msgpack.encode


@frozen(slots=True)
class Rows:
    """Some of the rows of a search.

    :param more: others may follow.
    """

    rows: tuple[IndexRow, ...]
    more: bool


_RESULTS: Final[dict[str, Any]] = {
    "page": RowPage,
    "row": IndexRow | None,
    "rows": Rows,
    "more": Rows,
    "members": tuple[str, ...] | None,
    "summary": Summary,
}
_ARGUMENTS: Final[dict[str, Any]] = {
    "page": tuple[Filters, RowKey | None, int],
    "row": tuple[RowName],
    "rows": tuple[Filters],
    "more": tuple[int],
    "members": tuple[str, int],
    "summary": tuple[float],
}


@implementer(ITrailReader)
class RemoteReader:
    """Asks the courier; see ITrailReader. While the courier is away, every search fails at once with ``IndexAway``.

    :param send: sends a message to the courier; returns False if it is away.
    :param timeout_s: seconds that a search may take.
    """

    def __init__(self, send: Callable[[Message], bool], clock: IReactorTime, timeout_s: float) -> None:
        self._send = send
        self._clock = clock
        self._timeout_s = timeout_s
        self._number = 0
        self._waiting: dict[int, tuple[Deferred[bytes], list[bytes]]] = {}

    async def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        """Return one page of rows; see ITrailReader."""
        found: RowPage = await self._ask("page", (filters, after, limit))
        return found

    async def row(self, name: RowName) -> IndexRow | None:
        """Return one row by its name; see ITrailReader."""
        found: IndexRow | None = await self._ask("row", (name,))
        return found

    async def rows(self, filters: Filters) -> AsyncIterator[IndexRow]:
        """Iterate over all rows; see ITrailReader."""
        number = self._number + 1
        found: Rows = await self._ask("rows", (filters,))
        try:
            while True:
                for row in found.rows:
                    yield row
                if not found.more:
                    return
                found = await self._ask("more", (number,))
        finally:
            if found.more:
                self._send(Forget(number))

    async def members(self, disclosed: str, most: int) -> Sequence[str] | None:
        """Return the patients of a disclosure set; see ITrailReader."""
        found: Sequence[str] | None = await self._ask("members", (disclosed, most))
        return found

    async def summary(self, since: float) -> Summary:
        """Return a summary; see ITrailReader."""
        found: Summary = await self._ask("summary", (since,))
        return found

    async def close(self) -> None:
        """Give up all searches, and tell those who wait why."""
        self.lost("the service is stopping")

    def received(self, message: Part | Failed) -> None:
        """Take a message of the courier."""
        waiting = self._waiting.get(message.id)
        if waiting is None:
            return
        result, parts = waiting
        if isinstance(message, Failed):
            result.errback((NoIndexYet if message.empty else IndexAway)(message.why))
            return
        parts.append(message.data)
        if message.last:
            result.callback(b"".join(parts))

    def lost(self, why: str) -> None:
        """Fail all searches: the courier is away."""
        for result, _ in list(self._waiting.values()):
            result.errback(IndexAway(why))

    async def _ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if len(self._waiting) >= MOST:
            raise IndexAway("too many searches at one time")
        self._number += 1
        number = self._number
        result: Deferred[bytes] = Deferred()
        self._waiting[number] = result, []
        try:
            if not self._send(Search(number, method, _encode(arguments))):
                raise IndexAway("the courier process is not running; it is being restarted")
            data = await result.addTimeout(self._timeout_s, self._clock)
        except defer.TimeoutError:
            self._send(Forget(number))
            raise IndexAway(f"the courier process did not answer within {self._timeout_s:g} s") from None
        except defer.CancelledError:
            self._send(Forget(number))
            raise
        finally:
            del self._waiting[number]
        return msgspec.msgpack.decode(data, type=_RESULTS[method])


class Searches:
    """Answers the searches in the courier process.

    :param send: sends a message to the service.
    """

    _log = Logger()

    def __init__(self, reader: ITrailReader, send: Callable[[Part | Failed], None]) -> None:
        self._reader = reader
        self._send = send
        self._running: dict[int, Deferred[None]] = {}
        self._iterators: dict[int, AsyncIterator[IndexRow]] = {}
        self._background = Background(self._log, "a search of the audit trail failed")

    def received(self, message: Search | Forget) -> None:
        """Take a message of the service."""
        if isinstance(message, Search):
            running = Deferred.fromCoroutine(self._answer(message))
            self._running[message.id] = running
            self._background.run(running, lambda _outcome: self._running.pop(message.id, None))
            return
        self._iterators.pop(message.id, None)
        running_ = self._running.get(message.id)
        if running_ is not None:
            running_.cancel()

    async def _answer(self, search: Search) -> None:
        try:
            arguments = msgspec.msgpack.decode(search.arguments, type=_ARGUMENTS[search.method])
            data = _encode(await self._result(search.id, search.method, arguments))
        except IndexAway as away:
            self._send(Failed(search.id, str(away), isinstance(away, NoIndexYet)))
            return
        except defer.CancelledError:
            raise
        except Exception as error:
            self._send(Failed(search.id, f"the search failed: {type(error).__name__}", False))
            raise
        for at in range(0, len(data), PART_BYTES):
            self._send(Part(search.id, data[at : at + PART_BYTES], at + PART_BYTES >= len(data)))

    async def _result(self, number: int, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "rows":
            self._iterators[number] = self._reader.rows(*arguments).__aiter__()
            return await self._rows(number)
        if method == "more":
            return await self._rows(arguments[0])
        return await getattr(self._reader, method)(*arguments)

    async def _rows(self, number: int) -> Rows:
        iterator = self._iterators.get(number)
        if iterator is None or len(self._iterators) > MOST:
            self._iterators.pop(number, None)
            raise IndexAway("the search was given up")
        rows: list[IndexRow] = []
        size = 0
        while len(rows) < ROWS and size < ROWS_BYTES:
            row = await anext(iterator, None)
            if row is None:
                self._iterators.pop(number, None)
                return Rows(tuple(rows), False)
            rows.append(row)
            size += len(row.line)
        return Rows(tuple(rows), True)
