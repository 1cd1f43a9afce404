"""One replacement of the running process, step by step. Until the successor serves, every failure leads back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..chain import Diversion
from ..control.owner import ReplacementFailed
from .messages import TakeOver, ToSuccessor
from .relay import Relay

_log = Logger()
PREPARE_S: Final = 90.0
"""Seconds that the successor has to import and read everything. Meanwhile the running process serves."""
HITS_S: Final = 5.0
"""Seconds for the last answers by shortcuts: each waits for its audit record only."""
TAKE_OVER_S: Final = 30.0
"""Seconds that the successor has to open the state folder. Meanwhile requests wait."""
_LOOK_S: Final = 0.02


class OwnedProxy(Protocol):
    """The proxy of the running process, which owns the state folder."""

    def divert(self, relay: Relay | None) -> None:
        """Hand all further requests to the relay; None: to the chain again."""

    @property
    def chain(self) -> Diversion:
        """The chain itself, whatever is diverted."""

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


class SuccessorLike(Protocol):
    """What the steps need of ``SuccessorProcess``."""

    @property
    def pid(self) -> int | None: ...
    def say(self, message: ToSuccessor) -> None: ...
    async def prepared(self, timeout_s: float) -> str: ...
    async def serving(self, timeout_s: float) -> None: ...
    async def end(self) -> None: ...


class StateNotClosed(Exception):
    """A part did not end, so this process may still write to the state folder, and must exit.

    Its successor then takes over as after a crash.
    """


class Replacement:
    """The steps that replace a process.

    :param clock: monotonic.
    :param proxy: of this process.
    :param successor: started.
    :param there: the successor's chain, for requests that come on connections of this process.
    :param quiet_s: seconds within which the requests in flight must be over; otherwise the replacement is given up.
    :ivar committed: the state folder is being closed or is closed: the steps must not be interrupted.
    """

    def __init__(
        self,
        clock: IReactorTime,
        proxy: OwnedProxy,
        successor: SuccessorLike,
        there: Diversion,
        quiet_s: float,
        progress: Callable[[str], object],
    ) -> None:
        self._clock = clock
        self._proxy = proxy
        self._successor = successor
        self._there = there
        self._quiet_s = quiet_s
        self._progress = progress
        self._relay = Relay(clock)
        self.committed = False

    async def run(self) -> str:
        """Carry all steps out; return the version that serves now.

        :raise ReplacementFailed: this process serves as before.
        :raise StateNotClosed: this process must exit at once.
        """
        self._tell(f"a new process is started ({self._successor.pid})")
        try:
            version = await self._successor.prepared(PREPARE_S)
            self._tell(f"hospproxy {version} is prepared (process {self._successor.pid})")
            await self._quieten()
        except BaseException:
            await self._successor.end()
            raise
        self.committed = True
        await self._proxy.close()
        self._tell("the state folder is closed; the new process opens it")
        self._successor.say(TakeOver())
        try:
            await self._successor.serving(TAKE_OVER_S)
        except ReplacementFailed:
            await self._successor.end()
            self._relay.lead_to(self._proxy.reopen())
            raise
        self._relay.lead_to(self._there)
        self._proxy.give_up()
        return version

    def _tell(self, sentence: str) -> None:
        _log.info("replacement: {sentence}", sentence=sentence)
        self._progress(sentence)

    async def _quieten(self) -> None:
        """Begin no request, and wait until those that were begun have their responses.

        Cached responses to repeated requests go on until nothing else is in flight.
        """
        proxy, relay = self._proxy, self._relay
        proxy.divert(relay)
        try:
            await self._until_quiet(self._quiet_s, shortcuts=False)
            proxy.pause()
            await self._until_quiet(HITS_S, shortcuts=True)
        except BaseException:
            proxy.resume()
            proxy.divert(None)
            relay.lead_to(proxy.chain)
            raise

    async def _until_quiet(self, within_s: float, *, shortcuts: bool) -> None:
        until = self._clock.seconds() + within_s
        while (left := self._proxy.in_flight(shortcuts=shortcuts) - self._relay.waiting) > 0:
            if self._successor.pid is None:
                raise ReplacementFailed("the new process is gone")
            if self._clock.seconds() >= until:
                raise ReplacementFailed(f"{left} requests were still in flight after {within_s:g} s")
            await _pause(self._clock, _LOOK_S)


def _pause(clock: IReactorTime, seconds: float) -> Deferred[None]:
    over: Deferred[None] = Deferred(lambda _: call.cancel())
    call: Any = clock.callLater(seconds, lambda: over.callback(None))
    return over
