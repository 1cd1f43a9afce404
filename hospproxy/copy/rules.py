"""The rules of the copy: which of two sightings of a record is newer, what proves a deletion, since when a state holds.

Pure. ADR 62 has the reasons. Sightings are compared by the moments at which their requests were sent to HOSP and
answered, on a clock that nobody can set and that all processes of a machine share. The dates in a record come from
HOSP's own clock; they decide only between sightings that overlap.
"""

from __future__ import annotations

import enum

from attrs import field, frozen


class RecordState(enum.Enum):
    """What is known of a record at HOSP."""

    PRESENT = "present"
    MISSING = "missing"
    """HOSP did not find it for somebody: it is deleted, or hidden from them."""
    DELETED = "deleted"


class Verdict(enum.Enum):
    """What a sighting changes in what is known of its record."""

    NEW = "new"
    CHANGED = "changed"
    CONFIRMED = "confirmed"
    MISSING = "missing"
    DELETED = "deleted"
    LATE = "late"
    """It is older than what is known, or may be: it changes nothing."""
    UNDECIDED = "undecided"
    """It contradicts what is known, and nothing says which is newer: the next sighting decides."""
    NOTHING = "nothing"
    """It is about a record of which nothing is known, or says what is known already."""


@frozen(slots=True)
class Sighting:
    """What one response says about one record.

    :param began: seconds at which its request was sent to HOSP.
    :param ended: seconds at which its response was complete.
    :param digest: of the record's content; None if it was not shown.
    :param updated: seconds of its ``updated_at``, by HOSP's clock; None if it has none.
    """

    state: RecordState
    began: float
    ended: float
    digest: bytes | None = field(default=None, repr=False)
    updated: float | None = None


def judge(known: Sighting | None, seen: Sighting) -> Verdict:
    """Say what a sighting changes.

    :param known: the last sighting that was accepted; of a record that is not present, ``digest`` and ``updated`` are
        those of its last content. None: nothing is known of the record.
    """
    if known is None:
        return _FIRST[seen.state]
    if seen.began >= known.ended:
        return _later(known, seen)
    if seen.ended <= known.began:
        return Verdict.LATE
    return _overlapping(known, seen)


_FIRST = {
    RecordState.PRESENT: Verdict.NEW,
    RecordState.MISSING: Verdict.NOTHING,
    # Kept, so that a late response from before the deletion does not bring the record back.
    RecordState.DELETED: Verdict.DELETED,
}


def _later(known: Sighting, seen: Sighting) -> Verdict:
    if seen.state is RecordState.PRESENT:
        same = known.digest == seen.digest and known.state is not RecordState.DELETED
        return Verdict.CONFIRMED if same else Verdict.CHANGED
    if known.state is RecordState.DELETED or known.state is seen.state:
        return Verdict.NOTHING
    return Verdict.DELETED if seen.state is RecordState.DELETED else Verdict.MISSING


def _overlapping(known: Sighting, seen: Sighting) -> Verdict:
    if seen.state is RecordState.DELETED:
        return Verdict.NOTHING if known.state is RecordState.DELETED else Verdict.DELETED
    if seen.state is RecordState.MISSING or known.state is RecordState.DELETED:
        return Verdict.LATE
    if known.digest == seen.digest:
        return Verdict.CONFIRMED
    if known.updated is None or seen.updated is None or known.updated == seen.updated:
        return Verdict.UNDECIDED
    return Verdict.CHANGED if seen.updated > known.updated else Verdict.LATE


def accepted(known: Sighting | None, seen: Sighting, verdict: Verdict) -> Sighting | None:
    """Return the sighting to compare the next one with; None if it stays the one that it was."""
    if verdict is Verdict.NEW or known is None:
        return seen if verdict in (Verdict.NEW, Verdict.DELETED) else None
    began, ended = max(known.began, seen.began), max(known.ended, seen.ended)
    if verdict is Verdict.CONFIRMED or verdict is Verdict.CHANGED:
        return Sighting(RecordState.PRESENT, began, ended, seen.digest, seen.updated)
    if verdict is Verdict.MISSING or verdict is Verdict.DELETED:
        return Sighting(seen.state, began, ended, known.digest, known.updated)
    return None


def holds_since(
    seen_at: float, updated: float | None, before: float | None, updated_before: float | None
) -> float:
    """Return the seconds since the epoch from which a state holds.

    :param seen_at: when HOSP first showed it, by this machine's clock.
    :param updated: its ``updated_at``, by HOSP's clock.
    :param before: from when the state before it holds; None if there is none.
    :param updated_before: ``updated_at`` of the state before it.
    """
    rose = updated is not None and (updated_before is None or updated > updated_before)
    since = min(updated, seen_at) if updated is not None and rose else seen_at
    return since if before is None else max(before, since)
