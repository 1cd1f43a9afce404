"""Searches between the service and the courier, with a channel between them that the test delivers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hospproxy.courier.messages import FromCourier, ToCourier
from hospproxy.courier.searches import MOST, PART_BYTES, ROWS, RemoteReader, Searches
from hospproxy.interfaces import ITrailReader
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.rows import IndexAway, IndexRow, NoIndexYet, RowKey, RowName, RowPage, Summary


def row(number: int, filler: int = 0) -> IndexRow:
    record = {
        "kind": "request",
        "n": number,
        "who": {"id": None, "certainty": "none"},
        "filler": "x" * filler,
    }
    return IndexRow(
        RowKey(number, RowName("t", "w0", number)), record, msgspec.json.encode(record), number % 2 == 0
    )


@implementer(ITrailReader)
class FakeReader:
    """Keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.results: list[Any] = []
        self.taken = 0
        self.closed = 0

    async def _result(self, *asked: Any) -> Any:
        self.asked.append(asked)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return await result if isinstance(result, Deferred) else result

    async def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        return await self._result("page", filters, after, limit)  # type: ignore[no-any-return]

    async def row(self, name: RowName) -> IndexRow | None:
        return await self._result("row", name)  # type: ignore[no-any-return]

    async def rows(self, filters: Filters) -> AsyncIterator[IndexRow]:
        for number in range(await self._result("rows", filters)):
            self.taken += 1
            yield row(number)

    async def members(self, disclosed: str, most: int) -> Sequence[str] | None:
        return await self._result("members", disclosed, most)  # type: ignore[no-any-return]

    async def summary(self, since: float) -> Summary:
        return await self._result("summary", since)  # type: ignore[no-any-return]

    async def close(self) -> None:
        self.closed += 1


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.reader = Clock(), FakeReader()
        self.up = True
        self.there: list[Any] = []
        self.back: list[Any] = []
        self.remote = RemoteReader(self.send, self.clock, 30.0)
        self.searches = Searches(self.reader, self.back.append)

    def send(self, message: Any) -> bool:
        if self.up:
            self.there.append(message)
        return self.up

    def deliver(self) -> None:
        """Carry all messages, as bytes, in both directions."""
        while self.there or self.back:
            if self.there:
                content = msgspec.msgpack.encode(self.there.pop(0))
                self.searches.received(msgspec.msgpack.decode(content, type=ToCourier))  # type: ignore[arg-type]
            if self.back:
                content = msgspec.msgpack.encode(self.back.pop(0))
                self.remote.received(msgspec.msgpack.decode(content, type=FromCourier))  # type: ignore[arg-type]

    def ask(self, asked: Any) -> Deferred[Any]:
        done = Deferred.fromCoroutine(asked)
        self.deliver()
        return done

    def all_rows(self, most: int = 1 << 30) -> Deferred[list[IndexRow]]:
        async def collect() -> list[IndexRow]:
            found: list[IndexRow] = []
            rows = self.remote.rows(Filters())
            async for each in rows:
                found.append(each)
                if len(found) == most:
                    await rows.aclose()  # type: ignore[attr-defined]
                    break
            return found

        return Deferred.fromCoroutine(collect())


class Asking(Case):
    def test_the_interface(self) -> None:
        verifyObject(ITrailReader, self.remote)

    def test_each_result_arrives_as_the_index_gave_it(self) -> None:
        name, key = RowName("t", "w0", 3), RowKey(5, RowName("t", "w1", 9))
        alerts = Summary(7, (("192.0.2.1", 3),), (("/notes", 1),), (row(1), row(2)), 1.5)
        filters = Filters(staff="7", since=1.0, own=True, status=404)
        for asked, result in (
            (self.remote.page(filters, key, 50), RowPage((row(1), row(2)), key, 12.0)),
            (self.remote.page(Filters(), None, 1), RowPage(())),
            (self.remote.row(name), row(3)),
            (self.remote.row(name), None),
            (self.remote.members("ab", 10), ("1", "2")),
            (self.remote.members("ab", 10), None),
            (self.remote.summary(2.5), alerts),
        ):
            self.reader.results.append(result)
            self.assertEqual(self.successResultOf(self.ask(asked)), result)
        self.assertEqual(self.reader.asked[0], ("page", filters, key, 50))
        self.assertEqual(self.reader.asked[-1], ("summary", 2.5))

    def test_a_long_result_goes_in_parts(self) -> None:
        page = RowPage(tuple(row(number, 100_000) for number in range(10)))
        self.reader.results.append(page)
        asked = Deferred.fromCoroutine(self.remote.page(Filters(), None, 10))
        self.searches.received(self.there.pop())
        self.assertGreater(len(self.back), 5)
        self.assertLessEqual(max(len(each.data) for each in self.back), PART_BYTES)
        self.deliver()
        self.assertEqual(self.successResultOf(asked), page)

    def test_errors_keep_their_kind(self) -> None:
        for error in (IndexAway("busy"), NoIndexYet("empty")):
            self.reader.results.append(error)
            failure = self.failureResultOf(self.ask(self.remote.summary(0.0)), IndexAway)
            self.assertEqual((failure.type, str(failure.value)), (type(error), str(error)))

    def test_a_bug_there_is_an_index_that_is_away_here(self) -> None:
        self.reader.results.append(ZeroDivisionError("secret"))
        failure = self.failureResultOf(self.ask(self.remote.summary(0.0)), IndexAway)
        self.assertNotIn("secret", str(failure.value))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class AllRows(Case):
    def test_all_come_in_order_and_as_they_are_needed(self) -> None:
        self.reader.results.append(3 * ROWS + 1)
        found = self.all_rows()
        self.searches.received(self.there.pop(0))
        self.assertEqual(self.reader.taken, ROWS)
        self.deliver()
        self.assertEqual(self.successResultOf(found), [row(number) for number in range(3 * ROWS + 1)])
        self.assertEqual(self.searches._iterators, {})

    def test_a_reader_that_leaves_is_forgotten_there(self) -> None:
        self.reader.results.append(10 * ROWS)
        found = self.all_rows(most=ROWS + 5)
        self.deliver()
        self.assertEqual(len(self.successResultOf(found)), ROWS + 5)
        self.assertEqual(self.searches._iterators, {})
        self.assertEqual(self.reader.taken, 2 * ROWS)


class Away(Case):
    def test_without_a_courier_it_fails_at_once(self) -> None:
        self.up = False
        self.failureResultOf(Deferred.fromCoroutine(self.remote.summary(0.0)), IndexAway)
        self.assertEqual(self.remote._waiting, {})

    def test_one_that_ends_meanwhile(self) -> None:
        asked = Deferred.fromCoroutine(self.remote.summary(0.0))
        self.remote.lost("it has ended")
        self.failureResultOf(asked, IndexAway)
        self.reader.results.append(Summary())
        self.deliver()  # its reply comes too late, and is dropped

    def test_one_that_hangs(self) -> None:
        self.reader.results.append(Deferred())
        asked = self.ask(self.remote.summary(0.0))
        self.clock.advance(29.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.failureResultOf(asked, IndexAway)
        self.deliver()
        self.assertEqual(self.searches._running, {})

    def test_a_client_that_leaves_ends_the_search(self) -> None:
        self.reader.results.append(Deferred())
        asked = self.ask(self.remote.summary(0.0))
        asked.addErrback(lambda _: None)
        asked.cancel()
        self.deliver()
        self.assertEqual((self.searches._running, self.remote._waiting), ({}, {}))

    def test_only_so_many_wait(self) -> None:
        waiting = [Deferred.fromCoroutine(self.remote.summary(0.0)) for _ in range(MOST)]
        self.failureResultOf(Deferred.fromCoroutine(self.remote.summary(0.0)), IndexAway)
        self.successResultOf(Deferred.fromCoroutine(self.remote.close()))
        for each in waiting:
            self.failureResultOf(each, IndexAway)
