"""The gate: every attempt takes one of the few slots at HOSP, or waits for one in a bounded queue."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...exchange.exchange import Identified
from ...http.errors import BadAnswer, BreakerOpen, FailedAfterSending, NotSent, OverCapacity, ProxyError
from ...http.late_responses import AbandonedAttempt
from ...http.messages import Priority, Response
from ...http.retry_after import retry_after_s
from ...interfaces import IMeter, IProcessor, Proceed
from ...options.gate_section import BreakerSettings, GateSettings
from ...process.background import Background
from .breaker import Breaker, BreakerState
from .estimate import Estimate
from .in_flight_file import InFlightStore, NoInFlightStore
from .limit import Limit
from .queue import Queue, SlotRefusal, Ticket, TicketState
from .rules import FEW, MOST_REST_S, OPINION_S, PROBE, WORDS
from .signs import AttemptSign, Outcome, sign_of, tell
from .slots import AllSlots, Slots, SlotUse
from .stall import StallDetector

_log = Logger()


@implementer(IProcessor)
class Gate:
    """Limits the attempts in flight at HOSP. Each attempt enters anew, so a request holds no slot during backoff.

    :param clock: monotonic; ``Exchange.deadline`` is in its time.
    :param opened: called with this gate when the breaker opens; starts the search for when HOSP is back.
    :param places: the slots at HOSP of this process. Default: all.
    :param in_hand: stores what is in flight at HOSP beyond the end of this process. Default: nothing does.
    :ivar stall: whether HOSP is silent for longer than usual.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: GateSettings,
        breaker: BreakerSettings,
        meter: IMeter,
        opened: Callable[[Gate], None] | None = None,
        places: Slots | None = None,
        in_hand: InFlightStore | None = None,
    ) -> None:
        self._clock = clock
        self._meter = meter
        self._settings = settings
        self._away_retry_after_s = math.ceil(breaker.probe_every_s) + 1
        self._opened = opened
        self._in_hand: InFlightStore = NoInFlightStore() if in_hand is None else in_hand
        self._places = AllSlots(settings.concurrency) if places is None else places
        self._queue = Queue(min(settings.concurrency, self._places.usable), settings.max_queue)
        self._limit = Limit(settings.concurrency)
        self.stall = StallDetector(clock, meter, settings.finish_s)
        self._estimate = Estimate()
        self._breaker = Breaker(breaker.failures, settings.slow_s) if breaker.enabled else None
        self._waiters: dict[Ticket, tuple[Deferred[None], IDelayedCall]] = {}
        self._letting_in = False
        self._judged: float | None = None
        self._held: dict[Ticket, AbandonedAttempt] = {}
        message = "gate: could not process the end of an attempt that outlived its client (a bug): report the traceback"
        self._background = Background(_log, message, meter)
        self._probes: dict[Ticket, None] = {}
        self._probed_at = self._heard_at = -math.inf
        self._resting_until = -math.inf
        self._places.attach(self)
        meter.gauge("gate_in_flight", lambda: self._queue.in_flight)
        meter.gauge("gate_left_behind", lambda: float(len(self._held)))
        meter.gauge("gate_waiting", lambda: self._queue.waiting)
        meter.gauge("gate_limit", lambda: self._queue.limit)
        meter.gauge("gate_surge", lambda: float(self._queue.surge.going_on(clock.seconds())))
        meter.gauge("breaker_open", lambda: float(self.state is not BreakerState.CLOSED))

    def reload(self, settings: GateSettings, breaker: BreakerSettings) -> None:
        """Apply changed options. Requests keep their slots and their places in the queue."""
        self._settings = settings
        self._away_retry_after_s = math.ceil(breaker.probe_every_s) + 1
        self._queue.max_waiting = settings.max_queue
        self._limit.reload(settings.concurrency)
        self.stall.reload(settings.finish_s)
        if self._breaker is not None:
            self._breaker.reload(breaker.failures, settings.slow_s)
        self.told()

    @property
    def state(self) -> BreakerState:
        """The breaker's state; closed if there is no breaker."""
        return BreakerState.CLOSED if self._breaker is None else self._breaker.state

    @property
    def has_room(self) -> bool:
        """Whether this process may send a probe now, and has a slot for it.

        A probe takes one of the free slots and never waits. While earlier probes hang, more time must pass between two
        of them. Otherwise they would soon hold all slots, and none would be left to see HOSP come back.
        """
        mine = min(self._settings.concurrency, self._places.owned)
        if self._queue.in_flight >= mine or self._places.turn != 0:
            return False
        return not self._probes or self._clock.seconds() - self._probed_at >= self._settings.finish_s / mine

    def try_again(self) -> None:
        """Let a few attempts through to see whether HOSP is back. For a contract without a probe."""
        if self._breaker is not None:
            self._moved(lambda breaker, now: breaker.try_again(now))

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        """Wait for a slot, pass the request on, and free the slot in every case.

        :raise BreakerOpen: HOSP is down; nothing was sent.
        :raise OverCapacity: no slot in time, or the queue is full; nothing was sent.
        """
        ticket = self._ticket(exchange)
        if exchange.own == PROBE:
            if not self.has_room:
                raise self._refused(ticket, SlotRefusal.FULL)
            self._queue.admit(ticket)
            self._probes[ticket] = None
            self._probed_at = self._clock.seconds()
        elif (turn := self._place(ticket)) is not None:
            self._places.changed()
            await turn
        return await self._attempt(exchange, proceed, ticket)

    def inherit(self, sent: Iterable[float], longest_s: float | None = None) -> None:
        """Hold slots for the attempts that a killed process left in flight, until HOSP must have finished them.

        :param sent: monotonic seconds at which each was sent. A time in the future comes from before a reboot.
        :param longest_s: seconds within which HOSP has responded recently, if known.
        """
        lasts_s = min(self._settings.finish_s, self._settings.finish_s if longest_s is None else longest_s)
        for at in list(sent)[: self._settings.concurrency]:
            left_s = at + lasts_s - self._clock.seconds()
            if 0 < left_s <= lasts_s:
                ticket = Ticket(Priority.WRITE, math.inf)
                self._queue.admit(ticket)
                self._in_hand.begin(ticket, at)
                over: Deferred[Any] = task.deferLater(self._clock, left_s, self._give_back, ticket)
                self._held[ticket] = AbandonedAttempt(over, heard=False)

    def using(self) -> SlotUse:
        """How the gate uses its slots now."""
        judged = self._judged is not None and self._clock.seconds() - self._judged < OPINION_S
        return SlotUse(
            self._queue.in_flight,
            self._queue.waiting,
            self._limit.now if judged else self._limit.ceiling,
            None if self._breaker is None else self._breaker.evidence,
            self.state is BreakerState.OPEN,
        )

    def told(self) -> None:
        """The number of slots of this process may have changed."""
        self._set_limit()
        self._let_in()

    def heard(self, state: BreakerState, at: float) -> None:
        """Another process has seen whether HOSP is up.

        :param at: when it saw that, in monotonic seconds of this process.
        """
        self._moved(lambda breaker, now: breaker.heard(state, at, now))

    def _ticket(self, exchange: Identified) -> Ticket:
        now = self._clock.seconds()
        useful_until = exchange.deadline
        if self._queue.full:
            useful_until -= self._estimate.reserve_s(max(0.0, exchange.deadline - now))
        return self._queue.ticket(exchange.priority, useful_until, exchange.credentials, now)

    def _place(self, ticket: Ticket) -> Deferred[None] | None:
        """Take a slot, or wait for one: the result fires when the request gets it; None: it has it."""
        now = self._clock.seconds()
        if self.state is BreakerState.OPEN:
            raise self._away()
        if self._queue.full and self._in_vain(ticket, now):
            raise self._refused(ticket, SlotRefusal.IN_VAIN)
        refusal, pushed_out = self._queue.enter(ticket, now)
        if refusal is not None:
            raise self._refused(ticket, refusal)
        # Before the callbacks below: what they do may already give this request its slot.
        turn = self._turn(ticket) if ticket.standing is TicketState.WAITING else None
        if pushed_out is not None:
            self._turn_away(pushed_out, self._refused(pushed_out, SlotRefusal.PUSHED_OUT))
        return turn

    def _in_vain(self, ticket: Ticket, now: float) -> bool:
        ahead = self._queue.ahead_of(ticket, now)
        left_s = ticket.deadline - now - self._queue.overtaken_s(ticket)
        if self._places.hopeless or now + self._places.wait_s > ticket.deadline:
            return True
        return self._estimate.in_vain(ahead, self._expected(), left_s)

    def _expected(self) -> int:
        """The number of slots to use in estimates, at least one."""
        return self._at_most(self._places.expected) or 1

    def _at_most(self, places: int) -> int:
        """How many of these slots HOSP can take now."""
        most = min(self._limit.now, places)
        if self._resting_until > -math.inf and self._clock.seconds() < self._resting_until:
            most = min(most, 1)
        if self.state is not BreakerState.HALF_OPEN:
            return most
        few = sum(1 for one in range(FEW) if one % self._places.workers == self._places.turn)
        return min(most, few)

    def _rest(self, seconds: float) -> None:
        """HOSP asked for a pause (Retry-After): allow one attempt at a time, to see when HOSP has recovered."""
        seconds = min(seconds, MOST_REST_S)
        until = self._clock.seconds() + seconds
        if seconds > 0 and until > self._resting_until:
            self._resting_until = until
            self._clock.callLater(seconds, self.told)

    def _set_limit(self) -> None:
        self._queue.limit = self._at_most(self._places.usable)

    async def _attempt(self, exchange: Identified, proceed: Proceed, ticket: Ticket) -> Response:
        """Run one attempt and free its slot at the end of HOSP's work, which may come after the client has left."""
        began = self._clock.seconds()
        self.stall.sent(ticket)
        self._in_hand.begin(ticket, began)
        if self._breaker is not None:
            self._breaker.asked(began)
        try:
            response = await proceed(exchange)
            self._learn(exchange, response, began)
            return response
        except (NotSent, FailedAfterSending, BadAnswer) as error:
            if exchange.last_attempt.left_behind is None or not exchange.last_attempt.left_behind.heard:
                self._learn(exchange, error, began)
            raise
        finally:
            left, exchange.last_attempt.left_behind = exchange.last_attempt.left_behind, None
            if left is None or not left.heard:
                self._ended(ticket)
            if left is None:
                self._give_back(ticket)
            else:
                self._hold(left, exchange, ticket, began)

    def _hold(self, left: AbandonedAttempt, exchange: Identified, ticket: Ticket, began: float) -> None:
        """Hold the slot until HOSP has finished the attempt, and learn from its outcome."""

        def over(outcome: Response | ProxyError | Failure | None) -> None:
            del self._held[ticket]
            try:
                if left.heard and isinstance(outcome, (Response, NotSent, FailedAfterSending, BadAnswer)):
                    self._learn(exchange, outcome, began)
            finally:
                if left.heard:
                    self._ended(ticket)
                self._give_back(ticket)

        self._held[ticket] = left
        self._background.run(left.over, over)
        if ticket in self._probes and self._heard_at >= began:
            left.over.cancel()

    def _finish_probes(self) -> None:
        """HOSP has responded to something, so cancel the probes that hang: they cost HOSP no work and block slots."""
        for ticket in [ticket for ticket in self._probes if ticket in self._held]:
            self._held[ticket].over.cancel()

    def _give_back(self, ticket: Ticket) -> None:
        self._held.pop(ticket, None)
        self._probes.pop(ticket, None)
        self._in_hand.end(ticket)
        self._queue.leave(ticket)
        self._let_in()
        self._places.changed()

    def _ended(self, ticket: Ticket) -> None:
        """One attempt less waits for HOSP."""
        self.stall.over(ticket)
        if self._breaker is not None:
            self._breaker.ended(self._clock.seconds())

    def _learn(self, exchange: Identified, outcome: Outcome, began: float) -> None:
        """Learn from an attempt: how long HOSP takes, how much load it can take, whether it is up."""
        now, probe = self._clock.seconds(), exchange.own == PROBE
        sign = sign_of(
            outcome,
            lasted_s=now - began,
            cut_short=now >= exchange.deadline,
            slow_s=self._settings.slow_s,
        )
        if sign in (AttemptSign.WELL, AttemptSign.THERE, AttemptSign.OVERLOADED):
            self._heard_at = now
            self.stall.answered(now - began if sign is AttemptSign.WELL and not probe else None)
            self._in_hand.learn(self.stall.longest_s)
            self._finish_probes()
        if isinstance(outcome, Response) and sign is AttemptSign.OVERLOADED:
            self._rest(retry_after_s(outcome.headers) or 0.0)
        if not probe:
            if sign in (AttemptSign.WELL, AttemptSign.SILENT):
                self._estimate.learn(now - began, self._limit.now)
            if sign is AttemptSign.WELL:
                self._judged = now
                if isinstance(outcome, Response) and outcome.status < 400:
                    self._queue.surge.accepted(exchange.credentials, now)
                self._limit.well(max(1.0, self._limit.now / self._places.expected))
            elif sign in (AttemptSign.OVERLOADED, AttemptSign.GONE, AttemptSign.SILENT):
                self._judged = now
                self._limit.overloaded(began, now)
        self._moved(lambda breaker, now: tell(breaker, sign, began, now, probe=probe))

    def _moved(self, news: Callable[[Breaker, float], None]) -> None:
        """Report an event to the breaker, and act on a change of its state."""
        breaker, now = self._breaker, self._clock.seconds()
        if breaker is not None:
            before = breaker.state
            news(breaker, now)
            if breaker.state is not before:
                self._meter.count("breaker_events_total", event=breaker.state.value)
                _log.warn(
                    "HOSP: the breaker changed from {before} to {now}",
                    before=before.value,
                    now=self.state.value,
                )
                if breaker.state is BreakerState.CLOSED:
                    self._limit.begin_anew(now)
                elif before is BreakerState.CLOSED and self._opened is not None:
                    self._opened(self)
        self._set_limit()
        if self.state is BreakerState.OPEN:
            for ticket in self._queue.all_waiting():
                # An errback of an earlier ticket may have cancelled this one.
                if ticket.standing is TicketState.WAITING:
                    self._turn_away(ticket, self._away())
        else:
            self._let_in()

    def _turn(self, ticket: Ticket) -> Deferred[None]:
        """Fires when the request gets a slot. Cancel it to leave the queue at once."""

        def give_up(_: Deferred[None]) -> None:
            self._queue.leave(ticket)
            self._forget(ticket)

        def late() -> None:
            self._turn_away(ticket, self._refused(ticket, SlotRefusal.DEADLINE))

        waiting: Deferred[None] = Deferred(give_up)
        timer = self._clock.callLater(max(0.0, ticket.deadline - self._clock.seconds()), late)
        self._waiters[ticket] = waiting, timer
        return waiting

    def _let_in(self) -> None:
        """Give the free slots to the next requests in the queue.

        A request that gets a slot may fail and leave while this method is still running. The nested call then returns
        at once and leaves the rest to the outer call; otherwise a long queue would become a deep stack.
        """
        if self._letting_in or not self._queue.waiting:
            return
        self._letting_in = True
        try:
            while self.state is not BreakerState.OPEN and (ticket := self._queue.next(self._clock.seconds())):
                if ticket.standing is TicketState.IN:
                    self._forget(ticket).callback(None)
                else:
                    self._turn_away(ticket, self._refused(ticket, SlotRefusal.DEADLINE))
        finally:
            self._letting_in = False

    def _turn_away(self, ticket: Ticket, why: OverCapacity) -> None:
        self._queue.leave(ticket)
        self._forget(ticket).errback(why)

    def _forget(self, ticket: Ticket) -> Deferred[None]:
        waiting, timer = self._waiters.pop(ticket)
        if timer.active():
            timer.cancel()
        return waiting

    def _refused(self, ticket: Ticket, refusal: SlotRefusal) -> OverCapacity:
        self._meter.count("gate_refused_total", reason=refusal.value)
        ahead = self._queue.ahead_of(ticket, self._clock.seconds())
        after_s = self._estimate.retry_after_s(ahead, self._expected(), self._places.wait_s)
        return OverCapacity(WORDS[refusal], retry_after_s=after_s)

    def _away(self) -> BreakerOpen:
        self._meter.count("gate_refused_total", reason="away")
        return BreakerOpen(retry_after_s=self._away_retry_after_s)
