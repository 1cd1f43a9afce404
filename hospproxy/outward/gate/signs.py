"""What the outcome of one attempt says of HOSP. Slow is not dead, and its everyday 500 is no sign of anything."""

from __future__ import annotations

import enum

from ...errors import BadAnswer, FailedAfterSending, NotSent
from ...messages import Response
from .breaker import Breaker

OVERLOADED = frozenset({429, 502, 503, 504})
"""Statuses by which HOSP, or what stands before it, says that it has too much to do."""

Outcome = Response | NotSent | FailedAfterSending | BadAnswer


class Sign(enum.Enum):
    """What an attempt says."""

    WELL = "well"
    """It answers."""
    THERE = "there"
    """It answers, and not well enough to be given more at one time."""
    OVERLOADED = "overloaded"
    """It answers that it has too much to do."""
    GONE = "gone"
    """No connection, or one that broke before a word came."""
    SILENT = "silent"
    """No word came within a time in which it has always answered."""
    NONE = "none"
    """Nothing: the attempt was given up before HOSP had to have answered."""


def sign_of(outcome: Outcome, *, lasted_s: float, cut_short: bool, slow_s: float) -> Sign:
    """What an attempt says of HOSP.

    :param lasted_s: seconds from its beginning to its end.
    :param cut_short: its own time was up, so that it ended for that.
    :param slow_s: seconds within which HOSP answers even on a bad day.
    """
    if isinstance(outcome, Response):
        return Sign.OVERLOADED if outcome.status in OVERLOADED else Sign.WELL
    if isinstance(outcome, NotSent):
        return Sign.NONE if cut_short else Sign.GONE
    if isinstance(outcome, BadAnswer):
        return Sign.THERE
    if outcome.timed_out:
        return Sign.SILENT if outcome.head_status is None and lasted_s >= slow_s else Sign.NONE
    return Sign.GONE if outcome.head_status is None else Sign.THERE


def tell(breaker: Breaker, sign: Sign, began: float, now: float, *, probe: bool) -> None:
    """Tell the breaker what an attempt says.

    :param began: monotonic seconds at which the attempt began.
    """
    if sign in (Sign.WELL, Sign.THERE, Sign.OVERLOADED):
        breaker.answered(now, probe=probe)
    elif sign is Sign.GONE:
        breaker.gone(began, now)
    elif sign is Sign.SILENT:
        breaker.silent(began, now)
