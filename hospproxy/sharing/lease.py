"""How long a worker may serve from memory, and how long a writer waits who cannot reach the others. Pure rules.

A lease counts here from the moment at which its beat was sent, and in Redis from the later one at which it ran there.
So whoever sees in Redis that a lease has run out knows that its owner stopped before.
"""

from __future__ import annotations

import math

from attrs import field, frozen

NEVER = -math.inf


@frozen(slots=True, kw_only=True)
class Timing:
    """Durations, in seconds.

    :param heartbeat_s: between two beats.
    :param lease_s: that a worker serves from memory after a beat.
    :param timeout_s: after which a command that was not answered takes effect no more.
    :param settle_s: after the beginning of an epoch: nobody serves from memory.
    :param vanished_s: that a member holds the others back who is not heard of.
    """

    heartbeat_s: float = 0.5
    lease_s: float = 2.0
    timeout_s: float = 0.5
    settle_s: float = 5.0
    vanished_s: float = 300.0

    @property
    def held_s(self) -> float:
        """A lease as Redis and those who wait count it: two clocks do not run equally fast."""
        return self.lease_s * 1.01 + 0.02

    @property
    def held_ms(self) -> int:
        """The same, in milliseconds."""
        return math.ceil(self.held_s * 1000)

    @property
    def settle_ms(self) -> int:
        """Never below a lease: leases of the life before must have run out."""
        return max(math.ceil(self.settle_s * 1000), self.held_ms)


@frozen(slots=True)
class Lease:
    """What this worker knows of its own lease. All moments are monotonic seconds of its own.

    :param until: it may serve from memory before that.
    :param effect: the latest moment at which a beat that is over may have taken effect; at first, of the start.
    :param pending: the same of the beat that is under way.
    """

    timing: Timing
    until: float = NEVER
    effect: float = field(default=NEVER)
    pending: float = NEVER

    def sent(self, now: float) -> Lease:
        """A beat is being sent."""
        return self._with(self.until, self.latest_effect, now + self.timing.timeout_s)

    def answered(self, now: float) -> Lease:
        """It was answered: it took effect before now, and never later."""
        return self._with(self.until, max(self.effect, min(self.pending, now)), NEVER)

    def granted(self, sent: float) -> Lease:
        """What a beat brought has been applied, and nobody holds this worker back.

        :param sent: when that beat was sent.
        """
        return self._with(max(self.until, sent + self.timing.lease_s), self.effect, self.pending)

    def ended(self) -> Lease:
        """It has given up what it would serve."""
        return self._with(NEVER, self.effect, self.pending)

    def holds(self, now: float) -> bool:
        """Whether it may serve from memory."""
        return now < self.until

    @property
    def latest_effect(self) -> float:
        """After this moment no beat that has been sent takes effect."""
        return max(self.effect, self.pending)

    @property
    def safe_at(self) -> float:
        """When a message that only beats after now carry cannot be served against any more, whoever hears of it.

        Others see this worker's lease run out, and get none themselves from then on; what they had before that has run
        out a lease later. A beat that takes effect meanwhile carries the message.
        """
        return self.latest_effect + 2 * self.timing.held_s

    def _with(self, until: float, effect: float, pending: float) -> Lease:
        return Lease(self.timing, until, effect, pending)
