"""How long whoever has guessed wrongly must wait before the next guess. Pure: moments in, seconds out.

Nobody is locked out: guilt is bounded, so that a few minutes after an attack all is as before, and a delay never grows
beyond its cap.
"""

from __future__ import annotations

import math

from attrs import frozen

from .marks import Marks

FIRST_S = 0.5
"""The first delay; each further failure doubles it."""
REACH = 10
"""Failures that count beyond the free ones. More add nothing, so guilt ends so many ``forgive_s`` after the last."""


@frozen(slots=True)
class Patience:
    """What is borne of one address, or of one account.

    :param free: failures that cost nothing.
    :param forgive_s: seconds after which one failure is forgotten.
    :param cap_s: the longest delay, in seconds.
    """

    free: int
    forgive_s: float
    cap_s: float

    def delay_s(self, failures: int) -> float:
        """Seconds before the next guess, after so many failures."""
        beyond = min(failures - self.free, REACH)
        return 0.0 if beyond < 0 else min(self.cap_s, FIRST_S * 2.0**beyond)


class Guilt:
    """Failed log-ins, by a key; one is forgotten each ``forgive_s``.

    :param most: keys that are known one by one.
    """

    def __init__(self, patience: Patience, most: int) -> None:
        self.patience = patience
        self._marks = Marks(most)

    def __len__(self) -> int:
        return len(self._marks)

    def failures(self, key: bytes, now: float) -> int:
        """How many failures count now; one counts whole until it is forgotten."""
        left = (self._marks.of(key) - now) / self.patience.forgive_s
        return max(0, math.ceil(left - 1e-6))

    def failed(self, key: bytes, now: float) -> None:
        """One more failure."""
        most = self.patience.free + REACH
        until = max(now, self._marks.own(key)) + self.patience.forgive_s
        self._marks.set(key, min(until, now + most * self.patience.forgive_s), now)

    def succeeded(self, key: bytes) -> None:
        """What was held against a key is over."""
        self._marks.clear(key)
