"""Compare what clients were told with what HOSP's journal says it stored. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from .load_clients import Told

SCREENING_TITLE = "Screening result"
Stored = Mapping[str, Any]
"""A note as HOSP's journal has it."""


@frozen
class Counts:
    """Results of one run; README.md explains each word.

    :param rate: share of valid requests that succeeded, 0 to 1.
    :param per_request: upstream requests for each user request.
    :param quantiles_s: of all valid requests: 50 %, 95 %, 99 %.
    :param by_kind_s: the same for each kind.
    """

    requests: int
    valid: int
    rate: float
    per_request: float
    seconds: float
    quantiles_s: tuple[float, ...]
    by_kind_s: Mapping[str, tuple[float, ...]]
    notes: int
    lost: int
    doubled: int
    another: int
    denied: int
    unknown: int
    screenings: int
    screenings_wrong: int
    bad: int
    bad_refused: int


def quantile(values: Sequence[float], share: float) -> float:
    """Quantile by nearest rank: the smallest value that is not less than this share of all; 0 for no values."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def count(told: Sequence[Told], stored: Sequence[Stored], upstream: int, seconds: float) -> Counts:
    """Compute the results of a run.

    :param told: what the clients were told.
    :param stored: every note that HOSP stored during the run, in order.
    :param upstream: requests that HOSP got.
    :param seconds: duration of the run.
    """
    valid = [each for each in told if each.planned.valid]
    bad = [each for each in told if not each.planned.valid]
    notes = [each for each in told if each.planned.marker is not None]
    screenings = [each for each in told if each.planned.kind == "screening"]
    copies = Counter(note["body"] for note in stored)
    kinds = sorted({each.planned.kind for each in valid})
    return Counts(
        requests=len(told),
        valid=len(valid),
        rate=sum(each.succeeded for each in valid) / max(1, len(valid)),
        per_request=upstream / max(1, len(told)),
        seconds=seconds,
        quantiles_s=_quantiles(valid),
        by_kind_s={kind: _quantiles([each for each in valid if each.planned.kind == kind]) for kind in kinds},
        notes=len(notes),
        lost=sum(each.succeeded and not copies[each.planned.marker] for each in notes),
        doubled=sum(max(0, copies[each.planned.marker] - 1) for each in notes),
        another=_in_anothers_name(notes, stored),
        denied=sum(
            not each.succeeded and not each.unknown and copies[each.planned.marker] > 0 for each in notes
        ),
        unknown=sum(each.unknown for each in valid),
        screenings=len(screenings),
        screenings_wrong=sum(not _kept_rightly(each, stored) for each in screenings),
        bad=len(bad),
        bad_refused=sum(400 <= each.status < 500 for each in bad),
    )


def _quantiles(told: Sequence[Told]) -> tuple[float, ...]:
    times = [each.seconds for each in told]
    return tuple(quantile(times, share) for share in (0.50, 0.95, 0.99))


def _in_anothers_name(notes: Sequence[Told], stored: Sequence[Stored]) -> int:
    """Number of stored notes whose author is not the member of staff whose credentials were sent."""
    author = {each.planned.marker: each.planned.staff for each in notes}
    return sum(note["body"] in author and note["staff_id"] != author[note["body"]] for note in stored)


def _kept_rightly(told: Told, stored: Sequence[Stored]) -> bool:
    """Whether a screening that succeeded has exactly one note with each result, and one that failed has at most one."""
    planned = told.planned
    mine = [
        note
        for note in stored
        if note["title"] == SCREENING_TITLE
        and (note["patient_id"], note["staff_id"]) == (planned.patient, planned.staff)
    ]
    if not told.succeeded:
        return len(mine) <= 1
    results = [told.document["overall"], *told.document["results"]]
    return len(mine) == 1 and all(result in mine[0]["body"] for result in results)
