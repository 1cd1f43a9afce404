"""Decides from the outcome of one attempt whether HOSP is up. A slow response or HOSP's usual 500 is no failure."""

from __future__ import annotations

import enum

from ...http.errors import BadAnswer, FailedAfterSending, NotSent
from ...http.messages import Response
from .breaker import Breaker

OVERLOADED = frozenset({429, 502, 503, 504})
"""Statuses with which HOSP, or a proxy before it, reports overload."""

Outcome = Response | NotSent | FailedAfterSending | BadAnswer


class AttemptSign(enum.Enum):
    """What an attempt says about HOSP."""

    WELL = "well"
    """HOSP responds."""
    THERE = "there"
    """HOSP responds, but not well enough to get more load."""
    OVERLOADED = "overloaded"
    """HOSP responds that it is overloaded."""
    GONE = "gone"
    """No connection, or one that broke before any byte of a response."""
    SILENT = "silent"
    """No byte of a response within the time in which HOSP always responds."""
    NONE = "none"
    """No information: the attempt was given up before HOSP had to have responded."""


def sign_of(outcome: Outcome, *, lasted_s: float, cut_short: bool, slow_s: float) -> AttemptSign:
    """Classify the outcome of an attempt.

    :param lasted_s: seconds from the start of the attempt to its end.
    :param cut_short: whether the attempt ended because its deadline passed.
    :param slow_s: seconds within which HOSP responds even on a bad day.
    """
    if isinstance(outcome, Response):
        return AttemptSign.OVERLOADED if outcome.status in OVERLOADED else AttemptSign.WELL
    if isinstance(outcome, NotSent):
        return AttemptSign.NONE if cut_short else AttemptSign.GONE
    if isinstance(outcome, BadAnswer):
        return AttemptSign.THERE
    if outcome.timed_out:
        return AttemptSign.SILENT if outcome.head_status is None and lasted_s >= slow_s else AttemptSign.NONE
    return AttemptSign.GONE if outcome.head_status is None else AttemptSign.THERE


def tell(breaker: Breaker, sign: AttemptSign, began: float, now: float, *, probe: bool) -> None:
    """Report an attempt's sign to the breaker.

    :param began: monotonic seconds at which the attempt began.
    :param now: monotonic seconds.
    :param probe: whether the attempt was a probe.
    """
    if sign in (AttemptSign.WELL, AttemptSign.THERE, AttemptSign.OVERLOADED):
        breaker.answered(now, probe=probe)
    elif sign is AttemptSign.GONE:
        breaker.gone(began, now)
    elif sign is AttemptSign.SILENT:
        breaker.silent(began, now)
