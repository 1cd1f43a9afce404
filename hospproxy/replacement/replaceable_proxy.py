"""The service of a single process: the proxy, which another process can replace without a failed request."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..arrival.socket_activation import NO_SOCKETS, PassedSockets
from ..config import Settings
from ..control import ran_versions
from ..control.owner import ReplacementFailed
from ..options.source import OptionsSource
from ..process.background import Background
from ..process.clocks import wall
from ..process.service_manager import READY, STOPPING, main_pid, notify
from ..process.shutdown import leave
from ..process.signals import stop_once
from ..service.worker_identity import ONLY, Seat
from ..state.lock import FolderLock
from . import formats
from .hold import Hold, StateNotClosed
from .launch import Launch
from .messages import RELAY, Prepare
from .owned_proxy import OwnedProxy
from .relay import RemoteChain
from .relay_server import RelayServer
from .replacement import OneProcess, Replacement
from .successor import OneHeir, Successor
from .successor_process import SuccessorProcess

if TYPE_CHECKING:
    from ..service.service import ProxyService

_log = Logger()
_MARGIN_S: Final = 2.0
_LOOK_S: Final = 0.1
Build = Callable[[Settings, OptionsSource, Seat, FolderLock | None], "ProxyService"]


class ReplaceableProxy(Service):
    """Starts the proxy, or takes it over from the process that started this one; lets a successor take it over.

    :param build: builds the proxy; see ``service.build``.
    :param lock: of the state folder; None if this process takes over.
    :param launch: how to start a successor.
    :param own_pid_file: says that twistd must remove this pid file at the end of this process; "" for none.
    :param passed: listening sockets that systemd has opened.
    """

    name = "hospproxy"

    def __init__(
        self,
        settings: Settings,
        source: OptionsSource,
        reactor: Any,
        build: Build,
        lock: FolderLock | None,
        launch: Launch,
        own_pid_file: Callable[[str], None] = lambda _path: None,
        passed: PassedSockets = NO_SOCKETS,
    ) -> None:
        self._settings = settings
        self._source = source
        self._reactor = reactor
        self._build = build
        self._lock = lock
        self._launch = launch
        self._own_pid_file = own_pid_file
        self._owned: OwnedProxy | None = None
        self._successor: Successor | None = None
        self._running: Replacement | None = None
        self._process: SuccessorProcess | None = None
        self._over: Deferred[None] | None = None
        self._stopping = self._gave_up = False
        self._background = Background(_log, "the end of this process, which was replaced, failed")
        if lock is None:
            heir = OneHeir(reactor, self._build_later, self._took_over)
            self._successor = Successor(settings, reactor, heir)
        else:
            given = Seat(sockets=passed.clients, admin=passed.admin, announces=True)
            self._own(build(settings, source, given if passed.any else ONLY, lock))

    @property
    def left(self) -> list[str]:
        """After the stop, names of the steps that failed or did not end in time."""
        return [] if self._owned is None else self._owned.service.left

    def _build_later(self, seat: Seat, lock: FolderLock) -> ProxyService:
        self._lock = lock
        return self._build(self._settings, self._source, seat, lock)

    def _own(self, service: ProxyService) -> None:
        self._owned = OwnedProxy(service, self._reactor, self._build_again, self._leave_to_successor)
        service.replaceable = self

    def _build_again(self, before: ProxyService, seat: Seat) -> ProxyService:
        again = self._build(before.settings, before.source, seat, self._lock)
        again.replaceable = self
        return again

    def privilegedStartService(self) -> None:
        """Bind every port while the process still has the privileges for it."""
        if self._owned is not None:
            self._owned.service.privilegedStartService()
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Start the proxy, or begin to take over."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._owned is not None:
            self._owned.service.startService()
            self._note()
            self._reactor.callWhenRunning(notify, READY)
        elif self._successor is not None:
            self._reactor.callWhenRunning(self._successor.start)

    def _note(self) -> None:
        formats.note(self._settings.state_dir)
        ran_versions.note(self._settings.state_dir, wall())

    def _took_over(self, service: ProxyService, relays: list[RelayServer], pid_file: str) -> None:
        self._own(service)
        self._note()
        if self._owned is not None:
            self._owned.relays += relays
        write_pid_file(pid_file, self._own_pid_file)

    async def replace(self, python: Path, progress: Callable[[str], object]) -> str:
        """Let another version take over; return it. This process ends once its connections have.

        :param python: interpreter of the other version.
        :param progress: gets a sentence for each step.
        :raise ReplacementFailed: this process serves as before.
        """
        owned, lock = self._owned, self._lock
        if owned is None or lock is None or self._running is not None or self._gave_up or self._stopping:
            raise ReplacementFailed("this process is not serving, or is being replaced already")
        clients, admin = owned.sockets()
        there = RemoteChain(lambda message: process.say(message))

        def lost() -> None:
            there.lost()
            if self._gave_up:
                stop_once(self._reactor)  # nobody is left to respond on the connections of this process

        process = self._process = SuccessorProcess(self._reactor, there.received, lost)
        settings = owned.service.settings
        hold = Hold(self._reactor, owned, settings.deadline_s + _MARGIN_S)
        self._running = Replacement(OneProcess(hold, there), process, progress)
        self._over = Deferred()
        try:
            command, environment = self._launch.command(python), self._launch.environment
            listening = [each.fileno() for each in (*clients, *admin)]
            process.start(command, environment, lock.fileno(), listening)
            urls = tuple(each.url for each in settings.listeners)
            admin_urls = (settings.admin.url,) if admin else ()
            process.say(Prepare(RELAY, os.getpid(), urls, admin_urls, self._launch.pid_file))
            return await self._running.run()
        except ReplacementFailed as error:
            _log.error("not replaced; this process goes on: {why}", why=str(error))
            raise
        except StateNotClosed as error:
            _log.critical(
                "{parts} did not end; the new process takes over as after a crash", parts=str(error)
            )
            leave(1)
            raise
        except SystemExit as ending:
            _log.critical("the state folder cannot be opened again; this process ends")
            leave(ending.code if isinstance(ending.code, int) else 1)
            raise
        finally:
            owned.drop_sockets()
            self._running = None
            over, self._over = self._over, None
            if over is not None:
                over.callback(None)

    def _leave_to_successor(self) -> None:
        """The successor serves: end once no client is connected to this process any more."""
        self._gave_up = True
        self._own_pid_file("")
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        pid = None if self._process is None else self._process.pid
        if pid is not None:
            notify(main_pid(pid), READY)
        _log.info("process {pid} serves; this one ends when its connections have", pid=pid)
        self._background.run(self._run_out())

    async def _run_out(self) -> None:
        """Wait until clients have closed their connections, or have left them idle for as long as they may."""
        for service in self._services():
            idle_s = service.settings.arrival.keep_alive_s + service.settings.deadline_s + _MARGIN_S
            await service.context.connections.run_out(idle_s)
        while self._successor is not None and self._successor.channel.open:
            await deferLater(self._reactor, _LOOK_S)  # the process before this one relays through it
        if self._owned is not None and self._owned.service.control is not None:
            await self._owned.service.control.responded()  # with no client, all this takes no time at all
        stop_once(self._reactor)

    def _services(self) -> list[ProxyService]:
        return [] if self._owned is None else [*self._owned.earlier, self._owned.service]

    def stopService(self) -> Deferred[None]:
        """Stop the proxy if this process owns it; finish what its clients still wait for."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._stopping = True
        if not self._gave_up:
            notify(STOPPING)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._over is not None and self._process is not None:
            await self._process.end()
            over: Deferred[None] = Deferred()
            if self._over is not None:
                self._over.addCallback(lambda _: over.callback(None))
                await over
        for service in self._services()[:-1]:
            await service.listeners.stop(service.settings.drain_s)
        if self._owned is None:
            return
        if self._gave_up:
            await self._owned.service.listeners.stop(self._owned.service.settings.drain_s)
        elif self._owned.service.running:
            await self._owned.service.stopService()


def write_pid_file(path: str, own: Callable[[str], None]) -> None:
    """Write the id of this process, which has taken over. A disk that is full costs the file only.

    :param path: "" for none.
    :param own: says that twistd must remove the file at the end of this process.
    """
    if path:
        with suppress(OSError):
            Path(path).write_text(f"{os.getpid()}")
        own(path)
