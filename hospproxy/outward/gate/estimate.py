"""Estimates for the gate: how long a slot is held, who waits in vain, when a silence is unusual. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from statistics import median

FEWEST = 10
"""Number of samples below which an estimate refuses nothing."""
WEIGHT = 0.03
"""Weight of the latest sample in the mean. HOSP's response times scatter widely, so the mean of a few would refuse
requests by chance."""
A_QUEUE = 3
"""At least this many full rounds of slots must be ahead before an estimate may refuse. For shorter waits, chance
dominates the estimate."""

MARGIN = 1.2
"""Safety factor. The mean of the last responses and the wait itself scatter by about a tenth each. Without the factor,
in a surge of five times what HOSP can do, one in ten of the requests that got no slot was refused only at its
deadline. With it, few are."""


class Estimate:
    """Mean time for which an attempt holds a slot, and the waits that follow from it.

    :param first_s: mean to assume, in seconds, until the first sample.
    """

    def __init__(self, first_s: float = 4.5) -> None:
        self.mean_s = first_s
        self._seen = 0
        self._limit = 0.0

    def learn(self, seconds: float, limit: int) -> None:
        """Add a sample: an attempt held its slot for this long, until HOSP had responded or must have finished.

        :param seconds: how long the slot was held.
        :param limit: number of slots at that time.
        """
        self._seen += 1
        weight = max(WEIGHT, 1.0 / self._seen)
        self.mean_s += weight * (seconds - self.mean_s)
        self._limit += weight * (limit - self._limit)

    def wait_s(self, ahead: int, limit: int) -> float:
        """Seconds until a request gets a slot.

        :param ahead: number of requests that go first.
        :param limit: number of slots, all of them taken. If there were fewer recently, the estimate uses that lower
            mean.
        """
        return self.mean_s * (ahead + 1) / (min(limit, self._limit) if self._seen else limit)

    def in_vain(self, ahead: int, limit: int, left_s: float) -> bool:
        """Whether the wait for a slot is longer than the request can use.

        :param left_s: seconds in which a slot would still be of use.
        """
        if self._seen < FEWEST or ahead < A_QUEUE * limit:
            return False
        return self.wait_s(ahead, limit) * MARGIN > left_s

    def reserve_s(self, left_s: float) -> float:
        """Seconds before its deadline at which a queued request stops being worth sending.

        A write that is sent with no time left has an unknown outcome. A write that is not sent is a plain 503.

        :param left_s: seconds until the deadline.
        """
        return min(self.mean_s, left_s / 4.0)

    def retry_after_s(self, ahead: int, limit: int, none_s: float = 0.0) -> int:
        """Retry-After in seconds, from 1 to 30: the time until the requests ahead have gone through.

        :param none_s: seconds before which there is no slot at all.
        """
        return max(1, min(30, math.ceil(max(none_s, self.wait_s(ahead, limit)))))


class ResponseTimes:
    """How long HOSP took for its last responses, and how likely it is that a silence is chance."""

    KEPT = 64
    LATELY = 5
    MARGIN = 1.5
    """HOSP may be half as slow again as in any recent response."""
    LATELY_MARGIN = 1.25
    UNLIKELY = 0.01

    def __init__(self) -> None:
        self._lasted: deque[float] = deque(maxlen=self.KEPT)

    def learn(self, seconds: float) -> None:
        """Add a sample: a response took this long."""
        self._lasted.append(seconds)

    @property
    def longest_s(self) -> float | None:
        """Seconds within which HOSP responds, judged by recent responses; None: too few samples."""
        return self.MARGIN * max(self._lasted) if len(self._lasted) >= FEWEST else None

    def is_chance(self, waits: Sequence[float]) -> bool:
        """Whether HOSP may simply still be working on everything that is in flight.

        The chance of one wait is the fraction of recent responses that took longer. The chance of several waits at the
        same time is the product of theirs. On a slow day the last few responses count more than the many before them.

        :param waits: for each attempt in flight, the seconds it has waited since the last response to any attempt.
        """
        if len(self._lasted) < FEWEST:
            return True
        if max(waits, default=0.0) <= self.LATELY_MARGIN * median(list(self._lasted)[-self.LATELY :]):
            return True
        ordered, chance = sorted(self._lasted), 1.0
        for wait in waits:
            longer = len(ordered) - bisect_right(ordered, wait / self.MARGIN)
            chance *= longer / len(ordered) if longer else self.UNLIKELY
        return chance > self.UNLIKELY
