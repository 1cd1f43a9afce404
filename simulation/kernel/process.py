"""One process of the proxy: the service as ``service.build`` makes it, on what the simulation gives it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hospproxy import contract_document, host, signals
from hospproxy.checks import load_and_check
from hospproxy.config import Settings
from hospproxy.contract import Contract
from hospproxy.service import build
from hospproxy.workers.seat import ONLY, Seat

from .death import Killed
from .reactor import VirtualReactor
from .threads import VirtualRing, VirtualWorker

if TYPE_CHECKING:
    import random

    from .machine import Machine
    from .network import SharedSocket

STOP_S = 60.0
"""Seconds beyond ``drain_s`` within which a stop must end."""
_log = Logger()


@cache
def contract_of(path: Path | None = None) -> Contract:
    """A contract, read once for all processes: it is a value. Call it before forking."""
    return contract_document.load(path)


@cache
def _settings_of(options: str) -> Settings:
    with NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(options)
        file.flush()
        return load_and_check(Path(file.name))[0]


def settings_of(options: str, state_dir: Path) -> Settings:
    """The settings that an options file gives; the same text is read once. Call it before forking.

    :param state_dir: instead of the one that the file names.
    :raise ConfigError: with everything that is wrong.
    """
    return evolve(_settings_of(options), state_dir=state_dir)


class Process:
    """A process of the proxy.

    :ivar running: until its end, however it comes.
    :ivar exit: its status; None while it runs, and for one that was killed.
    :ivar output: what it has written to stderr.
    :ivar task: the thread whose task is under way at this moment.
    """

    def __init__(
        self,
        machine: Machine,
        pid: int,
        settings: Settings,
        slot: int,
        sockets: tuple[SharedSocket, ...] | None,
    ) -> None:
        world = machine.world
        self.machine = machine
        self.pid = pid
        self.name = f"{machine.name}/{pid}"
        self.settings = settings
        self.slot = slot
        self.running = True
        self.exit: int | None = None
        self.output = ""
        self.task = ""
        self.service: Any = None
        self.reactor = VirtualReactor(world.events, world.network, machine.address, self.name)
        self.reactor.process = self
        self.reactor.on_end = lambda: self.die("exit", 0)
        self._sockets = sockets
        self._kept: list[object] = []
        self._reached: dict[str, int] = {}
        self._plans: dict[tuple[str, int], Callable[[], object]] = {}
        self._waiting: list[Deferred[int | None]] = []

    # What the simulation calls

    def kill(self) -> None:
        """kill -9: nothing of it runs again. Its kernel closes its files and connections."""
        if self.running:
            self.die("kill", None)

    def kill_at(self, seam: str, nth: int = 1) -> None:
        """Kill it when it comes to a seam: ``before NAME`` or ``after NAME`` of the nth task of a thread (ledger,
        cache, audit, ring, audit-files …), or ``write NAME`` or ``sync NAME`` within such tasks."""
        self.at(seam, nth, self.kill)

    def at(self, seam: str, nth: int, action: Callable[[], object]) -> None:
        """Do something when it comes to a seam for the nth time, counted from its start."""
        self._plans[seam, nth] = action

    def stop(self) -> Deferred[int | None]:
        """SIGTERM; fires with the exit status. A stop that takes too long is an error, and ends in a kill."""
        done: Deferred[int | None] = Deferred()
        if not self.running:
            done.callback(self.exit)
            return done
        self._waiting.append(done)
        world = self.machine.world
        world.log("stop", process=self.name)
        self.reactor.callLater(0.0, self._terminated)
        world.events.after(self.settings.drain_s + STOP_S, None, self._must_have_stopped)
        return done

    def _terminated(self) -> None:
        if self.service is None:  # the handler is not there yet: the signal itself ends it
            self.die("signal", None)
        else:
            signals.stop_once(self.reactor)

    def _must_have_stopped(self) -> None:
        if self.running:
            self.machine.world.trouble(self.name, "a stop does not end")
            self.kill()

    def boot(self, after_s: float) -> None:
        """Begin, after a while."""
        self.reactor.callLater(after_s, self._boot)

    # What the simulated system calls

    def random(self, name: str) -> random.Random:
        """A stream of the machine's."""
        return self.machine.world.random(f"{self.machine.name}/{name}")

    def keep(self, made: object) -> None:
        """Keep something for as long as the simulation goes on."""
        self._kept.append(made)

    def reach(self, seam: str) -> None:
        """The process has come to a place where it may be told to die.

        :raise Killed: it was.
        """
        count = self._reached[seam] = self._reached.get(seam, 0) + 1
        plan = self._plans.pop((seam, count), None)
        if plan is not None:
            self.machine.world.log("seam", process=self.name, seam=seam, nth=count)
            plan()
        if not self.running:
            raise Killed

    def reached(self) -> dict[str, int]:
        """How often it has come to each seam."""
        return dict(self._reached)

    def _boot(self) -> None:
        world = self.machine.world
        world.log("start", process=self.name, slot=self.slot)
        seat = ONLY if self._sockets is None else Seat(self.slot, self._sockets, ())  # type: ignore[arg-type]
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                self.service = build(self.settings, self.reactor, seat, self._host())
                self.reactor.addSystemEventTrigger("before", "shutdown", self.service.stopService)
                self.service.privilegedStartService()
                self.service.startService()
        except SystemExit as ending:
            self.die("exit", ending.code if isinstance(ending.code, int) else 1)
        except Exception:
            _log.failure("the proxy could not be started")
            self.die("exit", 1)
        finally:
            self.output = said.getvalue()

    def _host(self) -> host.Host:
        world = self.machine.world
        entropy = world.random(f"{self.name}/entropy")
        return host.Host(
            wall=self.machine.wall.now,
            entropy=entropy.randbytes,
            random=world.random(f"{self.name}/pauses").random,
            pid=lambda: self.pid,
            worker=lambda _reactor, name: VirtualWorker(self, name),
            ring=lambda _reactor: VirtualRing(self),
            install_signals=lambda _reactor, _reload, _stop_s: None,
            load_contract=contract_of,
            settle=lambda: None,
        )

    def die(self, why: str, status: int | None) -> None:
        """End it at once.

        :param why: "kill", "exit", "signal", or "power" if its machine ends with it.
        """
        if not self.running:
            return
        self.running = False
        self.exit = status
        reactor, world = self.reactor, self.machine.world
        reactor.alive = False
        world.log("end", process=self.name, why=why, status=status)
        for port in list(reactor.ports):
            port.close()
        for end in list(reactor.ends):
            if why == "power":
                end.vanish()
            else:
                end.orphaned()
        self.machine.disk.orphaned(self)
        self.machine.processes.pop(self.pid, None)
        world.buried.append(self)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            world.events.after(0.0, None, done.callback, status)
