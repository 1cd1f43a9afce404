"""Report client activity to the other workers, so that a limit is one limit however many workers there are.

Nobody waits for these reports: a request is judged by what this worker knows. So a client that uses all workers at
once gets a little more than its limit: for rates see ``SLACK``; for guesses, those in flight before the other workers
learn of them.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...sharing.kinds import Sharing
from ...sharing.news import CredentialsAccepted, LoginResult, TokensUsed
from .claim_keys import LoginAttempt
from .key_limits import TokenBuckets

SLACK = 8
"""All workers together leave at most 1/SLACK of a bucket, and of what flows into it, unreported."""
MOST_KEYS = 256
"""Maximum keys in one message."""
MOST_UNSAID = 10_000


class UnreportedTokens:
    """Tokens that were taken here and not reported yet. Pure.

    Each key has a level that drains at ``1 / (SLACK * workers)`` of the rate. A client that stays below that rate
    never needs a report.

    :param rate: the limit that all workers share.
    :param most: number of keys; beyond it the longest unused one is dropped, to its advantage.
    """

    def __init__(self, rate: TokenBuckets, most: int = MOST_UNSAID) -> None:
        self._rate = rate
        self._most = most
        self._taken: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._taken)

    def add(self, key: bytes, now: float, workers: int) -> bool:
        """Count one token; return whether there is enough to report."""
        level = self._level(key, now, workers) + 1.0
        self._taken[key] = level, now
        self._taken.move_to_end(key)
        if len(self._taken) > self._most:
            self._taken.popitem(last=False)
        return level >= self._threshold(workers)

    def take(self, now: float, workers: int, most: int = MOST_KEYS) -> dict[bytes, float]:
        """Return what to report now, highest levels first, and count it as reported."""
        threshold = self._threshold(workers)
        levels = {key: self._level(key, now, workers) for key in self._taken}
        due = [key for key, level in levels.items() if level >= threshold]
        said = {key: levels[key] for key in heapq.nlargest(most, due, key=levels.__getitem__)}
        for key, level in levels.items():
            if key in said or not level:
                del self._taken[key]
        return said

    def _level(self, key: bytes, now: float, workers: int) -> float:
        tokens, at = self._taken.get(key, (0.0, now))
        return max(0.0, tokens - (now - at) * self._rate.per_s / (SLACK * workers))

    def _threshold(self, workers: int) -> float:
        return max(1.0, self._rate.burst / (SLACK * workers))


class PeerReports:
    """Collects reports and sends them: failures at once, everything else once per heartbeat.

    :param clock: monotonic.
    :param heartbeat_s: seconds.
    :param workers: number of processes now.
    """

    def __init__(
        self,
        sharing: Sharing,
        clock: IReactorTime,
        heartbeat_s: float,
        workers: Callable[[], int],
        credentials: TokenBuckets,
        addresses: TokenBuckets,
    ) -> None:
        self._sharing = sharing
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._workers = workers
        self._credentials, self._addresses = UnreportedTokens(credentials), UnreportedTokens(addresses)
        self._unsaid = {credentials: self._credentials, addresses: self._addresses}
        self._accepted: OrderedDict[bytes, None] = OrderedDict()
        self._timer: IDelayedCall | None = None

    def failed(self, attempt: LoginAttempt) -> None:
        """Report a failed log-in that counts."""
        self._accepted.pop(attempt.credentials, None)
        self._sharing.say(LoginResult(attempt.account, attempt.address, credentials=attempt.credentials))

    def came_back(self, attempt: LoginAttempt) -> None:
        """Report that an account's failures were cleared."""
        self._sharing.say(LoginResult(attempt.account, failed=False))

    def accepted(self, credentials: bytes) -> None:
        """Report that HOSP accepts credentials that were unknown before."""
        if self._sharing.is_alone:
            return
        self._accepted[credentials] = None
        if len(self._accepted) > MOST_UNSAID:
            self._accepted.popitem(last=False)
        self._soon()

    def used(self, rate: TokenBuckets, key: bytes, now: float) -> None:
        """Report a token that was taken."""
        if rate.per_s and not self._sharing.is_alone and self._unsaid[rate].add(key, now, self._workers()):
            self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(self._heartbeat_s, self._say)

    def _say(self) -> None:
        self._timer = None
        now, workers = self._clock.seconds(), self._workers()
        used = TokensUsed(self._credentials.take(now, workers), self._addresses.take(now, workers))
        if used.credentials or used.addresses:
            self._sharing.say(used)
        if self._accepted:
            most = min(MOST_KEYS, len(self._accepted))
            self._sharing.say(
                CredentialsAccepted(tuple(self._accepted.popitem(last=False)[0] for _ in range(most)))
            )
        # Reports that did not fit into this message go into the next.
        if self._accepted or MOST_KEYS in (len(used.credentials), len(used.addresses)):
            self._soon()

    def stop(self) -> None:
        """Cancel the next report; what it would have held is never sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
