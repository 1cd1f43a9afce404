"""Which record is mine? The rules by which a write whose answer was lost is found again, or known to be absent. Pure.

Everything here errs on one side: what cannot be known is said to be unknowable, for a wrong "found" loses a write and
a wrong "absent" doubles it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ...contract import Resource
from ...messages import Json
from .stored import Likeness, likeness


@frozen(slots=True)
class Found:
    """This record is the write's."""

    record: Mapping[str, Any]


@frozen(slots=True)
class NotThere:
    """No record in this look is the write's. Whether that means "surely absent" depends on when the look began."""


@frozen(slots=True)
class NotKnowable:
    """No look can tell.

    :param why: for the record.
    """

    why: str


Verdict = Found | NotThere | NotKnowable


@frozen(slots=True)
class Search:
    """What is known of a POST that is looked for.

    :param expected: fields as they are stored, or a ``Doubt``.
    :param optional: other known fields that the document left out.
    :param floor: the highest id that had been seen in any answer when the write began; None if none had.
    :param not_before: earliest HOSP time at which it can have been stored, seconds since the epoch; None if unknown.
    :param claimed: ids that belong to other writes.
    :param touched: ids that somebody changed or deleted through the proxy since the write began.
    :param open_entries: equal writes that are not settled, this one included.
    :param reference: (field, text) that the record holds if it is the write's, and only then.
    """

    resource: Resource
    expected: Mapping[str, Json]
    optional: frozenset[str] = frozenset()
    floor: int | None = None
    not_before: float | None = None
    claimed: frozenset[int | str] = frozenset()
    touched: frozenset[int | str] = frozenset()
    open_entries: int = 1
    reference: tuple[str, str] | None = field(default=None)


def which_is_mine(search: Search, records: Sequence[Any]) -> Verdict:
    """Judge one look.

    :param records: what HOSP's list holds.
    """
    rows = [row for row in records if isinstance(row, dict) and _id(search.resource, row) is not None]
    if search.reference is not None:
        return _by_reference(search.reference, rows)
    fresh = [row for row in rows if _may_be_new(search, row)]
    unclaimed = [row for row in fresh if _id(search.resource, row) not in search.claimed]
    if any(_above(search, number) and number not in search.claimed for number in search.touched):
        return NotKnowable("a record that may be this one was changed or deleted meanwhile")
    if any(_changed(search.resource, row) for row in unclaimed):
        return NotKnowable("a record that may be this one was changed by somebody else")
    alike = [(likeness(search.expected, row), row) for row in unclaimed]
    equal = [row for how, row in alike if how is Likeness.YES]
    sure = [row for row in equal if all(row.get(name) is None for name in search.optional)]
    if len(equal) > search.open_entries:
        return NotKnowable("more records are like this one than writes are open")
    if not equal and any(how is Likeness.MAYBE for how, _ in alike):
        return NotKnowable("a record may be what HOSP has made of this one")
    if not equal:
        return NotThere()
    if not sure:
        return NotKnowable("a record is like this one but has more in it")
    if not _bounded(search):
        return NotKnowable("an older record may be like this one")
    return Found(min(sure, key=lambda row: _order(_id(search.resource, row))))


def ids_alike(search: Search, records: Sequence[Any]) -> list[int | str]:
    """Ids of all new records that are equal or may be, whoever may have claimed them."""
    rows = [row for row in records if isinstance(row, dict) and _id(search.resource, row) is not None]
    return [
        row[search.resource.id]
        for row in rows
        if _may_be_new(search, row) and likeness(search.expected, row) is not Likeness.NO
    ]


def _by_reference(reference: tuple[str, str], rows: Sequence[Mapping[str, Any]]) -> Verdict:
    name, text = reference
    mine = [row for row in rows if isinstance(row.get(name), str) and text in row[name]]
    return Found(mine[0]) if mine else NotThere()


def _bounded(search: Search) -> bool:
    """Whether something tells this write's record from one that was there before it."""
    by_id = search.resource.ascending and search.floor is not None
    by_date = search.resource.created_at is not None and search.not_before is not None
    return by_id or by_date


def _may_be_new(search: Search, row: Mapping[str, Any]) -> bool:
    if not _above(search, _id(search.resource, row)):
        return False
    created = moment(row.get(search.resource.created_at)) if search.resource.created_at else None
    return created is None or search.not_before is None or created >= search.not_before


def _above(search: Search, number: int | str | None) -> bool:
    if not search.resource.ascending or search.floor is None or not isinstance(number, int):
        return True
    return number > search.floor


def _changed(resource: Resource, row: Mapping[str, Any]) -> bool:
    if resource.created_at is None or resource.updated_at is None:
        return False
    created, updated = moment(row.get(resource.created_at)), moment(row.get(resource.updated_at))
    return created is not None and updated is not None and updated > created


def _id(resource: Resource, row: Mapping[str, Any]) -> int | str | None:
    number = row.get(resource.id)
    return number if isinstance(number, (int, str)) and not isinstance(number, bool) else None


def _order(number: int | str | None) -> tuple[int, int, str]:
    return (0, number, "") if isinstance(number, int) else (1, 0, str(number))


@frozen(slots=True)
class Change:
    """What is known of a PATCH whose answer was lost.

    :param expected: the fields that it sets, as they are stored.
    :param unreadable: it sets a field that never comes back.
    :param not_before: earliest HOSP time at which it can have been carried out.
    """

    resource: Resource
    expected: Mapping[str, Json]
    unreadable: bool
    not_before: float | None


def has_changed(change: Change, row: Any) -> Verdict:
    """Judge one look at the record that a PATCH changes.

    The record as it is carries what the PATCH sets: found. It was last changed before the PATCH began: not there.
    Anything else: a colleague wrote.
    """
    if not isinstance(row, dict):
        return NotKnowable("the record cannot be read")
    updated = moment(row.get(change.resource.updated_at)) if change.resource.updated_at else None
    untouched = updated is not None and change.not_before is not None and updated < change.not_before
    as_wished = likeness(change.expected, row)
    if as_wished is Likeness.YES and not change.unreadable:
        return Found(row)
    if untouched:
        return NotThere()
    if change.resource.updated_at is None and not change.unreadable and as_wished is Likeness.NO:
        # The contract names no date: the values are all there is, and they are not the new ones.
        return NotThere()
    return NotKnowable("the record was changed meanwhile, and not to this")


def moment(stamp: Any) -> float | None:
    """A stamp such as ``2021-03-27T17:33:14.049Z`` in seconds since the epoch, or None."""
    if not isinstance(stamp, str):
        return None
    try:
        read = datetime.datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return read.replace(tzinfo=read.tzinfo or datetime.UTC).timestamp()
