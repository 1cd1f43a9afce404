"""One virtual world: time, chance, the network, machines, and the errors in them."""

from __future__ import annotations

import gc
import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from attrs import frozen
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher

from .death import Killed, close_coroutines, forgive, silence
from .disk.calls import Calls
from .disk.sqlite import Sqlite
from .events import Event, Events, Owner
from .interfaces import HostReactor, SimulatedProcess
from .machine import Host, Machine
from .network import Network
from .reactor import VirtualReactor

_log = Logger()
_SHOWN_BYTES = 256
"""Bytes of network traffic that the log shows; longer pieces are named by their hash."""
_COLLECT_S = 30.0
_MOST_TURNS = 200_000
"""Most events of one moment."""


class TimeStands(Exception):
    """Events repeat without end, and no time passes."""


@frozen
class Entry:
    """One line of the log of events.

    :param time: seconds of the simulation.
    """

    time: float
    kind: str
    fields: dict[str, Any]


@frozen
class Trouble:
    """An error that was not handled.

    :param process: "machine/pid", or a host's name, or "" if unknown.
    """

    time: float
    process: str
    words: str


class Simulation:
    """A world. Only one may be open at a time.

    :param seed: everything in it follows from this.
    :param folder: for the disks of its machines; best on a tmpfs. The caller removes it.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.events = Events()
        self.entries: list[Entry] = []
        self.errors: list[Trouble] = []
        self.buried: list[SimulatedProcess] = []
        self.current: HostReactor | None = None
        self._digest = sha256()
        self._streams: dict[str, random.Random] = {}
        self._reactors: list[HostReactor] = []
        self._running = False
        self._moment, self._turns = -1.0, 0
        self._soon: list[Callable[[], object]] = []
        self.network = Network(self.events, self.random, self.log)
        self.calls = Calls(self._process)
        self._sqlite = Sqlite(self.calls, self._process, self.random("sqlite"))
        self.calls.install()
        self._sqlite.install()
        globalLogPublisher.addObserver(cast("Any", self._observe))
        # Garbage is collected at fixed moments of virtual time, so that finalizers run at the same moment in each
        # run.
        gc.disable()
        gc.collect()
        gc.freeze()
        self.events.after(_COLLECT_S, None, self._collect)

    # Time and chance

    def seconds(self) -> float:
        """True time: from 0, and monotonic."""
        return self.events.now

    def random(self, name: str) -> random.Random:
        """The random stream of a name: the same seed and name give the same numbers, independent of other streams."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = random.Random(f"{self.seed}/{name}")
        return stream

    def run_until(self, moment: float) -> None:
        """Run everything up to a moment (seconds of the simulation)."""
        while (event := self.events.next(moment)) is not None:
            self._must_go_on()
            self._run(event)
        self.events.now = max(self.events.now, moment)

    def _must_go_on(self) -> None:
        """Guard against two programs that wait for each other in turns of no length, which would never end."""
        if self.events.now != self._moment:
            self._moment, self._turns = self.events.now, 0
        self._turns += 1
        if self._turns > _MOST_TURNS:
            raise TimeStands(f"more than {_MOST_TURNS} events at {self.events.now} s")

    def soon(self, function: Callable[[], object]) -> None:
        """Run a function after the current event; at once if there is none."""
        if self._running:
            self._soon.append(function)
        else:
            function()

    def _run(self, event: Event) -> None:
        owner, arguments, keywords = event.owner, event.arguments, event.keywords
        self.current = owner if isinstance(owner, VirtualReactor) else None
        name = "" if self.current is None else self.current.name
        self._digest.update(f"{event.time!r} {name}\n".encode())
        function = event.begin()
        assert function is not None
        self._running = True
        try:
            if self.current is not None and (process := self.current.process) and process.counts_events:
                process.reach("event")
            function(*arguments, **keywords)
        except Killed:
            pass
        except Exception:
            _log.failure("an event failed")
        finally:
            self.current = None
            self._running = False
        if isinstance(owner, Owner) and not owner.alive:
            event.function = function  # it is kept: see Owner.parked
            owner.parked.append(event)
        while self._soon:
            self._soon.pop(0)()

    def _collect(self) -> None:
        gc.collect()
        self.events.after(_COLLECT_S, None, self._collect)

    # Hosts

    def host(self, name: str, address: str) -> Host:
        """A host for clients or HOSP."""
        return Host(self, name, address)

    def belongs(self, reactor: HostReactor) -> None:
        """Register a reactor; it dies with the world at the latest."""
        self._reactors.append(reactor)

    def _process(self) -> SimulatedProcess | None:
        """The process whose code runs."""
        return None if self.current is None else self.current.process

    def close_files(self, process: SimulatedProcess) -> None:
        """Close the files of a dead process. That writes nothing, because it is dead."""
        self.calls.orphaned(process)
        self.current, before = process.reactor, self.current
        try:
            for connection in process.connections:
                with suppress(sqlite3.Error):
                    connection.close()
        finally:
            self.current = before

    def machine(self, name: str, address: str) -> Machine:
        """A machine for the proxy, with an empty disk."""
        return Machine(self, name, address)

    # Log of events

    def log(self, kind: str, **fields: Any) -> None:
        """Add to the log of events, and to the digest."""
        now = self.events.now
        self._digest.update(repr((now, kind, fields)).encode())
        for name, value in fields.items():
            if isinstance(value, bytes) and len(value) > _SHOWN_BYTES:
                fields[name] = f"{len(value)} bytes, {sha256(value).hexdigest()[:16]}"
        self.entries.append(Entry(now, kind, fields))

    def digest(self) -> str:
        """Digest of every event and byte so far."""
        return self._digest.hexdigest()

    def trouble(self, process: str, words: str) -> None:
        """Note an error that was not handled."""
        self.errors.append(Trouble(self.events.now, process, words))

    def _observe(self, event: Any) -> None:
        if event.get("log_failure") is None and event.get("log_level") is not LogLevel.critical:
            return
        current = self.current
        failure = event.get("log_failure")
        if failure is None and str(event.get("log_format")).startswith("Unhandled error in Deferred"):
            return  # the failure itself follows
        is_dead = current is not None and not current.alive
        if is_dead or (failure is not None and failure.check(Killed)):
            return
        words = formatEvent(event)
        if failure is not None:
            words = f"{words}\n{failure.getTraceback()}"
        self.trouble(current.name if current is not None else "", words)

    # The end

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the world: none of its code runs afterwards.

        Coroutines that wait for something are closed here, where nothing that they do has an effect. Otherwise the
        garbage collector would close them at any time.
        """
        gc.collect()  # unhandled errors are noted while they still count
        for reactor in self._reactors:
            reactor.alive = False
            if reactor.process is not None and reactor.process.running:
                reactor.process.running = False
                self.close_files(reactor.process)
        self.current = next((each for each in self._reactors if each.process is not None), None)
        with silence():
            close_coroutines()
            forgive()
            self.events.clear()
            self.buried.clear()
            for reactor in self._reactors:
                reactor.forget()
            self._reactors.clear()
            gc.collect()
        self.current = None
        globalLogPublisher.removeObserver(cast("Any", self._observe))
        self._sqlite.uninstall()
        self.calls.uninstall()
        gc.unfreeze()
        gc.enable()
