"""What the index and the journal hold at one moment, and the statements that ask it. Blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field

from ..search.filters import Filters
from ..search.match import matches, set_of, text
from ..search.rows import IndexRow, RowKey
from ..trail.scan import record_of
from .conditions import Condition, conditions, joined
from .engine import Engine, listed
from .entries import Entry
from .manifest import IndexManifest, Segment
from .segments import MEMBERS, PATIENTS, RECORDS
from .tail import RowPlace, Tail
from .trail_files import LineFetcher, journal_of

FIRST_ROWS: Final = 300_000
"""Rows of the newest segments, which are searched before the others."""
TOP: Final = 10
_MOST_GROUPS: Final = 1000
_NEWEST = "ORDER BY time_ms DESC, stem DESC, seq DESC LIMIT"
# The order of stems is that of journals and numbers: "audit-w1-…" comes before "audit-w10-…".


@define(eq=False)
class View:
    """The segments and the tail of the index as they are at one moment.

    :param floor_ms: rows that are older are left out.
    """

    _folder: Path
    _manifest: IndexManifest
    tail: Tail
    fetcher: LineFetcher
    _engine: Engine
    _floor_ms: int
    _holding: dict[str, dict[str, set[str]]] = field(factory=dict, init=False)

    @property
    def trail(self) -> str:
        """Id of the trail whose records are indexed."""
        return self._manifest.trail

    def found(self, filters: Filters, after: RowKey | None, limit: int) -> list[RowPlace]:
        """The newest rows of the segments that may match, newest first.

        :param after: only rows after this one.
        """
        condition = joined(conditions(filters, after, self._floor_ms))
        segments = self._within(filters, after)
        some = _first(segments)
        rows = self._newest(segments[:some], filters.patient, condition, limit)
        rest = segments[some:]
        if rest and (len(rows) < limit or rows[-1].time_ms <= max(each.max_ms for each in rest)):
            rows += self._newest(rest, filters.patient, condition, limit)
            rows.sort(reverse=True)
        return rows[:limit]

    def _within(self, filters: Filters, after: RowKey | None) -> list[Segment]:
        """Segments whose time span may hold results, newest first."""
        since = max(self._floor_ms, round((filters.since or 0) * 1000))
        until = round(filters.until * 1000) if filters.until is not None else None
        found = [
            each
            for each in self._manifest.segments
            if each.max_ms >= since
            and (until is None or each.min_ms < until)
            and (after is None or each.min_ms <= after.time_ms)
        ]
        return sorted(found, key=lambda each: each.max_ms, reverse=True)

    def _newest(
        self, segments: Sequence[Segment], patient: str | None, condition: Condition, limit: int
    ) -> list[RowPlace]:
        branches: list[tuple[str, list[object]]] = []
        if patient is None:
            branches += self._branch(segments, RECORDS, condition)
        else:
            own = Condition(f"{condition.text} AND patient = ?", (*condition.values, patient))
            large = [each for each in segments if PATIENTS in each.files]
            branches += self._branch(large, PATIENTS, own)
            branches += self._branch([each for each in segments if each not in large], RECORDS, own)
            if held := self._held(patient):
                branches += self._in_a_list(segments, held, patient, condition)
        if not branches:
            return []
        each = [f"(SELECT * FROM ({text}) {_NEWEST} {limit:d})" for text, _ in branches]
        values = [value for _, values in branches for value in values]
        rows = self._engine.run(f"{' UNION ALL '.join(each)} {_NEWEST} {limit:d}", values)
        return [
            RowPlace(time_ms, journal_of(stem), seq, stem, place, by)
            for time_ms, stem, seq, place, by in rows
        ]

    def _branch(
        self, segments: Iterable[Segment], ending: str, condition: Condition
    ) -> list[tuple[str, list[object]]]:
        paths = self._paths(segments, ending)
        if not paths:
            return []
        text = (
            f"SELECT time_ms, stem, seq, place, false AS by_list FROM {listed(paths)} WHERE {condition.text}"
        )
        return [(text, list(condition.values))]

    def _in_a_list(
        self, segments: Iterable[Segment], held: dict[str, set[str]], patient: str, condition: Condition
    ) -> list[tuple[str, list[object]]]:
        """Rows of which a set holds the patient, and that do not name the patient: so no row comes twice."""
        paths = self._paths((each for each in segments if not held.keys().isdisjoint(each.stems)), RECORDS)
        if not paths:
            return []
        stems, sets = zip(*((stem, name) for stem, names in held.items() for name in names), strict=True)
        text = (
            "SELECT time_ms, stem, seq, place, true AS by_list"
            f" FROM {listed(paths)} SEMI JOIN"
            " (SELECT unnest(?::VARCHAR[]) AS stem, unnest(?::VARCHAR[]) AS listed) USING (stem, listed)"
            f" WHERE {condition.text} AND patient IS DISTINCT FROM ?"
        )
        return [(text, [list(stems), list(sets), *condition.values, patient])]

    def _held(self, patient: str) -> dict[str, set[str]]:
        """The sets that hold a patient, by the file that declares them."""
        if patient not in self._holding:
            found: dict[str, set[str]] = {}
            if paths := self._paths(self._manifest.segments, MEMBERS):
                query = f"SELECT DISTINCT stem, listed FROM {listed(paths)} WHERE patient = ?"
                for stem, name in self._engine.run(query, [patient]):
                    found.setdefault(stem, set()).add(name)
            self._holding = {patient: found}
        return self._holding[patient]

    def found_in_tail(self, filters: Filters) -> list[RowPlace]:
        """The rows that match and are not in a segment, newest first."""
        holding = self._held(filters.patient) if filters.patient is not None else {}
        return sorted(self.tail.found(filters, holding), reverse=True)

    def checked(self, found: Sequence[RowPlace], filters: Filters) -> tuple[IndexRow, ...]:
        """The rows at these places whose lines match, in the same order."""
        lines = self.fetcher.fetch((each.stem, each.place) for each in found)
        rows = []
        for each in found:
            if (line := lines.get((each.stem, each.place))) is None:
                continue
            record = record_of(line)
            sets = {set_of(record) or "": (filters.patient or "",)} if each.by_list else {}
            if matches(record, filters, sets):
                by_list = filters.patient is not None and text(record.get("patient_id")) != filters.patient
                rows.append(IndexRow(each.key(self.trail), record, line, by_list))
        return tuple(rows)

    def named(self, journal: str, seq: int) -> list[RowPlace]:
        """Where the record with this number is."""
        found = list(self.tail.named(journal, seq))
        if not found and (paths := self._paths(self._manifest.segments, RECORDS)):
            query = (
                f"SELECT time_ms, stem, seq, place FROM {listed(paths)}"
                " WHERE seq = ? AND split_part(stem, '-', 2) = ? AND time_ms >= ? LIMIT 2"
            )
            rows = self._engine.run(query, [seq, journal, self._floor_ms])
            found = [RowPlace(time_ms, journal, seq, stem, place) for time_ms, stem, seq, place in rows]
        return found

    def members(self, disclosed: str, most: int) -> set[str]:
        """The patients of a set in the index, at most so many."""
        paths = self._paths(self._manifest.segments, MEMBERS)
        if not paths:
            return set()
        query = f"SELECT DISTINCT patient FROM {listed(paths)} WHERE listed = ? LIMIT {most:d}"
        return {patient for [patient] in self._engine.run(query, [disclosed])}

    def requests(self, since_ms: int) -> int:
        """How many clients' requests the index has since a time."""
        paths = self._since(since_ms)
        if not paths:
            return 0
        query = f"SELECT count(*) FROM {listed(paths)} WHERE kind = 'request' AND time_ms >= ?"
        [[number]] = self._engine.run(query, [since_ms])
        return int(number)

    def grouped(self, since_ms: int, column: str, condition: str) -> dict[str, int]:
        """How often each value of a column occurs since a time, among the rows that meet a condition."""
        paths = self._since(since_ms)
        if not paths:
            return {}
        query = (
            f"SELECT {column}, count(*) AS times FROM {listed(paths)}"
            f" WHERE {condition} AND {column} IS NOT NULL AND time_ms >= ?"
            f" GROUP BY {column} ORDER BY times DESC, {column} LIMIT {_MOST_GROUPS}"
        )
        return dict(self._engine.run(query, [since_ms]))

    def alerts(self, since_ms: int, entries: Iterable[Entry]) -> list[RowPlace]:
        """Find the newest alerts in segments and tail.

        :param entries: those that are not in a segment.
        """
        condition = Condition("kind = 'alert' AND time_ms >= ?", (since_ms,))
        segments = [each for each in self._manifest.segments if each.max_ms >= since_ms]
        found = self._newest(segments, None, condition, TOP)
        found += [
            RowPlace(each.time_ms, journal_of(each.stem), each.seq, each.stem, each.place)
            for each in entries
            if each.kind == "alert"
        ]
        return sorted(found, reverse=True)[:TOP]

    @property
    def newest_ms(self) -> int:
        """The time of the newest row in a segment; 0 if there is none."""
        return max((each.max_ms for each in self._manifest.segments), default=0)

    def _since(self, since_ms: int) -> list[Path]:
        return self._paths((each for each in self._manifest.segments if each.max_ms >= since_ms), RECORDS)

    def _paths(self, segments: Iterable[Segment], ending: str) -> list[Path]:
        return [each.path(self._folder, ending) for each in segments if ending in each.files]


def _first(segments: Sequence[Segment]) -> int:
    """How many of the newest segments are searched first."""
    rows = 0
    for number, each in enumerate(segments, 1):
        rows += each.rows
        if rows >= FIRST_ROWS:
            return number
    return len(segments)
