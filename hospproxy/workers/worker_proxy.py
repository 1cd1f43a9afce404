"""The proxy of a worker: started, or built to take over; held, closed, opened again or left to a successor."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from ..control.owner import ReplacementFailed
from ..process.background import Background
from ..process.channel import Channel, SingleProtocolFactory
from ..process.forked_process import end_with_parent
from ..process.shutdown import GRACE_S, end_within, leave
from ..process.signals import stop_once
from ..replacement.hold import LOOK_S, Hold, StateNotClosed, pause
from ..replacement.incoming_relay import IncomingRelay
from ..replacement.messages import MOST_BYTES, FromSuccessor, NoResponse, RelayedResponse
from ..replacement.owned_proxy import OwnedProxy
from ..replacement.relay import RemoteChain
from ..replacement.successor import is_opening
from ..service.worker_identity import Seat

if TYPE_CHECKING:
    from ..service.service import ProxyService

_log = Logger()
MARGIN_S: Final = 2.0
Reply = Callable[[str], None]
"""Tells the supervisor why a step was not done; "" if it was."""


class _State(Enum):
    """What this worker has of the state folder."""

    OPEN = auto()
    CLOSING = auto()
    """It is being closed, or is closed."""
    LEFT = auto()
    """A successor has it."""


class WorkerProxy:
    """What a worker does with its proxy.

    :param service: built, not started.
    :param build: builds a proxy like a given one, with the given sockets.
    :param relay_fd: descriptor of the socket on which a successor will respond.
    :param lock_fd: descriptor of the lock of the state folder.
    :ivar held: it must not serve yet: an old proxy may get the state folder back.
    """

    def __init__(
        self,
        service: ProxyService,
        reactor: Any,
        build: Callable[[ProxyService, Seat], ProxyService],
        relay_fd: int,
        lock_fd: int,
    ) -> None:
        self._reactor = reactor
        self._relay_fd = relay_fd
        self._lock_fd = lock_fd
        self._owned = OwnedProxy(service, reactor, build, self._gave_up)
        self._state = _State.OPEN
        self.held = False
        self._relays: Sequence[socket.socket] = ()
        self._incoming: list[IncomingRelay] = []
        self._hold: Hold | None = None
        self._quieting: Deferred[None] | None = None
        self._there: RemoteChain | None = None
        self._background = Background(_log, "a step of a replacement failed (a bug)")

    @property
    def service(self) -> ProxyService:
        """The proxy that serves, or that was the last to serve."""
        return self._owned.service

    def start(self) -> None:
        """Open the state folder and serve."""
        self.service.privilegedStartService()
        self.service.startService()

    def take_over_later(self, relays: Sequence[socket.socket]) -> None:
        """Open nothing yet; end with the supervisor, whose successors must know that no process of it lives.

        :param relays: on which old processes will relay requests.
        """
        self.held = True
        self._relays = relays
        end_with_parent(True)

    def open(self, opened: Callable[[], None]) -> None:
        """Open the state folder, and accept no connection yet.

        :param opened: called once it is open.
        """
        self.service.privilegedStartService()
        self._owned.pause()
        self.service.startService()
        self._background.run(self._until_open(opened))

    async def _until_open(self, done: Callable[[], None]) -> None:
        while is_opening(self.service):
            await pause(self._reactor, LOOK_S)
        done()

    def serve(self) -> None:
        """Accept connections, and respond to what old processes relay."""
        self.held = False
        end_with_parent(False)
        chain = self.service.parts.chain
        self._incoming = [IncomingRelay(self._reactor, chain, each) for each in self._relays]
        self._owned.relays += [each.server for each in self._incoming]
        self._owned.resume()

    def hold(self, quiet_s: float, reply: Reply) -> None:
        """Begin no request, and finish those in flight."""
        if self._state is not _State.OPEN or self._hold is not None:
            reply("it is being replaced already")
            return
        self._owned.sockets()
        hold = self._hold = Hold(self._reactor, self._owned, quiet_s)

        async def quieten() -> None:
            try:
                await hold.quieten(lambda: None)
            except (ReplacementFailed, CancelledError) as error:
                self._hold = None
                reply(str(error) or "it was given up")
            else:
                reply("")
            finally:
                self._quieting = None

        quieting = Deferred.fromCoroutine(quieten())
        quieting.addErrback(lambda failure: _log.failure("requests cannot be held (a bug)", failure))
        if not quieting.called:
            self._quieting = quieting

    def release(self) -> None:
        """Let the requests go on here."""
        if self._state is not _State.OPEN:
            return
        if self._quieting is not None:
            self._quieting.cancel()
        elif self._hold is not None:
            self._hold.release()
        self._hold = None

    def close(self, reply: Reply) -> None:
        """End everything that uses the state folder."""
        hold = self._hold
        if hold is None or self._quieting is not None:
            reply("it does not hold its requests")
            return
        self._state = _State.CLOSING

        async def close() -> None:
            try:
                await hold.close()
            except StateNotClosed as error:
                reply(f"{error} did not end")
            else:
                reply("")

        self._background.run(close())

    def reopen(self, reply: Reply) -> None:
        """Open the state folder again; a failure ends this worker, and another one gets its place."""
        if self._hold is None:
            reply("it has closed nothing")
            return
        try:
            self._hold.reopen()
        except SystemExit as ending:  # its message is on stderr already
            leave(ending.code if isinstance(ending.code, int) else 1)
        self._hold, self._state = None, _State.OPEN
        self._background.run(self._until_open(lambda: reply("")))

    def leave_to_successor(self) -> None:
        """Relay all requests, and end once no client is connected."""
        hold = self._hold
        if hold is None or self._state is not _State.CLOSING:
            return
        there = self._there = RemoteChain(lambda message: channel.say(message))

        def lost() -> None:
            there.lost()
            stop_once(self._reactor)  # nobody is left to respond

        channel: Channel = Channel(FromSuccessor, _responses(there), lost, MOST_BYTES)
        self._reactor.adoptStreamConnection(self._relay_fd, socket.AF_UNIX, SingleProtocolFactory(channel))
        os.close(self._relay_fd)
        self._state = _State.LEFT
        hold.leave_to(there)

    def _gave_up(self) -> None:
        os.close(self._lock_fd)
        self._background.run(self._run_out())

    async def _run_out(self) -> None:
        """Wait until clients have closed their connections, or have left them idle for as long as they may."""
        for service in self._services():
            await service.context.connections.run_out(_idle_s(service))
        while any(each.open for each in self._incoming):
            await pause(self._reactor, LOOK_S)
        stop_once(self._reactor)

    def orphaned(self) -> None:
        """The supervisor is gone. Finish what can be finished, and end.

        What holds its requests lets them go on; what has closed the state folder ends at once, since nobody says who
        has it now; what has a successor relays until its connections have ended.
        """
        if self.held or self._state is _State.CLOSING:
            leave(1)
        if self._state is _State.LEFT:
            end_within(sum(map(_idle_s, self._services())) + self.service.settings.drain_s + GRACE_S)
            return
        self.release()
        end_within(self.service.settings.drain_s + GRACE_S)
        stop_once(self._reactor)

    async def stop(self) -> None:
        """Finish what clients wait for, and end all parts that this process still has."""
        for service in self._services()[:-1]:
            await service.listeners.stop(service.settings.drain_s)
        if self._state is _State.LEFT:
            await self.service.listeners.stop(self.service.settings.drain_s)
        elif self.service.running:
            await self.service.stopService()

    def _services(self) -> list[ProxyService]:
        return [*self._owned.earlier, self.service]


def _responses(there: RemoteChain) -> Callable[[Any], None]:
    def received(message: Any) -> None:
        if isinstance(message, RelayedResponse | NoResponse):
            there.received(message)

    return received


def _idle_s(service: ProxyService) -> float:
    return service.settings.arrival.keep_alive_s + service.settings.deadline_s + MARGIN_S
