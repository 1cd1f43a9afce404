"""One process on a machine: its resources, and how it ends."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hospproxy.process import signals
from hospproxy.process.forked_process import CannotFork
from hospproxy.process.host import Host

from .child import BOOT_S, Courier
from .death import Killed
from .index import ColumnsHere, NoIndex
from .interfaces import ProcessMachine
from .options import contract_of
from .reactor import VirtualReactor
from .threads import VirtualRing, VirtualWorker

if TYPE_CHECKING:
    import random

STOP_S = 60.0
"""Seconds beyond ``drain_s`` within which a stop must end."""
_log = Logger()


class Process:
    """A process on a machine.

    :param main: what it runs first; SystemExit ends it.
    :param drain_s: seconds that requests in flight get when it stops.
    :param parent: that has started it; it dies with its parent.
    :param has_courier: it gives what follows the journal to a process of its own.
    :ivar courier: which is that process.
    :ivar on_end: called with the exit status at its end.
    :ivar service: what a stop ends first, if there is one.

    :ivar running: until its end, however it comes.
    :ivar exit: its status; None while it runs, and for one that was killed.
    :ivar output: what it has written to stderr.
    :ivar task: the thread whose task runs at this moment.
    """

    def __init__(
        self,
        machine: ProcessMachine,
        pid: int,
        main: Callable[[Process], object],
        drain_s: float = 0.0,
        parent: Process | None = None,
        has_courier: bool = False,
    ) -> None:
        world = machine.world
        self.machine = machine
        self.pid = pid
        self.name = f"{machine.name}/{pid}"
        self.running = True
        self.exit: int | None = None
        self.output = ""
        self.task = ""
        self.service: Any = None
        self.courier: Process | None = None
        self.on_end: Callable[[int | None], None] = lambda _status: None
        self.counts_events = False
        self.connections: list[sqlite3.Connection] = []
        self.reactor = VirtualReactor(world.events, world.network, machine.address, self.name)
        self.reactor.process = self
        world.belongs(self.reactor)
        self.reactor.on_end = lambda: self.die("exit", 0)
        self._main = main
        self._drain_s = drain_s
        self._parent = parent
        self._has_courier = has_courier
        self._channel: Courier | None = None
        self._kept: list[object] = []
        self._reached: dict[str, int] = {}
        self._plans: dict[tuple[str, int], Callable[[], object]] = {}
        self._waiting: list[Deferred[int | None]] = []

    # Called by the simulation

    @property
    def is_courier(self) -> bool:
        """Whether the proxy has started it, to follow the audit journal."""
        return self._parent is not None

    def kill(self) -> None:
        """kill -9: none of its code runs again. Its kernel closes its files and connections."""
        if self.running:
            self.die("kill", None)

    def kill_at(self, seam: str, nth: int = 1) -> None:
        """Kill it when it reaches a seam for the nth time.

        A seam is ``before NAME`` or ``after NAME`` of a task of a thread (ledger, cache, audit, ring, audit-files …),
        or ``write NAME`` or ``sync NAME`` within such tasks. ``event`` is each event of the process.
        """
        self.at(seam, nth, self.kill)

    def at(self, seam: str, nth: int, action: Callable[[], object]) -> None:
        """Run an action when it reaches a seam for the nth time, counted from its start; events from now on."""
        self.counts_events = self.counts_events or seam == "event"
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
        world.events.after(self._drain_s + STOP_S, None, self._must_have_stopped)
        return done

    def _terminated(self) -> None:
        if self.service is None:  # the handler is not installed yet: the signal itself ends it
            self.die("signal", None)
        else:
            signals.stop_once(self.reactor)

    def _must_have_stopped(self) -> None:
        if self.running:
            self.machine.world.trouble(self.name, "a stop does not end")
            self.kill()

    def boot(self, after_s: float) -> None:
        """Start, after a while."""
        self.reactor.callLater(after_s, self._boot)

    def spawn(self, protocol: Any, descriptors: Mapping[int, int | str]) -> None:
        """Start the courier, the only other program that a process of the proxy starts."""

        def start(main: Callable[[Process], object]) -> Process:
            self.courier = Process(self.machine, self.machine.new_pid(), main, parent=self)
            self.courier.boot(BOOT_S)
            return self.courier

        self._channel = Courier(self, protocol, descriptors, start)

    def adopt(self, factory: Any) -> None:
        """Connect a protocol to the courier that was started last: of its socket pair."""
        channel, self._channel = self._channel, None
        assert channel is not None
        channel.ours.begin(factory.buildProtocol(None))

    # Called by the simulated system

    def random(self, name: str) -> random.Random:
        """A random stream of the machine's."""
        return self.machine.world.random(f"{self.machine.name}/{name}")

    def keep(self, made: object) -> None:
        """Keep an object for as long as the simulation goes on."""
        self._kept.append(made)

    def must_live(self) -> None:
        """Check that it is alive.

        :raise Killed: it is dead.
        """
        if not self.running:
            raise Killed

    def forget(self) -> None:
        """Drop its objects; the report of its end stays."""
        self.service = None
        self.courier = self._parent = self._channel = None
        self.on_end = lambda _status: None
        self._kept.clear()
        self._plans.clear()
        self._waiting.clear()
        self.connections.clear()

    def reach(self, seam: str) -> None:
        """The process has reached a place at which it may be killed.

        :raise Killed: it was.
        """
        count = self._reached[seam] = self._reached.get(seam, 0) + 1
        plan = self._plans.pop((seam, count), None)
        if plan is not None:
            self.machine.world.log("seam", process=self.name, seam=seam, nth=count)
            plan()
        self.must_live()

    def reached(self) -> dict[str, int]:
        """How often it has reached each seam."""
        return dict(self._reached)

    def _boot(self) -> None:
        self.machine.world.log("start" if self._parent is None else "courier start", process=self.name)
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                self._main(self)
                self.must_live()
        except SystemExit as ending:
            self.die("exit", ending.code if isinstance(ending.code, int) else 1)
        except Exception:
            if self.running:
                _log.failure("a program could not be started")
                self.die("exit", 1)
        finally:
            self.output = said.getvalue()

    def host(self) -> Host:
        """The system that it runs on."""
        world = self.machine.world
        entropy = world.random(f"{self.name}/entropy")
        return Host(
            wall=self.machine.wall.now,
            since_boot=self.machine.since_boot,
            entropy=entropy.randbytes,
            random=world.random(f"{self.name}/pauses").random,
            pid=lambda: self.pid,
            worker=lambda _reactor, name: VirtualWorker(self, name),
            ring=lambda _reactor: VirtualRing(self),
            index=lambda _reactor, setup: NoIndex() if self._parent is None else ColumnsHere(self, setup),
            install_signals=lambda _reactor, _reload, _stop_s: None,
            load_contract=contract_of,
            settle=lambda: None,
            fork=_no_fork,
            has_courier=self._has_courier,
        )

    def die(self, why: str, status: int | None) -> None:
        """End it at once.

        :param why: "kill", "exit", "signal", or "power" if its machine ends with it.
        """
        if not self.running:
            return
        self.running = False
        self.exit = status
        if self.courier is not None:
            self.courier.die(why if why == "power" else "kill", None)
        reactor, world = self.reactor, self.machine.world
        reactor.alive = False
        world.log("end" if self._parent is None else "courier end", process=self.name, why=why, status=status)
        for port in list(reactor.ports):
            port.close()
        for end in list(reactor.ends):
            if why == "power":
                end.vanish()
            else:
                end.orphaned()
        world.soon(lambda: world.close_files(self))
        self.machine.remove(self.pid)
        world.buried.append(self)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            world.events.after(0.0, None, done.callback, status)
        self.on_end(status)


def _no_fork(*_: object) -> NoReturn:
    """Let the service start a new interpreter: the code of a fork is that of the operating system."""
    raise CannotFork
