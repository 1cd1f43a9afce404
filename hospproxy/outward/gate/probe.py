"""Probes: while HOSP is down, send the contract's probe operation at intervals, to see when HOSP is back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...contract.contract import Operation
from ...exchange.exchange import Call, Deadline, Exchange
from ...http.errors import ProxyError
from ...http.messages import Client, Priority, Request
from ...interfaces import Ask, IMeter
from ...options.gate_section import BreakerSettings
from ...process.background import Background
from .breaker import BreakerState
from .rules import PROBE

_log = Logger()


class ProbedGate(Protocol):
    """What the prober needs from the gate."""

    @property
    def state(self) -> BreakerState:
        """State of the breaker; closed means that HOSP counts as up."""

    @property
    def has_room(self) -> bool:
        """Whether this process may send a probe now, and has a slot for it."""

    def try_again(self) -> None:
        """There is no probe operation: let a few requests through."""


class Prober:
    """Sends probes from the moment HOSP is down until it is back. Does nothing otherwise.

    Probes go through the chain: each takes a slot at HOSP and has its record, and every part that learns from HOSP's
    responses and silences sees them. A probe may hang, so the next one does not wait for it.

    :param ask: ``OwnRequests.ask``.
    :param operation: the probe operation; None if the contract names none.
    :param wall: seconds since the epoch, for records.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ask: Ask,
        operation: Operation | None,
        wall: Callable[[], float],
        meter: IMeter,
        settings: BreakerSettings,
    ) -> None:
        self._clock = clock
        self._ask = ask
        self._operation = operation
        self._wall = wall
        self._meter = meter
        self._every_s = settings.probe_every_s
        self._timeout_s = settings.probe_timeout_s
        self._next: IDelayedCall | None = None
        self._probes = Background(
            _log,
            "probe of HOSP: unexpected error, the next probe follows; this is a bug: report the traceback",
            meter,
        )
        self._count = 0
        self._stopped = False

    def reload(self, settings: BreakerSettings) -> None:
        """Apply changed options, from the next probe on."""
        self._every_s = settings.probe_every_s
        self._timeout_s = settings.probe_timeout_s

    def begin(self, gate: ProbedGate) -> None:
        """Start probing: HOSP is down. The first probe starts at once, so a false alarm ends at once."""
        if self._next is None and not self._stopped:
            first_s = 0.0 if self._operation is not None else self._every_s
            self._next = self._clock.callLater(first_s, self._turn, gate)

    def stop(self) -> None:
        """Stop probing, and cancel the probes in flight."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._give_up()

    def _give_up(self) -> None:
        """Cancel the probes in flight: a probe that hangs holds a slot."""
        self._probes.stop()

    def _turn(self, gate: ProbedGate) -> None:
        self._next = None
        if gate.state is BreakerState.CLOSED:
            return
        self._next = self._clock.callLater(self._every_s, self._turn, gate)
        if self._operation is None:
            gate.try_again()
        elif gate.has_room:
            self._probes.run(self._probe(self._operation), self._over)

    def _over(self, outcome: object) -> None:
        if outcome is True:
            # HOSP is up. Earlier probes that still hang block slots.
            self._give_up()

    async def _probe(self, operation: Operation) -> bool:
        """Send one probe. Returns whether HOSP responded."""
        self._count += 1
        now = self._clock.seconds()
        # No client's request caused this probe; the audit record has its number.
        request = Request(client=Client(request_id=f"probe-{self._count}", scheme="http"))
        call = Call(operation)
        nobody = Exchange(request, now, self._wall(), Deadline(now)).called(call, Priority.WRITE).identified()
        try:
            response = await self._ask(
                call,
                on_behalf_of=nobody,
                own=PROBE,
                priority=Priority.WRITE,
                deadline=now + self._timeout_s,
                past_cache=True,
            )
        except ProxyError:
            self._meter.count("breaker_events_total", event="probe_failed")
            return False
        _log.info("HOSP: responded to a probe with status {status}", status=response.status)
        self._meter.count("breaker_events_total", event="probe_answered")
        return True
