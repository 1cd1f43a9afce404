"""Writers that wait until no other worker can serve what their news have invalidated."""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..options.redis_section import RedisSettings
from .members import MembersView


@define(slots=True, eq=False)
class _Waiter:
    """One writer that waits until the others cannot serve what it has changed.

    :param ticket: of the outbox, after its news were put in.
    :param timer: fires when it is safe even without a word from the others.
    :param epoch: the epoch whose log holds the news, as number ``seq`` or before; None: not known to be in a log.
    """

    ticket: int
    done: Deferred[None]
    timer: IDelayedCall
    epoch: bytes | None = None
    seq: int = 0


class LeaseWait:
    """The waiting writers of this worker; never more than there are writes in flight.

    :param clock: monotonic time.
    :param own: this worker's member id.
    """

    def __init__(self, clock: IReactorTime, timing: RedisSettings, own: bytes) -> None:
        self._clock = clock
        self._timing = timing
        self._own = own
        self._waiters: list[_Waiter] = []

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def for_others(self) -> bool:
        """Whether a writer waits only for the others to read its news, which are in the log."""
        return any(one.epoch is not None for one in self._waiters)

    async def until(self, ticket: int, safe_at: float) -> None:
        """Wait until no other worker can serve what the news have invalidated.

        :param ticket: of the outbox, after the news were put in.
        :param safe_at: monotonic seconds from which it is safe without any reply from the others.
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
        """Note that the news up to a ticket are in the log: every heartbeat from now on reads them.

        :param seq: the number of the last of their entries.
        """
        for one in self._waiters:
            if one.ticket > ticket or one.epoch is not None:
                continue
            one.epoch, one.seq = epoch, seq
            # Leases granted before that run out within ``held_s``, read or not.
            latest = self._clock.seconds() + self._timing.held_s
            if one.timer.active() and one.timer.getTime() > latest:
                one.timer.reset(self._timing.held_s)

    def check(self, view: MembersView) -> None:
        """Release the writers whose news the others have read; call it with each new view of the members."""
        now = self._clock.seconds()
        for one in list(self._waiters):
            if one.epoch == view.epoch and view.have_read(self._own, one.seq, self._timing.held_ms, now):
                _fire(one.done)


def _fire(done: Deferred[None]) -> None:
    if not done.called:
        done.callback(None)
