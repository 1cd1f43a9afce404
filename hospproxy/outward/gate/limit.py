"""How many attempts HOSP gets at one time: additive increase, multiplicative decrease. Pure.

See docs/adr/0009-adaptive-limit.md.
"""

from __future__ import annotations

DECREASE = 0.7
"""What is left after a sign of overload. A gentle factor: HOSP resets a connection now and then on its best days."""


class Limit:
    """The limit, from 1 to what the operator allows.

    :param ceiling: the most at one time, and what it begins with.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self._value = float(ceiling)
        self._lowered: float | None = None

    @property
    def now(self) -> int:
        """How many at one time."""
        return int(self._value + 0.5)

    def well(self, weight: float = 1.0) -> None:
        """HOSP answered: one more for each round of answers.

        :param weight: for how many answers this one stands, where others get the rest.
        """
        self._value = min(float(self.ceiling), self._value + weight / self._value)

    def overloaded(self, began: float, now: float) -> bool:
        """HOSP has too much to do; whether the limit was lowered.

        Attempts that were under way when it was lowered last say nothing of the new limit: one surge that breaks five
        connections is one sign, not five.

        :param began: monotonic seconds at which the attempt began that says so.
        """
        if self._lowered is not None and began < self._lowered:
            return False
        self._lowered = now
        self._value = max(1.0, self._value * DECREASE)
        return True

    def begin_anew(self, now: float) -> None:
        """HOSP is back after it was gone: what its absence seemed to say of its strength is void.

        It begins with half of the ceiling, for a machine that has just come up is at its weakest.
        """
        self._value = max(1.0, self.ceiling / 2.0)
        self._lowered = now
