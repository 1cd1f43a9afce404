"""Which records an owner's extract has, and what it says of each (docs/adr/0061). Pure.

A court held what a person may ask for: when their data were consulted and for what purposes, but not which employees
did it (CJEU C-579/21). So staff get numbers. The numbers begin anew in each extract: nobody can join two of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from attrs import frozen

from ..search.match import person_of, text
from ..search.rows import IndexRow

MOST: Final = 100_000
"""Most looks in one extract: all of them are in memory at once."""

GIVEN: Final = frozenset({"success", "found"})
"""Outcomes of requests that gave data out, or changed them."""
MAYBE: Final = frozenset({"unknown", "client gone"})
"""Outcomes of requests that may have."""

_DONE: Final = {
    "create": "written",
    "read": "read",
    "update": "changed",
    "delete": "deleted",
    "search": "seen in a list",
    "execute": "examined by a program",
    "export": "exported",
}
_RESOURCES: Final = {"patients": "patient record", "notes": "note"}


@frozen(slots=True)
class OwnerLook:
    """One time at which somebody saw or changed the patient's data.

    :param time: in the zone of the extract.
    :param what: the kind of record: "note".
    :param done: what was done with it: "read".
    :param person: number of the member of staff in this extract; 0: it is not known who it was.
    :param certain: False: whether it was done is not known.
    :param emergency: somebody gave an emergency as the reason, where access would have been refused.
    """

    time: datetime
    what: str
    done: str
    person: int
    certain: bool = True
    emergency: bool = False


@frozen(slots=True)
class OwnerExtract:
    """What an owner gets about one patient.

    :param since: begin of the period; None: from the first record that is kept.
    :param until: its end.
    :param made: when the extract was made.
    :param looks: oldest first.
    :param people: how many members of staff have a number.
    :param back_to: older looks are left out, because there are too many; None: the period is complete.
    """

    patient: str
    since: datetime | None
    until: datetime
    made: datetime
    looks: tuple[OwnerLook, ...]
    people: int
    back_to: datetime | None = None

    @property
    def totals(self) -> list[tuple[str, int]]:
        """How often each thing was done with each kind of record, most often first."""
        counts = Counter(f"{look.what} {look.done}" for look in self.looks)
        return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def owner_extract(
    patient: str,
    rows: Iterable[IndexRow],
    *,
    more: bool,
    since: float | None,
    until: float | None,
    made: float,
    zone: tzinfo = UTC,
) -> OwnerExtract:
    """Build the extract from the rows about a patient.

    :param rows: of kind "request", newest first.
    :param more: whether there are older rows.
    :param since: begin of the period, seconds since the epoch; None: it has none. ``until`` likewise.
    :param made: now, seconds since the epoch.
    :param zone: in which the owner reads times.
    """
    given = [row for row in rows if row.record.get("outcome") in GIVEN | MAYBE]
    given.reverse()
    numbers: dict[str, int] = {}
    looks = tuple(_look(row, numbers, zone) for row in given)

    def moment(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, zone)

    return OwnerExtract(
        patient=patient,
        since=None if since is None else moment(since),
        until=moment(made if until is None else min(until, made)),
        made=moment(made),
        looks=looks,
        people=len(numbers),
        back_to=looks[0].time if more and looks else None,
    )


def _look(row: IndexRow, numbers: dict[str, int], zone: tzinfo) -> OwnerLook:
    record = row.record
    person, _ = person_of(record)  # no id: a name that was only claimed
    resource = text(record.get("resource")) or "record"
    return OwnerLook(
        time=datetime.fromtimestamp(row.key.time_ms / 1000, zone),
        what=_RESOURCES.get(resource, resource.removesuffix("s")),
        done=_done(record, by_list=row.by_list),
        person=0 if person is None else numbers.setdefault(person, len(numbers) + 1),
        certain=record.get("outcome") in GIVEN,
        emergency=bool(record.get("break_glass")),
    )


def _done(record: Any, *, by_list: bool) -> str:
    action = text(record.get("action")) or "used"
    return _DONE["search"] if by_list else _DONE.get(action, action)
