"""Requests per second as a token bucket. Pure: monotonic seconds in, seconds out."""

from __future__ import annotations

from .timestamps import Marks


class Rate:
    """One bucket per key, stored as the time at which it will be full again (the generic cell rate algorithm).

    :param per_s: tokens that are added per second; 0: no limit.
    :param burst: tokens that a bucket holds.
    :param most: number of keys that are tracked one by one.
    """

    def __init__(self, per_s: float, burst: int, most: int) -> None:
        self.per_s = per_s
        self.burst = max(1, burst)
        self._full_at = Marks(most)

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: bytes, now: float) -> float:
        """Take a token from a key's bucket: one for each request.

        :return: 0 if there was one; otherwise the seconds until there is one, and nothing is taken.
        """
        if not self.per_s:
            return 0.0
        each = 1 / self.per_s
        missing = max(now, self._full_at.of(key)) + each - now - self.burst * each
        if missing > 1e-9:
            return missing
        self._full_at.set(key, max(now, self._full_at.own(key)) + each, now)
        return 0.0

    def taken(self, key: bytes, tokens: float, now: float) -> None:
        """Count tokens that other workers gave out. A bucket may go negative by at most its size."""
        # Written so that NaN is rejected too.
        if not self.per_s or not tokens > 0.0:
            return
        until = max(now, self._full_at.own(key)) + min(tokens, 2.0 * self.burst) / self.per_s
        self._full_at.set(key, min(until, now + 2.0 * self.burst / self.per_s), now)
