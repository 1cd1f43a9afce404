"""Rules that decide from a look whether a write whose response was lost was carried out, and as which record. Pure.

All rules err on one side: in doubt they say "unknowable", because a wrong "found" loses a write and a wrong "absent"
doubles it.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import field, frozen

from ...contract.contract import Resource
from ...http.messages import Json
from .stored_values import ValueMatch, likeness
from .versions import RecordVersion

STAMP_ERROR_S = 0.0015
"""Maximum difference in seconds between the two timestamps of an unchanged record: one moment, cut to milliseconds."""
SLEWED_S = 2.0
"""Seconds by which HOSP's clock may have been set back unnoticed."""


@frozen(slots=True)
class Found:
    """Verdict of a look: this record is the write's.

    :param landed: the record proves that the upstream has carried the write out, so nothing of it is still to come.
        Without that, a PATCH may be found only because the record had its values before.
    """

    record: Mapping[str, Any]
    landed: bool = True


@frozen(slots=True)
class NotThere:
    """Verdict: no record in this look is the write's. That proves absence only if the look began late enough."""


@frozen(slots=True)
class NotKnowable:
    """Verdict: no look can tell what became of the write.

    :param why: for the error message and the record.
    """

    why: str


Verdict = Found | NotThere | NotKnowable


@frozen(slots=True)
class LostPost:
    """What is known about a POST that is searched for.

    :param expected: fields as they are stored, or a ``DoubtfulValue``.
    :param optional: other known fields, which the document left out.
    :param immutable: expected fields that nobody changes in another author's record.
    :param floor: the highest id seen in any response when the write began; None if there was none.
    :param sequence: the highest id that the upstream had given to a new record when the write began; None if unknown.
        An imported record may lie far above it.
    :param not_before: earliest HOSP time at which it can have been stored, seconds since the epoch; None if unknown.
    :param claimed: ids that belong to other writes.
    :param touched: ids that were changed or deleted through the proxy since the write began.
    :param open_entries: number of equal writes that are not settled, including this one.
    :param reference: (field, text): the record is the write's if and only if this field contains the text.
    """

    resource: Resource
    expected: Mapping[str, Json]
    optional: frozenset[str] = frozenset()
    immutable: frozenset[str] = frozenset()
    floor: int | None = None
    sequence: int | None = None
    not_before: float | None = None
    claimed: frozenset[int | str] = frozenset()
    touched: frozenset[int | str] = frozenset()
    open_entries: int = 1
    reference: tuple[str, str] | None = field(default=None)


class RecordAge(enum.Enum):
    """Whether a record was made before a write began."""

    NEW = "new"
    OLD = "old"
    """Its id and its date both say so, as far as the contract names them."""
    DOUBTFUL = "doubtful"
    """Its id and its date disagree, or one is unknown: a clock was set, or an id is out of sequence."""


def which_is_mine(search: LostPost, records: Sequence[Any]) -> Verdict:
    """Judge one look for a POST: which of the records did it make?

    :param records: the list that HOSP returned.
    """
    rows = [row for row in records if isinstance(row, dict) and _id(search.resource, row) is not None]
    if search.reference is not None:
        return _by_reference(search.reference, rows)
    aged = [(row, age_of(search, row)) for row in rows if _id(search.resource, row) not in search.claimed]
    if _touched(search, aged):
        return NotKnowable("a record that may be this one was changed or deleted meanwhile")
    if any(_may_be_changed(search, row) for row, _age in aged):
        return NotKnowable("a record that may be this one was changed by somebody else")
    alike = [(likeness(search.expected, row), row, age) for row, age in aged if age is not RecordAge.OLD]
    equal = [(row, age) for how, row, age in alike if how is ValueMatch.YES]
    sure = [row for row, _age in equal if all(row.get(name) is None for name in search.optional)]
    if len(equal) > search.open_entries:
        return NotKnowable("there are more matching records than open writes")
    if not equal and any(how is ValueMatch.MAYBE for how, _row, _age in alike):
        return NotKnowable("a record may be this one, stored in another form")
    if not equal:
        return NotThere()
    if not sure:
        return NotKnowable("a record matches this one but has further values")
    if any(age is RecordAge.DOUBTFUL for _row, age in equal):
        return NotKnowable("the matching record may be older than this write")
    return Found(min(sure, key=lambda row: _order(_id(search.resource, row))))


def ids_alike(search: LostPost, records: Sequence[Any]) -> list[int | str]:
    """Ids of all records that match or may match and show no sign of being older, including claimed ones."""
    rows = [row for row in records if isinstance(row, dict) and _id(search.resource, row) is not None]
    return [
        row[search.resource.id]
        for row in rows
        if False not in (_new_by_id(search, row), _new_by_date(search, row))
        and likeness(search.expected, row) is not ValueMatch.NO
    ]


def age_of(search: LostPost, row: Mapping[str, Any]) -> RecordAge:
    """Whether a record existed before the write began.

    Ids can be out of sequence and clocks can be set. So if the contract names both, one of them alone proves nothing.
    """
    resource = search.resource
    said = [one for one in (_new_by_id(search, row), _new_by_date(search, row)) if one is not None]
    if said and all(said):
        return RecordAge.NEW
    named = int(resource.ascending) + int(resource.created_at is not None)
    return RecordAge.OLD if said and not any(said) and len(said) == named else RecordAge.DOUBTFUL


def _by_reference(reference: tuple[str, str], rows: Sequence[Mapping[str, Any]]) -> Verdict:
    name, text = reference
    mine = [row for row in rows if isinstance(row.get(name), str) and text in row[name]]
    return Found(mine[0]) if mine else NotThere()


def _new_by_id(search: LostPost, row: Mapping[str, Any]) -> bool | None:
    number = _id(search.resource, row)
    if not search.resource.ascending or search.floor is None or not isinstance(number, int):
        return None
    return number > search.floor


def _new_by_date(search: LostPost, row: Mapping[str, Any]) -> bool | None:
    created = moment(row.get(search.resource.created_at)) if search.resource.created_at else None
    return None if created is None or search.not_before is None else created >= search.not_before


def _touched(search: LostPost, aged: Sequence[tuple[Mapping[str, Any], RecordAge]]) -> bool:
    """Whether a record that may be this write's was changed or deleted through the proxy."""
    old = {_id(search.resource, row) for row, age in aged if age is RecordAge.OLD}
    return any(
        number not in search.claimed and number not in old and not _from_before(search, number)
        for number in search.touched
    )


def _from_before(search: LostPost, number: int | str) -> bool:
    """Whether the upstream had given this id, or a higher one, to a new record before the write began."""
    known = search.resource.ascending and search.sequence is not None and isinstance(number, int)
    return known and number <= search.sequence  # type: ignore[operator]


def _may_be_changed(search: LostPost, row: Mapping[str, Any]) -> bool:
    """Whether a record that does not match may still be this write's, changed directly at the upstream.

    One sign of age is enough here: otherwise somebody would have had to change the record within seconds, and a clock
    or an id would have to be wrong as well.
    """
    signs = _new_by_id(search, row), _new_by_date(search, row)
    if False in signs or not _changed(search.resource, row):
        return False
    if likeness(search.expected, row) is ValueMatch.YES:
        return False
    fixed = {name: search.expected.get(name) for name in search.immutable}
    return likeness(fixed, row) is not ValueMatch.NO


def _changed(resource: Resource, row: Mapping[str, Any]) -> bool:
    if resource.created_at is None or resource.updated_at is None:
        return False
    created, updated = moment(row.get(resource.created_at)), moment(row.get(resource.updated_at))
    return created is not None and updated is not None and abs(updated - created) > STAMP_ERROR_S


def _id(resource: Resource, row: Mapping[str, Any]) -> int | str | None:
    number = row.get(resource.id)
    return number if isinstance(number, (int, str)) and not isinstance(number, bool) else None


def _order(number: int | str | None) -> tuple[int, int, str]:
    return (0, number, "") if isinstance(number, int) else (1, 0, str(number))


@frozen(slots=True)
class LostPatch:
    """What is known about a PATCH whose response was lost.

    :param expected: the fields that it sets, as they are stored.
    :param unreadable: it sets a field that is never returned.
    :param not_before: earliest HOSP time at which it can have been carried out, seconds since the epoch; None if
        unknown, or if HOSP's clock was set since.
    :param before: the record as seen before the PATCH was sent; None if it was not seen.
    """

    resource: Resource
    expected: Mapping[str, Json]
    unreadable: bool
    not_before: float | None
    before: RecordVersion | None = None


def has_changed(change: LostPatch, row: Any) -> Verdict:
    """Judge one look at the record that a PATCH changes.

    Found: the record has the values that the PATCH sets. Not there: the record is as it was seen before the PATCH was
    sent, or its last change is older. Otherwise unknowable: a colleague has written to it.
    """
    if not isinstance(row, dict):
        return NotKnowable("the record cannot be read")
    updated = moment(row.get(change.resource.updated_at)) if change.resource.updated_at else None
    after_s = None if updated is None or change.not_before is None else updated - change.not_before
    as_wished = likeness(change.expected, row)
    if as_wished is ValueMatch.YES and not change.unreadable:
        return Found(row, landed=after_s is not None and after_s >= 0 and _has_become(change, row))
    if (after_s is not None and after_s < -SLEWED_S) or _is_as_before(change, row):
        return NotThere()
    if change.resource.updated_at is None and not change.unreadable and as_wished is ValueMatch.NO:
        # The contract names no date of change, so the values are the only evidence, and they are not the new ones.
        return NotThere()
    return NotKnowable("the record was changed meanwhile, to other values")


def _has_become(change: LostPatch, row: Mapping[str, Any]) -> bool:
    """Whether the record had other values before. Others may have written the new ones; the date tells when."""
    before = change.before
    return before is not None and not before.has(change.expected) and not before.is_of(row)


def _is_as_before(change: LostPatch, row: Mapping[str, Any]) -> bool:
    """Whether the record, including the date of its last change, is as it was before the PATCH was sent."""
    if change.before is None or change.unreadable or change.resource.updated_at not in row:
        return False
    return change.before.is_of(row)


def is_overwritten(resource: Resource, expected: Mapping[str, Json], answer: bytes, now: bytes) -> bool:
    """Whether a record lost the values that a PATCH has set, by a change after that PATCH.

    :param expected: the fields that the PATCH sets, as they are stored.
    :param answer: body of the response to the PATCH.
    :param now: the record as HOSP shows it now.
    """
    try:
        then, row = msgspec.json.decode(answer), msgspec.json.decode(now)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if (
        not isinstance(then, dict)
        or not isinstance(row, dict)
        or likeness(expected, row) is not ValueMatch.NO
    ):
        return False
    stamp = resource.updated_at
    return stamp is None or row.get(stamp) != then.get(stamp)


def moment(stamp: Any) -> float | None:
    """Parse a timestamp such as ``2021-03-27T17:33:14.049Z`` into seconds since the epoch; None if it is none."""
    if not isinstance(stamp, str):
        return None
    try:
        read = datetime.datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return read.replace(tzinfo=read.tzinfo or datetime.UTC).timestamp()
