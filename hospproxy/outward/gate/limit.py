"""Concurrency limit at HOSP: additive increase, multiplicative decrease. Pure.

See docs/adr/0009-adaptive-limit.md.
"""

from __future__ import annotations

DECREASE = 0.7
"""Factor applied to the limit on a sign of overload. It is mild because HOSP resets a connection now and then even on
its best days."""


class Limit:
    """The limit, between 1 and the operator's maximum.

    :param ceiling: the maximum, and the initial value.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self._value = float(ceiling)
        self._lowered: float | None = None

    def reload(self, ceiling: int) -> None:
        """Apply a changed maximum. A limit that was at its maximum rises with it; a lowered one has to grow."""
        if self._value >= self.ceiling:
            self._value = float(ceiling)
        self.ceiling = ceiling
        self._value = min(self._value, float(ceiling))

    @property
    def now(self) -> int:
        """The current limit, as a whole number."""
        return int(self._value + 0.5)

    def well(self, weight: float = 1.0) -> None:
        """HOSP responded: raise the limit, by one for each full round of responses.

        :param weight: how many responses this one stands for, when other processes receive the rest.
        """
        self._value = min(float(self.ceiling), self._value + weight / self._value)

    def overloaded(self, began: float, now: float) -> bool:
        """HOSP is overloaded: lower the limit. Returns whether it was lowered.

        Attempts that were already in flight at the last decrease say nothing about the new limit: a surge that breaks
        five connections is one sign, not five.

        :param began: monotonic seconds at which the overloaded attempt began.
        :param now: monotonic seconds.
        """
        if self._lowered is not None and began < self._lowered:
            return False
        self._lowered = now
        self._value = max(1.0, self._value * DECREASE)
        return True

    def begin_anew(self, now: float) -> None:
        """HOSP is back after an outage: discard what the failures during the outage said about its capacity.

        The limit restarts at half of the ceiling, because a machine that has just come up is at its weakest.
        """
        self._value = max(1.0, self.ceiling / 2.0)
        self._lowered = now
