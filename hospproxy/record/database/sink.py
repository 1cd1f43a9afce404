"""The database sink: one transaction per batch; the same batch again changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from attrs import define, field, frozen
from sqlalchemy import Connection, Row, select, update
from zope.interface import implementer

from ...interfaces import IAuditWriter
from ..search.record_values import ColumnValues, coded
from ..trail.follower import Batch
from .access import DatabaseFailed, TransactionThread
from .connect import insert_missing, inserting, lock_schema
from .retention import Pruner
from .schema import (
    ABOUT,
    CHAINS,
    HEADS,
    HOURS,
    LINES,
    MEMBERS,
    METADATA,
    RECORDS,
    SETS,
    VERSION,
    WORD_COLUMNS,
    id_of,
    place_of,
)  # fmt: skip
from .words import WordNumbers, in_parts

HOUR_MS = 3_600_000


class OtherRecordError(Exception):
    """The database has this record with another hash: one of them was changed, or two trails have the same id."""


@frozen(slots=True)
class Anchor:
    """The newest head of a chain in the database; pass its hash to ``hospproxy-audit verify --anchor``."""

    trail: str
    journal: str
    seq: int
    head: str


def make_tables(connection: Connection) -> None:
    """Create the tables that do not exist.

    :raise DatabaseFailed: the tables have another version.
    """
    lock_schema(connection)
    METADATA.create_all(connection)
    insert_missing(connection, ABOUT, [{"name": "version", "value": VERSION}])
    found = connection.scalar(select(ABOUT.c.value).where(ABOUT.c.name == "version"))
    if found != VERSION:
        raise DatabaseFailed(
            f"the database has tables of version {found}, but this hospproxy needs version {VERSION}"
        )


@implementer(IAuditWriter)
@define(eq=False)
class DatabaseSink:
    """The sink that inserts batches into the database.

    :param access: a thread that writes.
    :param pruner: deletes records past their retention.
    """

    _access: TransactionThread
    _pruner: Pruner | None = None
    name: str = "database"
    _words: WordNumbers = field(factory=WordNumbers, init=False)
    _ready: bool = field(default=False, init=False)

    async def open(self) -> None:
        """Create the tables that do not exist.

        :raise DatabaseFailed: the database does not respond, or its tables have another version.
        """
        await self._access.run(make_tables)
        self._ready = True

    async def write(self, batch: Batch) -> None:
        """Insert a batch in one transaction; delete a few old records if it is time.

        :raise OtherRecordError: the database has a record with another hash.
        :raise DatabaseFailed: the batch was not stored, or the result is unknown.
        """
        if not self._ready:
            await self.open()
        numbers = await self._access.run(lambda connection: keep(connection, batch, self._words))
        self._words.commit(numbers)
        if self._pruner is not None and self._pruner.is_due():
            more = await self._access.run(self._pruner.step)
            self._pruner.done(more=more)

    async def anchors(self) -> tuple[Anchor, ...]:
        """The newest head of each chain."""
        return await self._access.run(anchors)

    async def close(self) -> None:
        await self._access.close()


def anchors(connection: Connection) -> tuple[Anchor, ...]:
    """The newest head of each chain."""
    rows = connection.execute(
        select(CHAINS.c.trail, CHAINS.c.journal, HEADS.c.seq, HEADS.c.head)
        .join(HEADS, HEADS.c.chain_no == CHAINS.c.chain_no)
        .order_by(CHAINS.c.trail, CHAINS.c.journal)
    )
    return tuple(Anchor(*row) for row in rows)


def keep(connection: Connection, batch: Batch, dictionary: WordNumbers) -> dict[str, int]:
    """Insert the records of a batch that the database does not have.

    :return: words and their numbers; valid once the transaction is committed.
    :raise OtherRecordError: the database has one with another hash.
    """
    chain = _chain_no(connection, batch)
    fresh, last_ms = _fresh(connection, chain, batch)
    words = {word for _, _, one in fresh for word in (*one.words.values(), *one.patients) if word}
    numbers = dictionary.numbers(connection, words)
    sets = _sets(connection, [one for _, _, one in fresh], numbers)
    if fresh:
        insert_missing(connection, LINES, [
            {"id": number, "hash": sha256(line).digest(), "line": line} for number, line, _ in fresh
        ])  # fmt: skip
        insert_missing(connection, RECORDS, [_row(number, one, numbers, sets) for number, _, one in fresh])
    _count(connection, [one for _, _, one in fresh])
    _note_head(connection, chain, batch, last_ms)
    return numbers


def _chain_no(connection: Connection, batch: Batch) -> int:
    name = {"trail": batch.trail, "journal": batch.position.journal}
    query = select(CHAINS.c.chain_no).filter_by(**name)
    found = connection.scalar(query)
    if found is None:
        insert_missing(connection, CHAINS, [name])
        found = connection.scalar(query)
    assert isinstance(found, int)
    return found


def _fresh(
    connection: Connection, chain: int, batch: Batch
) -> tuple[list[tuple[int, bytes, ColumnValues]], int]:
    """Records that the database does not have, with their ids; and the time of the batch's last record."""
    first = id_of(chain, batch.first_seq)
    last = id_of(chain, batch.position.seq)
    rows = connection.execute(select(LINES.c.id, LINES.c.hash).where(LINES.c.id.between(first, last)))
    known: dict[int, bytes] = {number: bytes(kept) for number, kept in rows}
    before_ms = time_before(connection, first)
    fresh = []
    for number, line in enumerate(batch.lines, first):
        one = coded(line, before_ms)
        before_ms = one.time_ms
        kept = known.get(number)
        if kept is None:
            fresh.append((number, line, one))
        elif kept != sha256(line).digest():
            raise OtherRecordError(
                f"record {batch.first_seq + number - first} of {batch.position.journal} (trail {batch.trail}) is in the"
                " database with another hash: it was changed there or in the journal, or two trails have the same id"
            )
    return fresh, before_ms


def time_before(connection: Connection, number: int) -> int:
    """A time for a record without one: that of the nearest earlier record that has one.

    0 if none of the last hundred has.
    """
    first = number - place_of(number)[1]
    rows = connection.execute(
        select(LINES.c.line)
        .where(LINES.c.id < number, LINES.c.id > first)
        .order_by(LINES.c.id.desc())
        .limit(100)
    )
    with rows:
        times = (coded(bytes(line), -1).time_ms for [line] in rows)
        return next((time_ms for time_ms in times if time_ms >= 0), 0)


def _row(
    number: int, one: ColumnValues, numbers: Mapping[str, int], sets: Mapping[str, int]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        f"{name}_no": numbers[word] if (word := one.words[name]) else None for name in (*WORD_COLUMNS, "kind")
    }
    row.update(
        time_ms=one.time_ms,
        id=number,
        shown=one.shown,
        status=one.status,
        trouble=one.trouble,
        request_id=one.request_id,
        for_request=one.for_request,
        set_no=sets[one.set] if one.set else None,
    )
    return row


def _sets(connection: Connection, records: list[ColumnValues], numbers: Mapping[str, int]) -> dict[str, int]:
    """Store the sets that the records list or refer to, with members and the time span of their use."""
    times: dict[str, tuple[int, int]] = {}
    for one in records:
        for name in filter(None, (one.set, one.declares)):
            first, last = times.get(name, (one.time_ms, one.time_ms))
            times[name] = min(first, one.time_ms), max(last, one.time_ms)
    names = sorted(times)
    insert_missing(
        connection,
        SETS,
        [{"hash": name, "first_ms": times[name][0], "last_ms": times[name][1]} for name in names],
    )
    found: dict[str, int] = {}
    for part in in_parts(names):
        for row in connection.execute(select(SETS).where(SETS.c.hash.in_(part)).order_by(SETS.c.set_no)):
            found[row.hash] = row.set_no
            _widen(connection, row, *times[row.hash])
    insert_missing(connection, MEMBERS, [
        {"patient_no": numbers[patient], "set_no": found[one.declares]}
        for one in records if one.declares for patient in one.patients
    ])  # fmt: skip
    return found


def _widen(connection: Connection, row: Row[Any], first: int, last: int) -> None:
    if first < row.first_ms or last > row.last_ms:
        connection.execute(
            update(SETS)
            .where(SETS.c.set_no == row.set_no)
            .values(first_ms=min(first, row.first_ms), last_ms=max(last, row.last_ms))
        )


def _count(connection: Connection, records: list[ColumnValues]) -> None:
    """Count client requests by the hour, so that a summary need not count rows."""
    hours = Counter(one.time_ms // HOUR_MS for one in records if one.is_request)
    statement = inserting(HOURS)
    statement = statement.on_conflict_do_update(
        index_elements=[HOURS.c.hour], set_={"requests": HOURS.c.requests + statement.excluded.requests}
    )
    for hour in sorted(hours):
        connection.execute(statement, {"hour": hour, "requests": hours[hour]})


def _note_head(connection: Connection, chain: int, batch: Batch, time_ms: int) -> None:
    statement = inserting(HEADS)
    excluded = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[HEADS.c.chain_no],
            set_={"seq": excluded.seq, "head": excluded.head, "time_ms": excluded.time_ms},
            where=HEADS.c.seq < excluded.seq,
        ),
        {"chain_no": chain, "seq": batch.position.seq, "head": batch.head, "time_ms": time_ms},
    )
