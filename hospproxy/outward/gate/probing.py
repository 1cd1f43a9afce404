"""Probes: while HOSP is gone, the contract's own question is asked again and again, to know when it is back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...contract import Operation
from ...errors import ProxyError
from ...interfaces import IMeter
from ...messages import Call, Client, Exchange, Priority, Request, Response
from .breaker import State
from .rules import PROBE

_log = Logger()


class Probed(Protocol):
    """What a prober needs of the gate."""

    @property
    def state(self) -> State:
        """Whether HOSP is taken to be there."""

    @property
    def has_room(self) -> bool:
        """Whether a probe would find a place."""

    def try_again(self) -> None:
        """There is no probe: let a few through."""


class Prober:
    """Asks whether HOSP is there, from when it is gone until it is back; otherwise it does nothing at all.

    Probes go through the chain: each takes a place at HOSP and has its record, and what it says reaches whoever else
    learns from HOSP's answers and silences. One may hang, so the next does not wait for it.

    :param ask: Chain.ask.
    :param operation: what to ask; None if the contract names nothing.
    :param wall: seconds since the epoch, for records.
    :param every_s: seconds from one probe to the next.
    :param timeout_s: seconds that each may take.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ask: Callable[..., Awaitable[Response]],
        operation: Operation | None,
        wall: Callable[[], float],
        meter: IMeter,
        *,
        every_s: float = 2.0,
        timeout_s: float = 8.0,
    ) -> None:
        self._clock = clock
        self._ask = ask
        self._operation = operation
        self._wall = wall
        self._meter = meter
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._next: IDelayedCall | None = None
        self._asking: dict[Deferred[bool], None] = {}  # no set: their order must not be that of addresses
        self._count = 0
        self._stopped = False

    def begin(self, gate: Probed) -> None:
        """HOSP is gone. A false alarm is over at once: the first probe waits for nothing."""
        if self._next is None and not self._stopped:
            first_s = 0.0 if self._operation is not None else self._every_s
            self._next = self._clock.callLater(first_s, self._turn, gate)

    def stop(self) -> None:
        """Ask no more, and give up what is under way."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._give_up()

    def _give_up(self) -> None:
        """End what is under way: a probe that hangs holds a place."""
        for probe in list(self._asking):
            probe.cancel()

    def _turn(self, gate: Probed) -> None:
        self._next = None
        if gate.state is State.CLOSED:
            return
        self._next = self._clock.callLater(self._every_s, self._turn, gate)
        if self._operation is None:
            gate.try_again()
        elif gate.has_room:
            probe = Deferred.fromCoroutine(self._probe(self._operation))
            self._asking[probe] = None
            probe.addBoth(self._over, probe)

    def _over(self, outcome: bool | Failure, probe: Deferred[bool]) -> None:
        self._asking.pop(probe, None)
        if outcome is True:
            # HOSP is there: those that went before this one and still hang keep others from their places.
            self._give_up()
        elif isinstance(outcome, Failure) and not outcome.check(CancelledError):
            _log.failure("a probe failed", outcome)

    async def _probe(self, operation: Operation) -> bool:
        """Whether there was an answer."""
        self._count += 1
        now = self._clock.seconds()
        # Nobody's request made it necessary; the record has its number.
        nobody = Exchange(
            Request(client=Client(request_id=f"probe-{self._count}", scheme="http")), now, self._wall(), now
        )
        try:
            response = await self._ask(
                Call(operation),
                on_behalf_of=nobody,
                own=PROBE,
                priority=Priority.WRITE,
                deadline=now + self._timeout_s,
                past_cache=True,
            )
        except ProxyError:
            self._meter.count("breaker_events_total", event="probe_failed")
            return False
        _log.info("HOSP answers a probe with {status}", status=response.status)
        self._meter.count("breaker_events_total", event="probe_answered")
        return True
