"""How long to wait before a worker that has ended is replaced."""

from __future__ import annotations

CALM_S = 60.0
"""Seconds after which a worker's end has nothing to do with the one before."""
FIRST_S, MOST_S = 0.5, 30.0


def deaths(before: int, lived_s: float) -> int:
    """How many ends there were in a row, with this one.

    :param before: the number at its start.
    :param lived_s: seconds from its start to its end.
    """
    return 1 if lived_s >= CALM_S else before + 1


def pause_s(deaths: int) -> float:
    """Seconds until the next start: none after the first end, and then twice as long each time, up to 30.

    :param deaths: ends in a row, from 1.
    """
    if deaths <= 1:
        return 0.0
    return min(MOST_S, FIRST_S * 2.0 ** min(deaths - 2, 20))
