"""Leases: how long a worker may serve from the cache, and how long a writer waits without Redis. Pure rules.

The owner counts its lease from the moment it sent the heartbeat; Redis counts from the later moment the heartbeat ran
there. So when a lease has run out in Redis, its owner has already stopped serving.
"""

from __future__ import annotations

import math

from attrs import field, frozen

from ..options.redis_section import RedisSettings

NEVER = -math.inf


@frozen(slots=True)
class Lease:
    """This worker's own lease. All moments are monotonic seconds of this process.

    :param until: the worker may serve from the cache before this moment.
    :param effect: the latest moment at which a finished heartbeat may have taken effect; at first, the start.
    :param pending: the same for the heartbeat in flight.
    """

    timing: RedisSettings
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
