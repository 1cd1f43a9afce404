"""The successor's side of a replacement: read everything, then open the state folder and serve."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from importlib.metadata import version
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import privileges
from ..channel import Channel, SingleProtocolFactory
from ..config import Settings
from ..shutdown import leave
from ..state.lock import FolderLock
from ..worker_identity import Seat
from . import formats
from .messages import MOST_BYTES, RELAY, Prepare, Prepared, Serving, TakeOver, ToSuccessor
from .relay_server import RelayServer
from .successor_process import CHANNEL_FD, ERRORS_FD, FIRST_SOCKET_FD, LOCK_FD

if TYPE_CHECKING:
    from ..service import ProxyService

_log = Logger()
GONE_S: Final = 5.0
"""Seconds within which a process is gone whose channel was closed by its end."""
_LOOK_S: Final = 0.02
_STDERR: Final = 2


class Successor:
    """Takes over from the process that has started this one.

    It opens the state folder when that process says that it has closed it, or when that process is dead. It is dead
    when the kernel says so: a closed channel alone could come from one that hangs and still writes.

    :param build: builds the proxy with inherited sockets.
    :param serving: called with the proxy once it serves, and the path of the pid file to write ("" for none).
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        build: Callable[[Seat, FolderLock], ProxyService],
        serving: Callable[[ProxyService, str], None],
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._build = build
        self._serving = serving
        self._prepare: Prepare | None = None
        self._proxy: ProxyService | None = None
        self._took_over = False
        self._parent = -1
        self.relay: RelayServer | None = None
        self.channel = Channel(ToSuccessor, self._received, self._cut_off, MOST_BYTES)

    def start(self) -> None:
        """Wait for the process that started this one to speak."""
        for number in (CHANNEL_FD, LOCK_FD, ERRORS_FD):
            os.set_inheritable(number, False)
        self._parent = os.pidfd_open(os.getppid())
        self._reactor.adoptStreamConnection(CHANNEL_FD, socket.AF_UNIX, SingleProtocolFactory(self.channel))
        os.close(CHANNEL_FD)

    def _received(self, message: ToSuccessor) -> None:
        match message:
            case Prepare():
                self._read_or_leave(message)
            case TakeOver():
                self._take_over()
            case _:
                if self.relay is not None:
                    self.relay.received(message)

    def _read_or_leave(self, prepare: Prepare) -> None:
        """Read everything; a failure ends this process, and the other one goes on."""
        said, status = StringIO(), 1
        try:
            # twistd has turned stderr into lines of the log by now. The other process reads the descriptor.
            with redirect_stderr(said):
                self._read(prepare)
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else 1
        except Exception as error:
            _log.failure("this process cannot take over")
            said.write(f"{type(error).__name__}: {error}\n")
        else:
            os.write(_STDERR, said.getvalue().encode())
            os.dup2(ERRORS_FD, _STDERR)
            os.close(ERRORS_FD)
            self.channel.say(Prepared(version("hospproxy")))
            return
        os.write(_STDERR, said.getvalue().encode())
        leave(status)

    def _read(self, prepare: Prepare) -> None:
        """Do all that can be done while the other process owns the state folder."""
        problems = formats.problems(self._settings.state_dir)
        if prepare.relay != RELAY:
            problems.append(f"the running version hands over in another way ({prepare.relay}, here {RELAY})")
        if self._settings.workers > 1:
            problems.append("the options now ask for several workers: that needs a restart")
        if prepare.pid != os.getppid():
            problems.append("the running process is gone")
        if problems:
            print(f"hospproxy: {'; '.join(problems)}", file=sys.stderr)
            raise SystemExit(1)
        privileges.load_late_modules()
        self._prepare = prepare
        self._proxy = self._build(self._seat(prepare), FolderLock(LOCK_FD))

    def _seat(self, prepare: Prepare) -> Seat:
        """Find the inherited socket of each listener; a listener that is new opens its own."""
        numbers = range(FIRST_SOCKET_FD, FIRST_SOCKET_FD + len(prepare.listeners) + len(prepare.admin))
        given = [socket.socket(fileno=number) for number in numbers]
        for each in given:
            each.set_inheritable(False)
        clients = _by_url(prepare.listeners, given[: len(prepare.listeners)])
        admin = _by_url(prepare.admin, given[len(prepare.listeners) :])
        options = self._settings
        seat = Seat(
            sockets=tuple(clients.pop(each.url, None) for each in options.listeners),
            admin=(admin.pop(options.admin.url, None),) if options.admin.enabled else (),
        )
        for left in (*clients.values(), *admin.values()):  # of listeners that are no longer in the options
            left.close()
        return seat

    def _take_over(self) -> None:
        if not self._took_over:
            self._took_over = True
            Deferred.fromCoroutine(self._open()).addErrback(self._failed)

    async def _open(self) -> None:
        """Open the state folder, and serve."""
        proxy, prepare = self._proxy, self._prepare
        if proxy is None or prepare is None:
            raise RuntimeError("told to take over before it was prepared")
        proxy.privilegedStartService()
        proxy.startService()
        while _not_open(proxy):
            await self._pause()
        self.relay = RelayServer(proxy.parts.chain, self.channel.say)
        self._serving(proxy, prepare.pid_file)
        self.channel.say(Serving())
        _log.info("took over from process {pid}", pid=prepare.pid)

    def _failed(self, failure: Failure) -> None:
        """End this process; the other one opens the folder again, if it lives."""
        if failure.check(SystemExit) is None:
            _log.failure("the state folder cannot be taken over", failure)
        leave(1)

    def _pause(self) -> Deferred[None]:
        over: Deferred[None] = Deferred()
        self._reactor.callLater(_LOOK_S, over.callback, None)
        return over

    def _cut_off(self) -> None:
        """The other process has closed its end: it is done, or dead, or it has given this one up."""
        if self.relay is not None:
            self.relay.lost()
        elif self._prepare is None:
            leave(1)
        elif not self._took_over:
            Deferred.fromCoroutine(self._after_its_end()).addErrback(self._failed)

    async def _after_its_end(self) -> None:
        until = self._reactor.seconds() + GONE_S
        while not select.select([self._parent], [], [], 0)[0]:
            if self._reactor.seconds() >= until:
                _log.error("the running process has closed the channel and is not gone; this process ends")
                leave(1)
            await self._pause()
        _log.warn("the running process is dead; taking over as after a crash")
        self._take_over()


def _by_url(urls: Sequence[str], sockets: Sequence[socket.socket]) -> dict[str, socket.socket]:
    return dict(zip(urls, sockets, strict=True))


def _not_open(proxy: ProxyService) -> bool:
    return not {"journal", "ledger", "listeners"}.isdisjoint(proxy.health.reasons())
