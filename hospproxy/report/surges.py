"""Which minutes are a surge: far above the usual. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from .figures import Surge

TIMES: Final = 3
"""A minute is far above the usual if it has this many times the median."""

LEAST: Final = 30
"""Requests that a minute of a surge has at least: at night, three requests are no surge."""

_MINUTE: Final = timedelta(minutes=1)


def least_of_surge(usual: float) -> int:
    """Requests from which a minute belongs to a surge.

    :param usual: the median of the minutes that have requests.
    """
    return max(LEAST, int(-(-usual * TIMES // 1)))


def surges(minutes: Iterable[tuple[datetime, int, int]], usual: float) -> list[Surge]:
    """Join the busy minutes that follow on each other; the surge with the highest peak comes first.

    :param minutes: (minute, requests, failed) in order; those from ``least_of_surge`` are enough.
    """
    found: list[Surge] = []
    for minute, requests, failed in minutes:
        if requests < least_of_surge(usual):
            continue
        last = found[-1] if found else None
        if last is not None and last.begin + last.minutes * _MINUTE == minute:
            found[-1] = Surge(
                last.begin,
                last.minutes + 1,
                last.requests + requests,
                last.failed + failed,
                max(last.peak, requests),
                usual,
            )
        else:
            found.append(Surge(minute, 1, requests, failed, requests, usual))
    return sorted(found, key=lambda surge: (-surge.peak, surge.begin))
