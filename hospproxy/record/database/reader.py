"""Answers searches of the audit trail from the database. See ITrailReader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from attrs import define, field
from sqlalchemy import Connection, Select, func, select
from zope.interface import implementer

from ...interfaces import ITrailReader
from ..search.filters import Filters
from ..search.match import milliseconds, text
from ..search.record_values import LOGIN_FAILURE, coded
from ..search.rows import IndexRow, RowKey, RowName, RowPage, Summary
from ..trail.scan import record_of
from .access import TransactionThread
from .bounded_search import search
from .conditions import Place
from .schema import (
    CHAINS,
    HOURS,
    LINES,
    MEMBERS,
    MOST_SEQ,
    RECORDS,
    SETS,
    WORDS,
    id_of,
    place_of,
)  # fmt: skip
from .sink import time_before
from .words import in_parts, numbers_of

EXPORT_ROWS = 500
MOST_TROUBLE = 5_000
"""How many of the newest failed log-ins and refusals a summary counts."""
MOST_SETS = 10
"""Disclosure records that are read at one time: each may have a megabyte (disclosing.PART_BYTES)."""
TOP = 10
HOUR_MS = 3_600_000
C = RECORDS.c


@implementer(ITrailReader)
@define(eq=False)
class DatabaseReader:
    """Answers ITrailReader's searches from the database.

    :param pages: a read-only thread for the audit page.
    :param exports: another one, so that an export does not delay pages.
    """

    _pages: TransactionThread
    _exports: TransactionThread
    _closed: bool = field(default=False, init=False)

    async def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        """Return one page of rows; see ITrailReader.

        Rows of the same millisecond are ordered by when the database first saw their journals.

        :raise DatabaseFailed: the database does not respond.
        """
        return await self._pages.run(lambda connection: page(connection, filters, after, limit))

    async def row(self, name: RowName) -> IndexRow | None:
        """Return one row by its name; see ITrailReader.

        :raise DatabaseFailed: the database does not respond.
        """
        return await self._pages.run(lambda connection: row(connection, name))

    async def rows(self, filters: Filters) -> AsyncIterator[IndexRow]:
        """See ITrailReader. Each part is a transaction of its own; rows added in the meantime are not included.

        :raise DatabaseFailed: the database does not respond.
        """
        after: RowKey | None = None
        while True:
            asked = after
            part = await self._exports.run(lambda connection: page(connection, filters, asked, EXPORT_ROWS))  # noqa: B023
            for each in part.rows:
                yield each
            after = part.more_after
            if after is None:
                return

    async def members(self, disclosed: str, most: int) -> Sequence[str] | None:
        """See ITrailReader. Runs in the export thread.

        :raise DatabaseFailed: the database does not respond.
        """
        return await self._exports.run(lambda connection: members(connection, disclosed, most))

    async def summary(self, since: float) -> Summary:
        """See ITrailReader. Of failed log-ins and refusals, the newest 5,000 are counted.

        :raise DatabaseFailed: the database does not respond.
        """
        return await self._pages.run(lambda connection: summary(connection, since))

    async def close(self) -> None:
        """Abort what is in flight and stop both threads."""
        if not self._closed:
            self._closed = True
            await self._pages.close()
            await self._exports.close()


def page(connection: Connection, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
    """The next rows, newest first."""
    if filters.kind == "disclosure":
        limit = min(limit, MOST_SETS)
    place = None if after is None else _place(connection, after)
    found = search(connection, filters, place, limit)
    rows = rows_at(connection, found.places, filters.patient)
    if found.last is None:
        return RowPage(rows)
    [more_after] = _keys(connection, [found.last])
    return RowPage(rows, more_after, found.last[0] / 1000 if found.short else None)


def row(connection: Connection, name: RowName) -> IndexRow | None:
    """One record; None if the database does not have it."""
    chain = _chain(connection, name)
    if chain is None or not 0 < name.seq <= MOST_SEQ:
        return None
    number = id_of(chain, name.seq)
    line = connection.scalar(select(LINES.c.line).where(LINES.c.id == number))
    if line is None:
        return None
    # No index of ``records`` starts with the id, so take the time from the line.
    time_ms = coded(bytes(line), -1).time_ms
    if time_ms < 0:
        time_ms = time_before(connection, number)
    return IndexRow(RowKey(time_ms, name), record_of(bytes(line)), bytes(line))


def members(connection: Connection, disclosed: str, most: int) -> Sequence[str] | None:
    """The patients of a set; None if the set is unknown or has more than ``most``."""
    found = connection.scalars(
        select(WORDS.c.text)
        .join(MEMBERS, MEMBERS.c.patient_no == WORDS.c.word_no)
        .join(SETS, SETS.c.set_no == MEMBERS.c.set_no)
        .where(SETS.c.hash == disclosed)
        .order_by(WORDS.c.word_no)
        .limit(most + 1)
    ).all()
    return tuple(found) if 0 < len(found) <= most else None


def rows_at(
    connection: Connection, places: Sequence[Place], patient: str | None = None
) -> tuple[IndexRow, ...]:
    """The records at these places, in the same order."""
    lines: dict[int, bytes] = {}
    for part in in_parts([number for _, number in places]):
        found = connection.execute(select(LINES.c.id, LINES.c.line).where(LINES.c.id.in_(part)))
        lines.update({number: bytes(line) for number, line in found})
    rows = []
    for (_, number), key in zip(places, _keys(connection, places), strict=True):
        if (line := lines.get(number)) is None:  # deleted in the meantime
            continue
        record = record_of(line)
        by_list = patient is not None and text(record.get("patient_id")) != patient
        rows.append(IndexRow(key, record, line, by_list))
    return tuple(rows)


def _chain(connection: Connection, name: RowName) -> int | None:
    found = connection.scalar(select(CHAINS.c.chain_no).filter_by(trail=name.trail, journal=name.journal))
    return found if isinstance(found, int) else None


def _place(connection: Connection, key: RowKey) -> Place:
    """The place of a key. If its journal is unknown here, the place after all rows of the same millisecond."""
    chain = _chain(connection, key.name)
    if chain is None or not 0 < key.name.seq <= MOST_SEQ:
        return key.time_ms + 1, 0
    return key.time_ms, id_of(chain, key.name.seq)


def _keys(connection: Connection, places: Sequence[Place]) -> list[RowKey]:
    chains = {place_of(number)[0] for _, number in places}
    rows = connection.execute(select(CHAINS).where(CHAINS.c.chain_no.in_(sorted(chains)))).all()
    names = {row.chain_no: (row.trail, row.journal) for row in rows}
    keys = []
    for time_ms, number in places:
        chain, seq = place_of(number)
        keys.append(RowKey(time_ms, RowName(*names[chain], seq)))
    return keys


def summary(connection: Connection, since: float) -> Summary:
    """Figures since a time, in seconds since the epoch."""
    since_ms = milliseconds(since)
    newest = connection.scalar(select(func.max(C.time_ms)))
    return Summary(
        requests=_requests(connection, since_ms),
        login_failures=_most(connection, since_ms, "address_no", C.trouble == LOGIN_FAILURE),
        refusals=_refusals(connection, since_ms),
        alerts=_alerts(connection, since_ms),
        newest=newest / 1000 if newest is not None else None,
    )


def _requests(connection: Connection, since_ms: int) -> int:
    """Whole hours come from the counts in ``hours``; the rest of the first hour is counted row by row."""
    next_hour = -(-since_ms // HOUR_MS)
    whole = connection.scalar(select(func.sum(HOURS.c.requests)).where(HOURS.c.hour >= next_hour))
    kind = numbers_of(connection, ["request"]).get("request")
    rest = select(func.count()).where(
        C.time_ms >= since_ms, C.time_ms < next_hour * HOUR_MS, C.kind_no == kind
    )
    return int(whole or 0) + (connection.scalar(rest) or 0)


def _refusals(connection: Connection, since_ms: int) -> tuple[tuple[str, int], ...]:
    number = numbers_of(connection, ["refused"]).get("refused")
    return () if number is None else _most(connection, since_ms, "route_no", C.outcome_no == number)


def _most(
    connection: Connection, since_ms: int, column: str, *conditions: object
) -> tuple[tuple[str, int], ...]:
    """The most frequent texts among the newest rows, with their counts."""
    newest: Select[tuple[int]] = (
        select(C[column].label("word_no"))
        .where(*conditions, C.time_ms >= since_ms)  # type: ignore[arg-type]
        .order_by(C.time_ms.desc(), C.id.desc())
        .limit(MOST_TROUBLE)
    )
    rows = newest.subquery()
    times = func.count()
    counted = connection.execute(
        select(WORDS.c.text, times)
        .join(rows, rows.c.word_no == WORDS.c.word_no)
        .group_by(WORDS.c.text)
        .order_by(times.desc(), WORDS.c.text)
        .limit(TOP)
    )
    return tuple((word, number) for word, number in counted)


def _alerts(connection: Connection, since_ms: int) -> tuple[IndexRow, ...]:
    number = numbers_of(connection, ["alert"]).get("alert")
    if number is None:
        return ()
    found = connection.execute(
        select(C.time_ms, C.id)
        .where(C.kind_no == number, C.time_ms >= since_ms)
        .order_by(C.time_ms.desc(), C.id.desc())
        .limit(TOP)
    )
    return rows_at(connection, [(time_ms, number) for time_ms, number in found])
