"""Track all open connections: sweep them for missed deadlines, and drain them when the proxy stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime

SWEEP_S: Final = 0.25
"""Seconds between two checks of all deadlines; a limit may be overrun by this much."""


FIRST_REQUEST_S: Final = 2.0
"""Seconds that a drain gives connections without a request yet to send one.

A client has connected, perhaps still in its TLS handshake, and its first request is on the way. If the connection
closed now, the client could not tell whether the request was handled.
"""

SHED_AFTER_S: Final = 5.0
"""Seconds that a client may hold memory before it counts as slow when memory is short."""


class DrainableConnection(Protocol):
    """The part of a connection that ``OpenConnections`` calls."""

    def is_overdue(self, now: float) -> bool:
        """Whether the connection has missed its deadline."""

    def time_out(self) -> None:
        """Called when it has: refuse the request or close."""

    @property
    def stuck_since(self) -> float | None:
        """Monotonic time since when it holds memory for a client that does not read or send; None if it does not."""

    def shed(self) -> None:
        """Drop this connection: memory is short, and it is one of the slowest."""

    def wind_down(self) -> None:
        """Finish the request in flight, or the first one while ``in_grace``; accept no other, close."""

    def abort(self) -> None:
        """Close at once, without sending anything more."""

    @property
    def responding(self) -> bool:
        """Whether the handler, or a shortcut, owes it a response, or part of one."""

    @property
    def on_shortcut(self) -> bool:
        """Whether that response comes from a shortcut."""


class OpenConnections:
    """Every open connection of the process, over all listeners.

    One sweep checks all deadlines: starting and cancelling a timer per request would cost more than it saves.

    :param clock: monotonic.
    :param pressed: whether memory is short.
    :ivar draining: a drain has begun.
    :ivar ending: the connection closes after each response; connections without a request stay open unless
        ``draining``.
    :ivar in_grace: it began less than FIRST_REQUEST_S ago: connections without a request yet stay open.
    """

    def __init__(self, clock: IReactorTime, pressed: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._pressed = pressed
        self._open: dict[
            DrainableConnection, None
        ] = {}  # not a set: the order must not depend on memory addresses
        self._sweep_call: IDelayedCall | None = None
        self._emptied: list[Deferred[None]] = []
        self.draining = False
        self.in_grace = False
        self.ending = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: DrainableConnection) -> None:
        self._open[connection] = None
        if self._sweep_call is None:
            self._sweep_call = self._clock.callLater(SWEEP_S, self._sweep)

    def discard(self, connection: DrainableConnection) -> None:
        self._open.pop(connection, None)
        self._look_whether_empty()

    @contextmanager
    def handing_over(self, connection: DrainableConnection) -> Iterator[None]:
        """Do not count a connection while another one takes its transport over; a drain does not end in between."""
        self._open.pop(connection, None)
        try:
            yield
        finally:
            self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        if self._open:
            return
        if self._sweep_call is not None:
            self._sweep_call.cancel()
            self._sweep_call = None
        waiting, self._emptied = self._emptied, []
        for deferred in waiting:
            if not deferred.called:
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
        """Drop slow connections, longest-blocked first, until memory is no longer short."""
        stuck = [(since, each) for each in self._open if (since := each.stuck_since) is not None]
        for since, connection in sorted(stuck, key=lambda pair: pair[0]):
            if since > before or not self._pressed():
                return
            connection.shed()

    def responding(self, *, shortcuts: bool = True) -> int:
        """Return the number of connections to which a response is owed.

        :param shortcuts: also those that a shortcut answers.
        """
        return sum(each.responding and (shortcuts or not each.on_shortcut) for each in self._open)

    async def run_out(self, idle_s: float) -> None:
        """Let every connection close after its next response, or when it is idle for as long as it may be anyway.

        So no client meets an early end: another process answers what still comes on these connections.

        :param idle_s: seconds after which a connection without a request has closed by itself.
        """
        self.ending = True
        if not self._open:
            return
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        late = self._clock.callLater(idle_s, lambda: None if emptied.called else emptied.callback(None))
        await emptied
        if late.active():
            late.cancel()

    def drain(self, deadline_s: float) -> Deferred[None]:
        """Let every connection finish its request; abort those still open at the deadline.

        :param deadline_s: seconds from now.
        :return: fires when no connection is open.
        """
        self.draining = self.in_grace = self.ending = True
        self._wind_down_all()
        if not self._open:
            self.in_grace = False
            return succeed(None)
        calls = (
            self._clock.callLater(min(FIRST_REQUEST_S, deadline_s), self._end_grace),
            self._clock.callLater(deadline_s, self._abort_all),
        )
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)

        def cancel(_: None) -> None:
            self.in_grace = False
            for call in calls:
                if call.active():
                    call.cancel()

        return emptied.addCallback(cancel)

    def _end_grace(self) -> None:
        self.in_grace = False
        self._wind_down_all()

    def _wind_down_all(self) -> None:
        for connection in list(self._open):
            connection.wind_down()

    def _abort_all(self) -> None:
        for connection in list(self._open):
            connection.abort()


async def stop(ports: Iterable[IListeningPort], connections: OpenConnections, deadline_s: float) -> None:
    """Stop listening, then let open connections finish their requests (``OpenConnections.drain``).

    :param deadline_s: seconds for the requests in flight.
    """
    for closing in [maybeDeferred(port.stopListening) for port in ports]:
        await closing
    await connections.drain(deadline_s)
