"""Counts of what happens in every request, in plain numbers; the registry gets them when it is read.

An increment in prometheus-client takes a lock and several calls, which is more than a response from memory may spend on
it. Only the reactor's thread counts and reads, so no lock is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any


class CounterCell:
    """Counts for one series of a counter without a lock for each count.

    :param child: of a prometheus_client.Counter.
    """

    __slots__ = ("_child", "_count")

    def __init__(self, child: Any) -> None:
        self._child = child
        self._count = 0.0

    def add_one(self) -> None:
        self._count += 1.0

    def add(self, amount: float) -> None:
        self._count += amount

    def settle(self) -> None:
        """Hand what was counted to the registry."""
        count, self._count = self._count, 0.0
        if count:
            self._child.inc(count)


class TimerCell:
    """Sorts durations of one series into buckets without a lock for each.

    :param child: of a prometheus_client.Histogram.
    :param bounds: of its buckets in seconds, ascending; the last one may be missing, since it is infinite.
    """

    __slots__ = ("_bounds", "_child", "_counts", "_sum")

    def __init__(self, child: Any, bounds: Sequence[float]) -> None:
        self._child = child
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def settle(self) -> None:
        """Hand what was counted to the registry."""
        if not any(self._counts):
            return
        # The library has no way to add several observations at once.
        self._child._sum.inc(self._sum)
        self._sum = 0.0
        buckets = self._child._buckets
        for place, count in enumerate(self._counts):
            if count:
                buckets[min(place, len(buckets) - 1)].inc(count)
                self._counts[place] = 0
