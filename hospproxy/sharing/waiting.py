"""Those who wait until what they have said can be served against by nobody."""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .lease import Timing
from .members import View


@define(slots=True, eq=False)
class _Waiter:
    """:param ticket: of the outbox, with what it has said.
    :param timer: when it is safe, whatever is heard.
    :param epoch: in whose log it is, as number ``seq`` or before; None: that is not known."""

    ticket: int
    done: Deferred[None]
    timer: IDelayedCall
    epoch: bytes | None = None
    seq: int = 0


class Waiting:
    """There are no more of them than there are writes in the house.

    :param clock: monotonic time.
    :param own: this worker's member id.
    """

    def __init__(self, clock: IReactorTime, timing: Timing, own: bytes) -> None:
        self._clock = clock
        self._timing = timing
        self._own = own
        self._waiters: list[_Waiter] = []

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def for_others(self) -> bool:
        """Whether somebody waits only for others to read what is in the log."""
        return any(one.epoch is not None for one in self._waiters)

    async def until(self, ticket: int, safe_at: float) -> None:
        """Wait for it.

        :param ticket: of the outbox, after what was said was put into it.
        :param safe_at: monotonic seconds at which it is safe without having heard from anybody.
        """
        done: Deferred[None] = Deferred()
        patience = max(0.0, safe_at - self._clock.seconds())
        waiter = _Waiter(ticket, done, self._clock.callLater(patience, _fire, done))
        self._waiters.append(waiter)
        try:
            await done
        except CancelledError:
            raise
        finally:
            self._waiters.remove(waiter)
            if waiter.timer.active():
                waiter.timer.cancel()

    def confirmed(self, ticket: int, epoch: bytes, seq: int) -> None:
        """What was put into the outbox up to a ticket is in the log: whoever beats from now on, reads it.

        :param seq: the number of the last of it.
        """
        for one in self._waiters:
            if one.ticket > ticket or one.epoch is not None:
                continue
            one.epoch, one.seq = epoch, seq
            # Leases from before it run out so long after it at the latest, whoever has read it.
            latest = self._clock.seconds() + self._timing.held_s
            if one.timer.active() and one.timer.getTime() > latest:
                one.timer.reset(self._timing.held_s)

    def check(self, view: View) -> None:
        """The members have been seen, at a moment after what is confirmed was in the log."""
        now = self._clock.seconds()
        for one in list(self._waiters):
            if one.epoch == view.epoch and view.have_read(self._own, one.seq, self._timing.held_ms, now):
                _fire(one.done)


def _fire(done: Deferred[None]) -> None:
    if not done.called:
        done.callback(None)
