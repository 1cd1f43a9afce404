"""The gate: every attempt to reach HOSP takes one of few places, or waits for one in a bounded queue."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from ..errors import OverCapacity
from ..interfaces import IMeter, IProcessor, Proceed
from ..messages import Exchange, Response
from .queue import Queue, Refusal, ServiceTime, Standing, Ticket

_WORDS = {
    Refusal.FULL: "Too many requests are waiting for the upstream server.",
    Refusal.PUSHED_OUT: "Too many requests are waiting for the upstream server.",
    Refusal.DEADLINE: "The upstream server had no place for this request in time.",
}


@implementer(IProcessor)
class Gate:
    """Lets so many attempts through at one time. Each attempt passes it anew, so none is held during back-off.

    :param clock: monotonic; Exchange.deadline is by it.
    :param concurrency: places at HOSP, which has one core.
    :param max_queue: the most that may wait for one.
    """

    def __init__(self, clock: IReactorTime, concurrency: int, max_queue: int, meter: IMeter) -> None:
        self._clock = clock
        self._meter = meter
        self._queue = Queue(concurrency, max_queue)
        self._times = ServiceTime()
        self._waiters: dict[Ticket, tuple[Deferred[None], IDelayedCall]] = {}
        self._letting_in = False
        meter.gauge("gate_in_flight", lambda: self._queue.in_flight)
        meter.gauge("gate_waiting", lambda: self._queue.waiting)

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        """Wait for a place, go on, give it back whatever happens.

        :raise OverCapacity: no place in time, or none left to wait in; nothing was sent.
        """
        ticket = Ticket(exchange.priority, exchange.deadline)
        refusal, pushed_out = self._queue.enter(ticket, self._clock.seconds())
        if refusal is not None:
            raise self._refused(ticket, refusal)
        # Before anybody else is told anything: what they do about it may already let this one in.
        turn = self._turn(ticket) if ticket.standing is Standing.WAITING else None
        if pushed_out is not None:
            self._turn_away(pushed_out, Refusal.PUSHED_OUT)
        if turn is not None:
            await turn
        since = self._clock.seconds()
        try:
            return await proceed(exchange)
        finally:
            self._times.learn(self._clock.seconds() - since)
            self._queue.leave(ticket)
            self._let_in()

    def _turn(self, ticket: Ticket) -> Deferred[None]:
        """Fires when a place is taken; cancelling it leaves the queue at once."""

        def give_up(_: Deferred[None]) -> None:
            self._queue.leave(ticket)
            self._forget(ticket)

        waiting: Deferred[None] = Deferred(give_up)
        left = max(0.0, ticket.deadline - self._clock.seconds())
        timer = self._clock.callLater(left, self._turn_away, ticket, Refusal.DEADLINE)
        self._waiters[ticket] = waiting, timer
        return waiting

    def _let_in(self) -> None:
        """Fill the places that are free.

        One that goes in may come out again before it has let go of us (it failed at once): its call of this method
        then leaves the rest to the one that is under way, or a long queue would become a deep stack.
        """
        if self._letting_in:
            return
        self._letting_in = True
        try:
            while (ticket := self._queue.next(self._clock.seconds())) is not None:
                if ticket.standing is Standing.IN:
                    self._forget(ticket).callback(None)
                else:
                    self._turn_away(ticket, Refusal.DEADLINE)
        finally:
            self._letting_in = False

    def _turn_away(self, ticket: Ticket, refusal: Refusal) -> None:
        self._queue.leave(ticket)
        self._forget(ticket).errback(self._refused(ticket, refusal))

    def _forget(self, ticket: Ticket) -> Deferred[None]:
        waiting, timer = self._waiters.pop(ticket)
        if timer.active():
            timer.cancel()
        return waiting

    def _refused(self, ticket: Ticket, refusal: Refusal) -> OverCapacity:
        self._meter.count("gate_refused_total", reason=refusal.value)
        after = self._times.retry_after_s(self._queue.ahead_of(ticket.priority), self._queue.limit)
        return OverCapacity(_WORDS[refusal], retry_after_s=after)
