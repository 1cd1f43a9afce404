"""The open connections: how many, whose time is up, and how they end when the proxy stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime

SWEEP_S: Final = 0.25
"""How often clocks are looked at, in seconds: a limit is overrun by at most this much."""


SHED_AFTER_S: Final = 5.0
"""Seconds that a client may hold memory before it counts as slow when memory is short."""


class Tracked(Protocol):
    """A connection, as seen from here."""

    def is_overdue(self, now: float) -> bool:
        """Whether one of its clocks has run out."""

    def time_out(self) -> None:
        """Act on that."""

    @property
    def stuck_since(self) -> float | None:
        """Since when it holds memory for a client that is not ready; None if it does not."""

    def shed(self) -> None:
        """Let go of it: memory is short, and this is one of the slowest."""

    def wind_down(self) -> None:
        """Answer what is under way, take nothing new, close."""

    def abort(self) -> None:
        """Close without another word."""


class Connections:
    """Every open connection of the process, over all listeners.

    One sweep looks at all clocks: starting and cancelling a timer for each request costs more than it saves.

    :param clock: monotonic.
    :param pressed: whether memory is short.
    """

    def __init__(self, clock: IReactorTime, pressed: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._pressed = pressed
        self._open: dict[Tracked, None] = {}  # no set: their order must not be that of addresses
        self._sweep_call: IDelayedCall | None = None
        self._emptied: list[Deferred[None]] = []
        self.draining = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Tracked) -> None:
        self._open[connection] = None
        if self._sweep_call is None:
            self._sweep_call = self._clock.callLater(SWEEP_S, self._sweep)

    def discard(self, connection: Tracked) -> None:
        self._open.pop(connection, None)
        if self._open:
            return
        if self._sweep_call is not None:
            self._sweep_call.cancel()
            self._sweep_call = None
        waiting, self._emptied = self._emptied, []
        for deferred in waiting:
            deferred.callback(None)

    def _sweep(self) -> None:
        self._sweep_call = None
        now = self._clock.seconds()
        for connection in [each for each in self._open if each.is_overdue(now)]:
            connection.time_out()
        if self._pressed():
            self._shed(now - SHED_AFTER_S)
        if self._open and self._sweep_call is None:
            self._sweep_call = self._clock.callLater(SWEEP_S, self._sweep)

    def _shed(self, before: float) -> None:
        """Send the slowest away, those first that have been slow for longest, until there is room."""
        stuck = [(since, each) for each in self._open if (since := each.stuck_since) is not None]
        for since, connection in sorted(stuck, key=lambda pair: pair[0]):
            if since > before or not self._pressed():
                return
            connection.shed()

    def drain(self, deadline_s: float) -> Deferred[None]:
        """Let every connection finish what it is answering; cut off what is still open at the deadline.

        :param deadline_s: seconds from now.
        :return: fires when none is open any more.
        """
        self.draining = True
        for connection in list(self._open):
            connection.wind_down()
        if not self._open:
            return succeed(None)
        late = self._clock.callLater(deadline_s, self._abort_all)
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)

        def cancel_deadline(_: None) -> None:
            if late.active():
                late.cancel()

        return emptied.addCallback(cancel_deadline)

    def _abort_all(self) -> None:
        for connection in list(self._open):
            connection.abort()


async def stop(ports: Iterable[IListeningPort], connections: Connections, deadline_s: float) -> None:
    """Stop listening, then drain.

    :param deadline_s: seconds for the answers that are under way.
    """
    for closing in [maybeDeferred(port.stopListening) for port in ports]:
        await closing
    await connections.drain(deadline_s)
