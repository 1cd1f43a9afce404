"""How long to wait before a worker that has exited is replaced. Pure."""

from __future__ import annotations

CALM_S = 60.0
"""A worker that ran for these seconds starts a new count of exits."""
FIRST_S, MOST_S = 0.5, 30.0


def deaths(before: int, lived_s: float) -> int:
    """Return the number of exits in a row, with this one.

    :param before: the number when the worker was started.
    :param lived_s: seconds from its start to its exit.
    """
    return 1 if lived_s >= CALM_S else before + 1


def pause_s(deaths: int) -> float:
    """Return the seconds to wait before the next start: 0 after the first exit, then 0.5, doubled each time up to 30.

    :param deaths: exits in a row, from 1.
    """
    if deaths <= 1:
        return 0.0
    return min(MOST_S, FIRST_S * 2.0 ** min(deaths - 2, 20))
