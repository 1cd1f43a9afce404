"""Compare what clients were told of their writes with what HOSP's journal says it stored. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import asdict, frozen

from ..outcome_counts import quantile
from .clients import Write

Entry = Mapping[str, Any]
"""An entry of HOSP's journal."""

AMBIGUOUS = frozenset(
    {
        "error_before",
        "error_after",
        "reset_before",
        "reset_after",
        "late_commit",
        "truncated",
        "cut_head",
        "stall",
    }
)
"""Faults after which a direct client of HOSP does not know whether its write was stored."""


@frozen
class Verdict:
    """Logical writes, and how many of them break a promise.

    :param lost: told 201, and not stored.
    :param doubled: stored more often than requested.
    :param wrong_author: stored in another's name.
    :param contradicted: told "not carried out" and stored; or told an id that the note does not have.
    :param unknown: the last response was "unknown", truthfully.
    :param unanswered: no response ever came.
    """

    writes: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    wrong_author: int = 0
    contradicted: int = 0
    unknown: int = 0
    unanswered: int = 0

    @property
    def broken(self) -> int:
        return self.lost + self.doubled + self.wrong_author + self.contradicted

    def plus(self, other: Verdict) -> Verdict:
        """Add two verdicts."""
        mine, its = asdict(self), asdict(other)
        return Verdict(**{name: mine[name] + its[name] for name in mine})


def judge(writes: Iterable[Write], stored: Sequence[Mapping[str, Any]]) -> Verdict:
    """Judge notes. Of equal ones (twins), as many must exist as clients were told.

    :param stored: every note that HOSP stored, as the journal has it.
    """
    notes: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for note in stored:
        notes[str(note["body"])].append(note)
    equal: dict[str, list[Write]] = defaultdict(list)
    for write in writes:
        equal[write.marker].append(write)
    total = Verdict()
    for marker, same in equal.items():
        total = total.plus(_judge_equal(same, notes[marker]))
    return total


def _judge_equal(writes: Sequence[Write], notes: Sequence[Mapping[str, Any]]) -> Verdict:
    last = [write.answer for write in writes]
    yes = [answer for answer in last if answer is not None and answer.succeeded]
    no = sum(answer is not None and answer.denies for answer in last)
    told = Counter(answer.document.get("id") if isinstance(answer.document, dict) else None for answer in yes)
    there = Counter(note["id"] for note in notes)
    return Verdict(
        writes=len(writes),
        acknowledged=len(yes),
        lost=max(0, len(yes) - len(notes)),
        doubled=max(0, len(notes) - len(writes)),
        wrong_author=sum(note["staff_id"] != writes[0].who.id for note in notes),
        contradicted=max(0, min(len(notes), len(writes)) - (len(writes) - no)) + sum((told - there).values()),
        unknown=sum(answer is not None and answer.unknown for answer in last),
        unanswered=sum(answer is None or answer.status == 0 for answer in last),
    )


def ambiguous(faults: Iterable[Entry]) -> int:
    """Number of writes whose response was lost on its way from HOSP."""
    return sum(
        each["method"] == "POST" and each["path"] == "/notes" and each["fault"] in AMBIGUOUS
        for each in faults
    )


def lateness_s(faults: Iterable[Entry], stored: Iterable[Entry]) -> list[float]:
    """Seconds from the sending of each late commit to its storing."""
    sent = {each["request"]: each["at"] for each in faults if each["fault"] == "late_commit"}
    return [each["at"] - sent[each["request"]] for each in stored if each["request"] in sent]


def times(seconds: Sequence[float]) -> str:
    """Format quantiles as text."""
    found = [*(quantile(seconds, share) for share in (0.5, 0.95, 0.99)), max(seconds, default=0.0)]
    return " / ".join(f"{each:.2f}" for each in found)
