"""Filters as SQL conditions on the columns of the index, after the rule of ``search/match.py``. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import field, frozen

from ..search.filters import Filters
from ..search.match import LOGIN_FAILURE as LOGIN_FAILURE_ACTION
from ..search.match import milliseconds
from ..search.record_values import LOGIN_FAILURE, OWN, SHOWN
from ..search.rows import RowKey

_EQUAL = {
    "outcome": "outcome",
    "route": "route",
    "resource": "resource",
    "record_id": "record",
    "address": "address",
    "kind": "kind",
    "status": "status",
}
_AUDITOR = f"(kind = 'look' AND coalesce(trouble, 0) <> {LOGIN_FAILURE})"


@frozen(slots=True)
class Condition:
    """A condition of SQL with its values.

    :param text: with a question mark for each value.
    """

    text: str
    values: tuple[object, ...] = field(default=(), repr=False)


def joined(conditions: Iterator[Condition]) -> Condition:
    """Join conditions with AND; without any, every row matches."""
    each = list(conditions)
    text = " AND ".join(f"({one.text})" for one in each) or "true"
    return Condition(text, tuple(value for one in each for value in one.values))


def conditions(filters: Filters, after: RowKey | None, floor_ms: int) -> Iterator[Condition]:
    """What a row must meet, besides the filter by patient.

    :param after: only rows after this one, newest first; a key of this trail.
    :param floor_ms: rows older than this are past their retention.
    """
    for name, column in _EQUAL.items():
        if (wanted := getattr(filters, name)) is not None:
            yield Condition(f"{column} = ?", (wanted,))
    yield from _persons(filters)
    if filters.kind is None:
        own = filters.own or filters.request_id is not None
        yield Condition(f"shown IN ({SHOWN}, {OWN})" if own else f"shown = {SHOWN}")
    if filters.action == LOGIN_FAILURE_ACTION:
        yield Condition(f"trouble = {LOGIN_FAILURE}")
    elif filters.action is not None:
        yield Condition("action = ?", (filters.action,))
    if filters.trouble:
        yield Condition("trouble IS NOT NULL")
    if filters.request_id is not None:
        yield Condition("request_id = ? OR for_request = ?", (filters.request_id, filters.request_id))
    yield from _times(filters, floor_ms)
    if after is not None:
        yield _after(after)


def _persons(filters: Filters) -> Iterator[Condition]:
    """A record holds a person's id only if HOSP confirmed it (``match.is_proved``)."""
    if filters.staff is not None:
        yield Condition("staff IS NOT NULL AND (staff = ? OR name = ?)", (filters.staff, filters.staff))
    if filters.claimed is not None:
        yield Condition(f"staff IS NULL AND NOT {_AUDITOR} AND name = ?", (filters.claimed,))
    if filters.auditor is not None:
        yield Condition(f"staff IS NULL AND {_AUDITOR} AND name = ?", (filters.auditor,))


def _times(filters: Filters, floor_ms: int) -> Iterator[Condition]:
    since_ms = max(milliseconds(filters.since) if filters.since is not None else 0, floor_ms)
    if since_ms > 0:
        yield Condition("time_ms >= ?", (since_ms,))
    if filters.until is not None:
        yield Condition("time_ms < ?", (milliseconds(filters.until),))


def _after(after: RowKey) -> Condition:
    return Condition(
        "time_ms <= ? AND (time_ms < ? OR (split_part(stem, '-', 2), seq) < (?, ?))",
        (after.time_ms, after.time_ms, after.name.journal, after.name.seq),
    )
