"""The successor's side of a replacement: read everything, then open the state folder and serve."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from importlib.metadata import version
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..config import Settings
from ..process import privileges
from ..process.channel import Channel, SingleProtocolFactory
from ..process.shutdown import leave
from ..service.worker_identity import Seat
from ..state.lock import FolderLock
from . import formats
from .hold import LOOK_S, pause
from .incoming_relay import IncomingRelay
from .inherited import Inherited, is_gone
from .messages import MOST_BYTES, RELAY, Prepare, Prepared, Serving, TakeOver, ToSuccessor
from .relay_server import RelayServer
from .successor_process import CHANNEL_FD, ERRORS_FD, LIFELINE_FD, LOCK_FD

if TYPE_CHECKING:
    from ..service.service import ProxyService

_log = Logger()
GONE_S: Final = 5.0
"""Seconds within which a process is gone whose channel was closed by its end."""
_STDERR: Final = 2


class Heir(Protocol):
    """The proxy that takes over: one process, or a supervisor with its workers."""

    async def prepare(self, inherited: Inherited, channel: Channel) -> None:
        """Do all that can be done while the old proxy owns the state folder.

        :param channel: to the old process, which relays on it if it is a single one.
        :raise SystemExit: it cannot take over; stderr says why.
        """

    async def open(self) -> None:
        """Open the state folder, and return once it is open.

        :raise SystemExit: it cannot be opened.
        """

    def serve(self, channel: Channel, pid_file: str) -> RelayServer | None:
        """The old proxy was told that this one serves.

        :param pid_file: path of the pid file to write; "" for none.
        :return: what responds to the requests on the channel; None: another process does.
        """


class OneHeir:
    """A single process that takes over.

    :param build: builds the proxy with inherited sockets.
    :param serving: called with the proxy once it serves, the relays from old processes, and the pid file to write.
    """

    def __init__(
        self,
        reactor: Any,
        build: Callable[[Seat, FolderLock], ProxyService],
        serving: Callable[[ProxyService, list[RelayServer], str], None],
    ) -> None:
        self._reactor = reactor
        self._build = build
        self._serving = serving
        self._proxy: ProxyService | None = None
        self._inherited: Inherited | None = None

    async def prepare(self, inherited: Inherited, _channel: Channel) -> None:
        self._inherited = inherited
        self._proxy = self._build(Seat(sockets=inherited.clients, admin=inherited.admin), inherited.lock)

    async def open(self) -> None:
        proxy = self._proxy
        if proxy is None:
            raise RuntimeError("told to take over before it was prepared")
        proxy.privilegedStartService()
        proxy.startService()
        while is_opening(proxy):
            await pause(self._reactor, LOOK_S)

    def serve(self, channel: Channel, pid_file: str) -> RelayServer | None:
        assert self._proxy is not None and self._inherited is not None
        chain = self._proxy.parts.chain
        relay = RelayServer(chain, channel.say)
        others = [IncomingRelay(self._reactor, chain, each).server for each in self._inherited.relays]
        self._serving(self._proxy, [relay, *others], pid_file)
        return relay


def is_opening(proxy: ProxyService) -> bool:
    """Whether a part of a started proxy is not open yet."""
    return not {"journal", "ledger", "listeners"}.isdisjoint(proxy.health.reasons())


class Successor:
    """Takes over from the process that has started this one.

    It opens the state folder when that process says that it has closed it, or when that process is dead. It is dead
    when the kernel says so: a closed channel alone could come from one that hangs and still writes.

    :param heir: what takes over.
    """

    def __init__(self, settings: Settings, reactor: Any, heir: Heir) -> None:
        self._settings = settings
        self._reactor = reactor
        self._heir = heir
        self._prepare: Prepare | None = None
        self._old_workers: tuple[int, ...] = ()
        self._is_prepared = self._took_over = self._is_cut_off = False
        self._parent = self._reasons = -1
        self._relay: RelayServer | None = None
        self.channel = Channel(ToSuccessor, self._received, self._cut_off, MOST_BYTES)

    def start(self) -> None:
        """Wait for the process that started this one to speak."""
        for number in (CHANNEL_FD, LOCK_FD, ERRORS_FD, LIFELINE_FD):
            os.set_inheritable(number, False)
        self._parent = os.pidfd_open(os.getppid())
        self._reactor.adoptStreamConnection(CHANNEL_FD, socket.AF_UNIX, SingleProtocolFactory(self.channel))
        os.close(CHANNEL_FD)

    def _received(self, message: ToSuccessor) -> None:
        match message:
            case Prepare():
                Deferred.fromCoroutine(self._read_or_leave(message)).addErrback(self._failed)
            case TakeOver():
                self._take_over()
            case _:
                if self._relay is not None:
                    self._relay.received(message)

    async def _read_or_leave(self, prepare: Prepare) -> None:
        """Read everything; a failure ends this process, and the other one goes on."""
        # twistd has turned stderr into lines of the log by now. The other process reads the descriptor.
        self._reasons = os.dup(_STDERR)
        with self._telling() as said:
            await self._read(prepare)
        os.write(self._reasons, said.getvalue().encode())
        os.dup2(ERRORS_FD, _STDERR)
        os.close(ERRORS_FD)
        self._is_prepared = True
        self.channel.say(Prepared(version("hospproxy")))
        if self._is_cut_off:
            await self._after_its_end()

    @contextmanager
    def _telling(self) -> Iterator[StringIO]:
        """Tell the other process why what is done inside fails."""
        said = StringIO()
        try:
            with redirect_stderr(said):
                yield said
        except SystemExit:
            self._tell(said.getvalue())
            raise
        except Exception as error:
            self._tell(f"{said.getvalue()}{type(error).__name__}: {error}\n")
            raise

    def _tell(self, why: str) -> None:
        with suppress(OSError):  # the other process is dead
            os.write(self._reasons, why.encode())

    def fail(self, why: str) -> None:
        """End this process before it serves; the other one goes on, if it lives.

        :param why: one line.
        """
        self._tell(f"hospproxy: {why}\n")
        leave(1)

    async def _read(self, prepare: Prepare) -> None:
        """Do all that can be done while the other process owns the state folder."""
        problems = formats.problems(self._settings.state_dir)
        if prepare.relay != RELAY:
            problems.append(f"the running version hands over in another way ({prepare.relay}, here {RELAY})")
        if prepare.pid != os.getppid():
            problems.append("the running process is gone")
        if problems:
            print(f"hospproxy: {'; '.join(problems)}", file=sys.stderr)
            raise SystemExit(1)
        privileges.load_late_modules()
        inherited = Inherited.take(prepare, self._settings)
        self._prepare, self._old_workers = prepare, inherited.workers
        await self._heir.prepare(inherited, self.channel)

    def _take_over(self) -> None:
        if not self._took_over:
            self._took_over = True
            Deferred.fromCoroutine(self._open()).addErrback(self._failed)

    async def _open(self) -> None:
        """Open the state folder, and serve."""
        prepare = self._prepare
        if prepare is None or not self._is_prepared:
            raise RuntimeError("told to take over before it was prepared")
        with self._telling():
            await self._heir.open()
        self.channel.say(Serving())
        self._relay = self._heir.serve(self.channel, prepare.pid_file)
        os.close(self._reasons)
        _log.info("took over from process {pid}", pid=prepare.pid)

    def _failed(self, failure: Failure) -> None:
        """End this process; the other one opens the folder again, if it lives."""
        ending, status = failure.value, 1
        if isinstance(ending, SystemExit):
            status = ending.code if isinstance(ending.code, int) else 1
        else:
            _log.failure("this process cannot take over", failure)
        leave(status)

    def _cut_off(self) -> None:
        """The other process has closed its end: it is done, or dead, or it has given this one up."""
        self._is_cut_off = True
        if self._relay is not None:
            self._relay.lost()
        elif self._prepare is None:
            leave(1)
        elif self._is_prepared and not self._took_over:
            Deferred.fromCoroutine(self._after_its_end()).addErrback(self._failed)

    async def _after_its_end(self) -> None:
        """Take over from a dead process. Its workers live on for a while, and finish what they have."""
        prepare = self._prepare
        assert prepare is not None
        await self._until_gone((self._parent,), GONE_S)
        if self._old_workers:
            _log.warn("the running process is dead; waiting for its workers to end")
            await self._until_gone(self._old_workers, prepare.orphans_s + GONE_S)
        _log.warn("the running process is dead; taking over as after a crash")
        self._take_over()

    async def _until_gone(self, processes: tuple[int, ...], within_s: float) -> None:
        until = self._reactor.seconds() + within_s
        while not all(is_gone(each) for each in processes):
            if self._reactor.seconds() >= until:
                _log.error("the running process has closed the channel and is not gone; this process ends")
                leave(1)
            await pause(self._reactor, LOOK_S)
