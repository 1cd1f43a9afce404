"""Leases: how long a worker may serve from the cache, and how long a writer waits without Redis. Pure rules.

The owner counts its lease from the moment it sent the heartbeat; Redis counts from the later moment the heartbeat ran
there. So when a lease has run out in Redis, its owner has already stopped serving.
"""

from __future__ import annotations

import math

from attrs import field, frozen

NEVER = -math.inf


@frozen(slots=True, kw_only=True)
class Timing:
    """The durations on which leases and heartbeats are based, in seconds.

    :param heartbeat_s: between two heartbeats.
    :param lease_s: for which a worker serves from the cache after a heartbeat.
    :param timeout_s: after which an unanswered command can no longer take effect.
    :param settle_s: after the start of an epoch, during which no worker serves from the cache.
    :param vanished_s: for which a member that is silent keeps the others from serving from the cache.
    """

    heartbeat_s: float = 0.5
    lease_s: float = 2.0
    timeout_s: float = 0.5
    settle_s: float = 5.0
    vanished_s: float = 300.0

    @property
    def held_s(self) -> float:
        """A lease as Redis and waiting writers count it: a little longer, since two clocks drift apart."""
        return self.lease_s * 1.01 + 0.02

    @property
    def held_ms(self) -> int:
        """``held_s`` in whole milliseconds, rounded up, as the scripts take it."""
        return math.ceil(self.held_s * 1000)

    @property
    def settle_ms(self) -> int:
        """``settle_s`` in milliseconds, at least a lease: leases from before the epoch must have run out."""
        return max(math.ceil(self.settle_s * 1000), self.held_ms)


@frozen(slots=True)
class Lease:
    """This worker's own lease. All moments are monotonic seconds of this process.

    :param until: the worker may serve from the cache before this moment.
    :param effect: the latest moment at which a finished heartbeat may have taken effect; at first, the start.
    :param pending: the same for the heartbeat in flight.
    """

    timing: Timing
    until: float = NEVER
    effect: float = field(default=NEVER)
    pending: float = NEVER

    def sent(self, now: float) -> Lease:
        """Return the lease after a heartbeat was sent."""
        return self._with(self.until, self.latest_effect, now + self.timing.timeout_s)

    def answered(self, now: float) -> Lease:
        """Return the lease after the heartbeat was answered: it took effect before now, never later."""
        return self._with(self.until, max(self.effect, min(self.pending, now)), NEVER)

    def granted(self, sent: float) -> Lease:
        """Extend the lease: the news of a heartbeat were applied, and no member holds this worker back.

        :param sent: when that heartbeat was sent.
        """
        return self._with(max(self.until, sent + self.timing.lease_s), self.effect, self.pending)

    def ended(self) -> Lease:
        """End the lease: this worker could not apply the news."""
        return self._with(NEVER, self.effect, self.pending)

    def holds(self, now: float) -> bool:
        """Whether the worker may serve from the cache."""
        return now < self.until

    @property
    def latest_effect(self) -> float:
        """The moment after which no heartbeat sent so far can take effect."""
        return max(self.effect, self.pending)

    @property
    def safe_at(self) -> float:
        """The moment from which no worker serves what a message put in now invalidates, even if none ever reads it.

        Only heartbeats after now carry the message. If none takes effect, this worker's lease runs out in Redis; from
        then on the others get no new leases, and those they had run out one lease later. A heartbeat that does take
        effect carries the message.
        """
        return self.latest_effect + 2 * self.timing.held_s

    def _with(self, until: float, effect: float, pending: float) -> Lease:
        return Lease(self.timing, until, effect, pending)
