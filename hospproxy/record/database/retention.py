"""Deletes records past their retention, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from sqlalchemy import Connection, delete, select, tuple_

from .schema import HOURS, LINES, MEMBERS, RECORDS, SETS
from .words import in_parts

DAY_S = 86_400.0
_PAUSE_S = 60.0


@define(eq=False)
class Pruner:
    """Decides when to delete, and deletes.

    :param keep_s: seconds for which records are kept.
    :param wall: seconds since the epoch.
    :param file_s: seconds that a file of the journal may last. A disclosure set is written once per file and
        may be referred to until the file's end.
    :param at_once: rows that one step deletes.
    """

    _keep_s: float
    _wall: Callable[[], float]
    _file_s: float = 31_622_400.0
    _at_once: int = 1000
    _next: float = field(default=0.0, init=False)

    def is_due(self) -> bool:
        """Whether there is probably something to delete."""
        return self._wall() >= self._next

    def done(self, *, more: bool) -> None:
        """Note the end of a step, to schedule the next one."""
        self._next = self._wall() + (0.0 if more else _PAUSE_S)

    def step(self, connection: Connection) -> bool:
        """Delete the oldest rows; return whether more are due."""
        until_ms = round((self._wall() - self._keep_s) * 1000)
        keys = [
            tuple(row)
            for row in connection.execute(
                select(RECORDS.c.time_ms, RECORDS.c.id)
                .where(RECORDS.c.time_ms < until_ms)
                .order_by(RECORDS.c.time_ms, RECORDS.c.id)
                .limit(self._at_once)
            )
        ]
        if keys:
            key = tuple_(RECORDS.c.time_ms, RECORDS.c.id)
            connection.execute(delete(RECORDS).where(key <= tuple_(*keys[-1])))
            for part in in_parts([number for _, number in keys]):
                connection.execute(delete(LINES).where(LINES.c.id.in_(part)))
        sets = list(
            connection.scalars(
                select(SETS.c.set_no).where(SETS.c.last_ms < until_ms - round(self._file_s * 1000)).limit(10)
            ),
        )
        for table in (MEMBERS, SETS):
            connection.execute(delete(table).where(table.c.set_no.in_(sets)))
        connection.execute(delete(HOURS).where(HOURS.c.hour < until_ms // 3_600_000 - 1))
        return len(keys) == self._at_once or len(sets) == 10
