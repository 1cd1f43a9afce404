"""The requests of one process wait, those in flight are finished, and the state folder is closed or opened again."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..control.owner import ReplacementFailed
from ..service.chain import Diversion
from .relay import Relay

HITS_S: Final = 5.0
"""Seconds for the last answers by shortcuts: each waits for its audit record only."""
LOOK_S: Final = 0.02


class HeldProxy(Protocol):
    """The proxy of a process that uses the state folder."""

    def divert(self, relay: Relay | None) -> None:
        """Hand all further requests to the relay; None: to the chain again."""

    @property
    def chain(self) -> Diversion:
        """The chain itself, also while its requests are diverted."""

    def in_flight(self, *, shortcuts: bool) -> int:
        """The number of requests that have no response yet, also those that wait in the relay.

        :param shortcuts: also those that are answered by shortcuts.
        """

    def pause(self) -> None:
        """Accept no connections, and answer none by shortcuts. The kernel keeps new connections."""

    def resume(self) -> None:
        """Undo ``pause``: accept connections again."""

    async def close(self) -> None:
        """End everything that uses the state folder.

        :raise StateNotClosed: something may still use it.
        """

    def reopen(self) -> Diversion:
        """Open the state folder again, accept connections, and return the chain that responds."""

    def give_up(self) -> None:
        """Close the listening sockets and the lock: the successor has them."""


class StateNotClosed(Exception):
    """A part did not end, so this process may still write to the state folder, and must exit.

    Its successor then takes over as after a crash.
    """


class Hold:
    """Holds, closes and reopens the proxy of one process, while a replacement goes on.

    :param clock: monotonic.
    :param proxy: of this process.
    :param quiet_s: seconds within which the requests in flight must be over.
    """

    def __init__(self, clock: IReactorTime, proxy: HeldProxy, quiet_s: float) -> None:
        self._clock = clock
        self._proxy = proxy
        self._quiet_s = quiet_s
        self._relay = Relay(clock)

    async def quieten(self, check: Callable[[], None]) -> None:
        """Begin no request, and wait until those that were begun have their responses.

        Cached responses to repeated requests go on until nothing else is in flight. After a failure all goes on.

        :param check: called again and again; raises what ends the wait.
        :raise ReplacementFailed: requests are in flight for too long.
        """
        self._proxy.divert(self._relay)
        try:
            await self._until_quiet(self._quiet_s, check, shortcuts=False)
            self._proxy.pause()
            await self._until_quiet(HITS_S, check, shortcuts=True)
        except BaseException:
            self.release()
            raise

    async def _until_quiet(self, within_s: float, check: Callable[[], None], *, shortcuts: bool) -> None:
        until = self._clock.seconds() + within_s
        while (left := self._proxy.in_flight(shortcuts=shortcuts) - self._relay.waiting) > 0:
            check()
            if self._clock.seconds() >= until:
                raise ReplacementFailed(f"{left} requests were still in flight after {within_s:g} s")
            await pause(self._clock, LOOK_S)

    def release(self) -> None:
        """Let the requests go on here; the state folder was not closed."""
        self._proxy.resume()
        self._proxy.divert(None)
        self._relay.lead_to(self._proxy.chain)

    async def close(self) -> None:
        """End everything that uses the state folder.

        :raise StateNotClosed: this process must exit at once.
        """
        await self._proxy.close()

    def reopen(self) -> None:
        """Open the state folder again, and let the requests go on here."""
        self._relay.lead_to(self._proxy.reopen())

    def leave_to(self, there: Diversion) -> None:
        """Let another process respond, to the requests that wait and to all further ones."""
        self._relay.lead_to(there)
        self._proxy.give_up()


def pause(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """Return what fires after some seconds."""
    over: Deferred[None] = Deferred(lambda _: call.cancel())
    call: Any = clock.callLater(seconds, lambda: over.callback(None))
    return over


def has_event(descriptor: int) -> bool:
    """Whether a descriptor is readable or closed at its other end. Unlike ``select``, it takes numbers above 1023."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
