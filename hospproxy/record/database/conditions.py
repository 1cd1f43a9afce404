"""Filters as SQL: conditions that rows must meet, and ways to find candidates through an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import field, frozen
from sqlalchemy import ColumnElement, Connection, Text, and_, exists, false, func, not_, or_, select, tuple_

from ..search.filters import Filters
from ..search.match import LOGIN_FAILURE as LOGIN_FAILURE_ACTION
from ..search.match import milliseconds
from ..search.record_values import LOGIN_FAILURE, OTHER_TROUBLE, OWN, SHOWN
from .schema import MEMBERS, RECORDS, SETS
from .words import numbers_of

Condition = ColumnElement[bool]
Place = tuple[int, int]
"""time_ms and id: a row's position in time order."""
C = RECORDS.c

FEW = 3000
"""So few rows are always cheap to sort."""


@frozen(slots=True)
class IndexCandidates:
    """Candidates that one index returns in time order.

    :param condition: selects by that index; None for all records.
    :param until: all candidates are older than this place.
    """

    condition: Condition | None = field(default=None, repr=False)
    until: Place | None = None


@frozen(slots=True)
class CandidatePath:
    """A way to find candidates: the union of its branches."""

    branches: tuple[IndexCandidates, ...] = (IndexCandidates(),)


@frozen(slots=True)
class SqlFilters:
    """The filters of a search as SQL conditions, with ways to find candidates.

    :param conditions: a row must meet all of them.
    :param bounds: limits of the requested time span; candidates lie within them.
    :param ways: each of them alone finds every row that meets the conditions; use any one.
    """

    conditions: tuple[Condition, ...] = field(repr=False)
    bounds: tuple[Condition, ...] = field(repr=False)
    ways: tuple[CandidatePath, ...] = field(repr=False)


def before(place: Place | None) -> Iterator[Condition]:
    """The condition for rows older than a place; none for None."""
    if place is not None:
        yield tuple_(C.time_ms, C.id) < tuple_(*place)


def start_of(filters: Filters, after: Place | None) -> Place | None:
    """Where a search starts: at the end of the requested time span, or after the last row shown."""
    until = (milliseconds(filters.until), 0) if filters.until is not None else None
    return min((place for place in (after, until) if place is not None), default=None)


def asked(connection: Connection, filters: Filters, start: Place | None) -> SqlFilters | None:
    """Filters as SQL; None if no row can match.

    :param start: where the search starts.
    """
    given = {name: str(value) for name in _WORDS if (value := getattr(filters, name)) is not None}
    numbers = numbers_of(connection, [*given.values(), LOOK])
    conditions: list[Condition] = []
    ways: list[CandidatePath] = []
    for name, word in given.items():
        if name == "action" and word == LOGIN_FAILURE_ACTION:
            continue
        number = numbers.get(word)
        if number is None:
            return None
        if name in _PERSONS:
            _person(name, number, numbers.get(LOOK), conditions, ways)
        elif name == "patient":
            _patient(connection, number, start, conditions, ways)
        else:
            _either(conditions, ways, *((column, number) for column in _WORDS[name]))
    _others(filters, conditions, ways)
    bounds = () if filters.since is None else (C.time_ms >= milliseconds(filters.since),)
    return SqlFilters(tuple(conditions), bounds, tuple(ways) or (CandidatePath(),))


_WORDS: dict[str, tuple[ColumnElement[Any], ...]] = {
    "staff": (C.staff_no, C.name_no),
    "claimed": (C.name_no,),
    "auditor": (C.name_no,),
    "patient": (C.patient_no,),
    "action": (C.action_no,),
    "outcome": (C.outcome_no,),
    "route": (C.route_no,),
    "resource": (C.resource_no,),
    "record_id": (C.record_no,),
    "address": (C.address_no,),
    "kind": (C.kind_no,),
}


_PERSONS = ("staff", "claimed", "auditor")
LOOK = "look"


def _person(
    name: str, number: int, look: int | None, conditions: list[Condition], ways: list[CandidatePath]
) -> None:
    """Filter by person. A record holds a person's id only if HOSP confirmed it (``matching.is_proved``).

    :param look: number of the kind "look"; None if there are no such records.
    """
    proved = _plain(C.staff_no).is_not(None)
    # An auditor's failed log-in counts as an attempt like any other.
    auditor = (
        and_(C.kind_no + 0 == look, func.coalesce(C.trouble + 0, 0) != LOGIN_FAILURE) if look else false()
    )
    if name == "staff":
        conditions.append(and_(proved, or_(*(_plain(column) == number for column in _WORDS[name]))))
    elif name == "claimed":
        conditions.append(and_(not_(proved), not_(auditor), _plain(C.name_no) == number))
    else:
        conditions.append(and_(not_(proved), auditor, _plain(C.name_no) == number))
    ways.append(CandidatePath(tuple(IndexCandidates(column == number) for column in _WORDS[name])))


def _either(
    conditions: list[Condition], ways: list[CandidatePath], *values: tuple[ColumnElement[Any], int | str]
) -> None:
    """At least one of the columns has its value."""
    conditions.append(or_(*(_plain(column) == value for column, value in values)))
    ways.append(CandidatePath(tuple(IndexCandidates(column == value) for column, value in values)))


def _plain(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column as an expression, so that the planner ignores its index: the candidates are already found."""
    return column.concat("") if isinstance(column.type, Text) else column + 0


def _others(filters: Filters, conditions: list[Condition], ways: list[CandidatePath]) -> None:
    """Filters that are not stored as words."""
    if filters.status is not None:
        _either(conditions, ways, (C.status, filters.status))
    if filters.request_id is not None:
        _either(conditions, ways, (C.request_id, filters.request_id), (C.for_request, filters.request_id))
    if filters.action == LOGIN_FAILURE_ACTION:
        _either(conditions, ways, (C.trouble, LOGIN_FAILURE))
    if filters.trouble:
        _either(conditions, ways, (C.trouble, LOGIN_FAILURE), (C.trouble, OTHER_TROUBLE))
    if filters.kind is None:
        own = filters.own or filters.request_id is not None
        conditions.append(C.shown.in_((SHOWN, OWN)) if own else C.shown == SHOWN)


def _patient(
    connection: Connection,
    number: int,
    start: Place | None,
    conditions: list[Condition],
    ways: list[CandidatePath],
) -> None:
    """Match the record's own patient, or a disclosure set that holds the patient."""
    newest = connection.scalar(
        select(func.max(SETS.c.last_ms))
        .join(MEMBERS, MEMBERS.c.set_no == SETS.c.set_no)
        .where(MEMBERS.c.patient_no == number, *((SETS.c.first_ms <= start[0],) if start else ()))
    )
    if newest is None:  # the patient is in no list, or in none that is old enough
        _either(conditions, ways, (C.patient_no, number))
        return
    member = exists().where(MEMBERS.c.patient_no == number, MEMBERS.c.set_no == C.set_no)
    conditions.append(or_(_plain(C.patient_no) == number, member))
    among = C.set_no.in_(select(MEMBERS.c.set_no).where(MEMBERS.c.patient_no == number))
    rows = select(C.id).where(among, *before(start)).limit(FEW).subquery()
    few = (connection.scalar(select(func.count()).select_from(rows)) or 0) < FEW
    # If many rows with lists name the patient, a scan over all rows with lists soon finds some. It starts at
    # the patient's newest list, which may be long ago.
    lists = IndexCandidates(among) if few else IndexCandidates(C.set_no.is_not(None), (newest + 1, 0))
    ways.append(CandidatePath((IndexCandidates(C.patient_no == number), lists)))
