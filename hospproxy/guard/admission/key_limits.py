"""Limits by key, each key being an address, an account or credentials: requests per second, and delays of guesses.

Pure: monotonic seconds in, seconds out. ``ExpiryTable`` is the bounded table under both. It may drop entries, but never
to the advantage of a client that floods it.

Nobody is locked out. The number of failures that count is bounded, so they are forgotten within minutes after an
attack, and a delay never exceeds its cap.
"""

from __future__ import annotations

import heapq
import math

from attrs import frozen

FIRST_S = 0.5
"""The first delay in seconds; each further failure doubles it."""
REACH = 10
"""Failures that count beyond the free ones.

More add nothing, so all are forgotten ``free + REACH`` times ``forgive_s`` after the last.
"""


class ExpiryTable:
    """For each key, the time (monotonic seconds) until which something counts against it.

    All that a key has done is in that one time, so the order of two keys never changes. Expired keys are dropped
    first, then those that expire soonest. Afterwards every key counts as at least as guilty as the guiltiest key that
    was dropped. So a flood of new keys cannot push out anybody's guilt, and makes other keys at most as guilty as
    each of its own.

    :param most: number of keys that are tracked one by one.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._until: dict[bytes, float] = {}
        self._floor = 0.0

    def __len__(self) -> int:
        return len(self._until)

    def of(self, key: bytes) -> float:
        """Return the time by which a key is judged; a time in the past counts as nothing."""
        return max(self._floor, self._until.get(key, 0.0))

    def own(self, key: bytes) -> float:
        """Return a key's own time, to add to.

        It leaves out the floor, or each dropped key would raise the next one's guilt.
        """
        return self._until.get(key, 0.0)

    def set(self, key: bytes, until: float, now: float) -> None:
        """Set a key's own time; above the bound, drop other keys as the class describes."""
        self._until[key] = until
        if len(self._until) > self._most:
            self._make_room(now)

    def clear(self, key: bytes) -> None:
        """Drop a key's own time; the floor still applies."""
        self._until.pop(key, None)

    def _make_room(self, now: float) -> None:
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key]
        over = len(self._until) - self._most
        if over <= 0:
            return
        # Drop an eighth more at once, so that the search costs little per added key.
        going = heapq.nsmallest(over + self._most // 8, self._until.items(), key=lambda item: item[1])
        for key, until in going:
            del self._until[key]
            self._floor = max(self._floor, until)


class TokenBuckets:
    """One bucket per key, stored as the time at which it will be full again (the generic cell rate algorithm).

    :param per_s: tokens that are added per second; 0: no limit.
    :param burst: tokens that a bucket holds.
    :param most: number of keys that are tracked one by one.
    """

    def __init__(self, per_s: float, burst: int, most: int) -> None:
        self.per_s = per_s
        self.burst = max(1, burst)
        self._full_at = ExpiryTable(most)

    def reload(self, per_s: float, burst: int) -> None:
        """Apply changed options. A bucket is never emptier for it than it was."""
        self.per_s = per_s
        self.burst = max(1, burst)

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

    def fields(self, name: bytes, missing_s: float) -> tuple[tuple[bytes, bytes], ...]:
        """Return the RateLimit fields of a response to a key whose bucket is empty.

        The window is the time in which an empty bucket fills (draft-ietf-httpapi-ratelimit-headers-11).

        :param name: of the limit, in lower-case letters.
        :param missing_s: what ``take`` has returned.
        """
        return self.policy(name), (b"RateLimit", b'"%b";r=0;t=%d' % (name, max(1, math.ceil(missing_s))))

    def policy(self, name: bytes) -> tuple[bytes, bytes]:
        """Return the RateLimit-Policy field: how many requests may come at once, and when all come back."""
        window_s = math.ceil(self.burst / self.per_s)
        return b"RateLimit-Policy", b'"%b";q=%d;w=%d' % (name, self.burst, max(1, window_s))

    def standing(self, name: bytes, key: bytes, now: float) -> bytes:
        """Return the value of RateLimit for a key: tokens that are left, and the seconds until the bucket is full.

        With none left it is the seconds until there is one, as in a 429. A client that spreads what is left over
        these seconds never exceeds the rate, and one that takes all at once does not exceed the burst.
        """
        lacking = max(0.0, self._full_at.of(key) - now) * self.per_s
        left = max(0, int(self.burst - lacking + 1e-6))
        wait_s = (lacking if left else lacking + 1 - self.burst) / self.per_s
        return b'"%b";r=%d;t=%d' % (name, left, max(1, math.ceil(wait_s - 1e-6)))

    def taken(self, key: bytes, tokens: float, now: float) -> None:
        """Count tokens that other workers gave out. A bucket may go negative by at most its size."""
        # Written so that NaN is rejected too.
        if not self.per_s or not tokens > 0.0:
            return
        until = max(now, self._full_at.own(key)) + min(tokens, 2.0 * self.burst) / self.per_s
        self._full_at.set(key, min(until, now + 2.0 * self.burst / self.per_s), now)


@frozen(slots=True)
class DelayRule:
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


class FailedGuesses:
    """Failed log-ins by key; one is forgotten every ``forgive_s`` seconds.

    :param most: number of keys that are tracked one by one.
    """

    def __init__(self, patience: DelayRule, most: int) -> None:
        self.patience = patience
        self._marks = ExpiryTable(most)

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
