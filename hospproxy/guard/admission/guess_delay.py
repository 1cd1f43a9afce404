"""How long a client must wait after wrong passwords before its next guess. Pure: monotonic seconds in, seconds out.

Nobody is locked out. The number of failures that count is bounded, so they are forgotten within minutes after an
attack, and a delay never exceeds its cap.
"""

from __future__ import annotations

import math

from attrs import frozen

from .timestamps import Marks

FIRST_S = 0.5
"""The first delay in seconds; each further failure doubles it."""
REACH = 10
"""Failures that count beyond the free ones.

More add nothing, so all are forgotten ``free + REACH`` times ``forgive_s`` after the last.
"""


@frozen(slots=True)
class Patience:
    """How many failures one address, or one account, may have.

    :param free: failures without a delay.
    :param forgive_s: seconds after which one failure is forgotten.
    :param cap_s: the longest delay in seconds.
    """

    free: int
    forgive_s: float
    cap_s: float

    def delay_s(self, failures: int) -> float:
        """Return the seconds to wait before the next guess, after this many failures."""
        beyond = min(failures - self.free, REACH)
        return 0.0 if beyond < 0 else min(self.cap_s, FIRST_S * 2.0**beyond)


class Guilt:
    """Failed log-ins by key; one is forgotten every ``forgive_s`` seconds.

    :param most: number of keys that are tracked one by one.
    """

    def __init__(self, patience: Patience, most: int) -> None:
        self.patience = patience
        self._marks = Marks(most)

    def __len__(self) -> int:
        return len(self._marks)

    def failures(self, key: bytes, now: float) -> int:
        """Return how many failures count now; a failure counts fully until it is forgotten."""
        left = (self._marks.of(key) - now) / self.patience.forgive_s
        return max(0, math.ceil(left - 1e-6))

    def failed(self, key: bytes, now: float) -> None:
        """Count one more failure of a key: a wrong password for an address or account."""
        most = self.patience.free + REACH
        until = max(now, self._marks.own(key)) + self.patience.forgive_s
        self._marks.set(key, min(until, now + most * self.patience.forgive_s), now)

    def succeeded(self, key: bytes) -> None:
        """Forget all failures of a key."""
        self._marks.clear(key)
