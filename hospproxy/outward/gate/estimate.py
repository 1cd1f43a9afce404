"""How long a place at HOSP is held, who would wait for one in vain, and when a silence is none of chance. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from statistics import median

FEWEST = 10
"""Before so many were seen nobody is refused for what is believed."""
WEIGHT = 0.03
"""Of the latest in the mean. HOSP's times scatter widely; the mean of few would refuse by chance."""
A_QUEUE = 3
"""So many rounds have to be ahead before an estimate may refuse: that of a short wait is all chance."""

MARGIN = 1.2
"""The mean of the last answers and the wait itself scatter by about a tenth each. Without it, in a surge of five times
what HOSP can do, one in ten of those that were not served heard so only at the end of their time; with it, few do."""


class Estimate:
    """What a place is held for in the mean.

    :param first_s: seconds to believe before there was any.
    """

    def __init__(self, first_s: float = 4.5) -> None:
        self.mean_s = first_s
        self._seen = 0
        self._limit = 0.0

    def learn(self, seconds: float, limit: int) -> None:
        """A place was held for so long, until HOSP had answered or should have.

        :param limit: places that there were.
        """
        self._seen += 1
        weight = max(WEIGHT, 1.0 / self._seen)
        self.mean_s += weight * (seconds - self.mean_s)
        self._limit += weight * (limit - self._limit)

    def wait_s(self, ahead: int, limit: int) -> float:
        """Seconds until one gets a place.

        :param ahead: how many wait before it.
        :param limit: places, all of them taken. Where there were fewer of late, there will be fewer again.
        """
        return self.mean_s * (ahead + 1) / (min(limit, self._limit) if self._seen else limit)

    def in_vain(self, ahead: int, limit: int, left_s: float) -> bool:
        """Whether the wait takes longer than there is time.

        :param left_s: seconds in which a place would be of use.
        """
        if self._seen < FEWEST or ahead < A_QUEUE * limit:
            return False
        return self.wait_s(ahead, limit) * MARGIN > left_s

    def reserve_s(self, left_s: float) -> float:
        """Seconds before a deadline from which a place is of no use any more.

        Sent with no time left, a write is one whose outcome is unknown; not sent, it is a plain 503.
        """
        return min(self.mean_s, left_s / 4.0)

    def retry_after_s(self, ahead: int, limit: int, none_s: float = 0.0) -> int:
        """When another try may find a place: seconds for those ahead to go through, from 1 to 30.

        :param none_s: seconds before which there is no place at all.
        """
        return max(1, min(30, math.ceil(max(none_s, self.wait_s(ahead, limit)))))


class Usual:
    """How long HOSP has taken for its last answers, and how likely it is that a silence is chance."""

    KEPT = 64
    LATELY = 5
    MARGIN = 1.5
    """HOSP may be half as slow again as it ever was of late."""
    LATELY_MARGIN = 1.25
    UNLIKELY = 0.01

    def __init__(self) -> None:
        self._lasted: deque[float] = deque(maxlen=self.KEPT)

    def learn(self, seconds: float) -> None:
        """An answer took so long."""
        self._lasted.append(seconds)

    @property
    def longest_s(self) -> float | None:
        """Seconds within which HOSP answers, by all that was seen of late; None: too little was seen."""
        return self.MARGIN * max(self._lasted) if len(self._lasted) >= FEWEST else None

    def is_chance(self, waits: Sequence[float]) -> bool:
        """Whether HOSP may simply not be done yet with anything that it has in hand.

        Each wait is as likely as answers were late that took longer; several that are in hand together are as likely
        as their product. On a slow day the last few answers count for more than the many before them.

        :param waits: for how many seconds each attempt in hand has waited since the last answer to any.
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
