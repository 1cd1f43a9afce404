"""What each filter is in SQL: a condition that rows must meet, and a way to find candidates by an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import field, frozen
from sqlalchemy import ColumnElement, Connection, Text, and_, exists, false, func, not_, or_, select, tuple_

from ..reading.filters import Filters
from ..reading.matching import LOGIN_FAILURE as LOGIN_FAILURE_ACTION
from ..reading.matching import milliseconds
from .schema import LOGIN_FAILURE, MEMBERS, OTHER_TROUBLE, OWN, RECORDS, SETS, SHOWN
from .words import numbers_of

Condition = ColumnElement[bool]
Place = tuple[int, int]
"""time_ms, id."""
C = RECORDS.c

FEW = 3000
"""Rows that are sorted without a thought."""


@frozen(slots=True)
class Branch:
    """Candidates that one index gives in the order of time.

    :param condition: what that index is by; None for all records.
    :param until: all candidates are before that place.
    """

    condition: Condition | None = field(default=None, repr=False)
    until: Place | None = None


@frozen(slots=True)
class Way:
    """A way to candidates: all that are in any of its branches."""

    branches: tuple[Branch, ...] = (Branch(),)


@frozen(slots=True)
class Asked:
    """Filters as SQL.

    :param conditions: all must hold.
    :param bounds: of the time that was asked for; candidates are within them.
    :param ways: to candidates among which all rows are that meet them; any will do.
    """

    conditions: tuple[Condition, ...] = field(repr=False)
    bounds: tuple[Condition, ...] = field(repr=False)
    ways: tuple[Way, ...] = field(repr=False)


def before(place: Place | None) -> Iterator[Condition]:
    """Rows that are older than a place."""
    if place is not None:
        yield tuple_(C.time_ms, C.id) < tuple_(*place)


def start_of(filters: Filters, after: Place | None) -> Place | None:
    """Where a search begins: at the end of the time that was asked for, or after the last row that was shown."""
    until = (milliseconds(filters.until), 0) if filters.until is not None else None
    return min((place for place in (after, until) if place is not None), default=None)


def asked(connection: Connection, filters: Filters, start: Place | None) -> Asked | None:
    """The filters as SQL; None if no row can meet them.

    :param start: where the search begins.
    """
    given = {name: str(value) for name in _WORDS if (value := getattr(filters, name)) is not None}
    numbers = numbers_of(connection, [*given.values(), LOOK])
    conditions: list[Condition] = []
    ways: list[Way] = []
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
    return Asked(tuple(conditions), bounds, tuple(ways) or (Way(),))


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


def _person(name: str, number: int, look: int | None, conditions: list[Condition], ways: list[Way]) -> None:
    """By who asked. A record has the id of a person only where that was proved (``matching.is_proved``).

    :param look: number of the kind of auditors' looks; None if there are none.
    """
    proved = _plain(C.staff_no).is_not(None)
    # A look from a log-in that failed is an attempt as any other.
    auditor = (
        and_(C.kind_no + 0 == look, func.coalesce(C.trouble + 0, 0) != LOGIN_FAILURE) if look else false()
    )
    if name == "staff":
        conditions.append(and_(proved, or_(*(_plain(column) == number for column in _WORDS[name]))))
    elif name == "claimed":
        conditions.append(and_(not_(proved), not_(auditor), _plain(C.name_no) == number))
    else:
        conditions.append(and_(not_(proved), auditor, _plain(C.name_no) == number))
    ways.append(Way(tuple(Branch(column == number) for column in _WORDS[name])))


def _either(
    conditions: list[Condition], ways: list[Way], *values: tuple[ColumnElement[Any], int | str]
) -> None:
    """One of the columns has its value."""
    conditions.append(or_(*(_plain(column) == value for column, value in values)))
    ways.append(Way(tuple(Branch(column == value) for column, value in values)))


def _plain(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column as an expression, so that no planner goes by its index: candidates are there already."""
    return column.concat("") if isinstance(column.type, Text) else column + 0


def _others(filters: Filters, conditions: list[Condition], ways: list[Way]) -> None:
    """What is not asked for by a word."""
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
    connection: Connection, number: int, start: Place | None, conditions: list[Condition], ways: list[Way]
) -> None:
    """By the record's own patient, or among those whom a list disclosed."""
    newest = connection.scalar(
        select(func.max(SETS.c.last_ms))
        .join(MEMBERS, MEMBERS.c.set_no == SETS.c.set_no)
        .where(MEMBERS.c.patient_no == number, *((SETS.c.first_ms <= start[0],) if start else ()))
    )
    if newest is None:  # in no list, or in none so long ago
        _either(conditions, ways, (C.patient_no, number))
        return
    member = exists().where(MEMBERS.c.patient_no == number, MEMBERS.c.set_no == C.set_no)
    conditions.append(or_(_plain(C.patient_no) == number, member))
    among = C.set_no.in_(select(MEMBERS.c.set_no).where(MEMBERS.c.patient_no == number))
    rows = select(C.id).where(among, *before(start)).limit(FEW).subquery()
    few = (connection.scalar(select(func.count()).select_from(rows)) or 0) < FEW
    # A patient who is in many lists is soon found among all of them; not one who was long ago: begin there.
    lists = Branch(among) if few else Branch(C.set_no.is_not(None), (newest + 1, 0))
    ways.append(Way((Branch(C.patient_no == number), lists)))
