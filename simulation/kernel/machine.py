"""Hosts on the network: one for the simulation's own programs, and machines that run the proxy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from attrs import evolve

from hospproxy.arrival.listeners import place_of
from hospproxy.config import Settings
from hospproxy.record.trail.ends import JournalEnds
from hospproxy.service.service import build
from hospproxy.service.worker_identity import ONLY, Seat

from .disk import Disk
from .interfaces import World
from .options import settings_of
from .process import Process
from .reactor import VirtualReactor
from .shared_socket import SharedSocket

EPOCH = 1_700_000_000.0
"""The wall clock of every machine when the simulation begins, until it is stepped."""


class Host:
    """A host with its own reactor and no disk: for clients and HOSP.

    :ivar address: an IPv4 address.
    """

    def __init__(self, world: World, name: str, address: str) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.reactor = VirtualReactor(world.events, world.network, address, name)
        world.belongs(self.reactor)


class WallClock:
    """Seconds since the epoch. It advances with the true time, and jumps when told to."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._offset = EPOCH

    def now(self) -> float:
        """The time that it shows."""
        return self._offset + self._world.seconds()

    def step(self, seconds: float) -> None:
        """Jump forward, or back."""
        self._offset += seconds
        self._world.log("wall clock", machine=self._name, step=seconds)


class Machine(Host):
    """A machine that runs the proxy.

    :ivar reactor: of programs beside the proxy; each process has its own.
    :ivar processes: those that run.
    """

    def __init__(self, world: World, name: str, address: str) -> None:
        super().__init__(world, name, address)
        self.folder = world.folder / name
        self.state_dir: Path = self.folder / "state"
        self.folder.mkdir(parents=True)
        self.wall = WallClock(world, name)
        self.disk = Disk(world, name, self.folder)
        world.calls.add(self.disk)
        self.processes: dict[int, Process] = {}
        self._sockets: dict[tuple[str, int], SharedSocket] = {}
        self._ends: JournalEnds | None = None
        self._pid = 100
        self._booted = 0.0

    def start(
        self, options: str, slot: int = 0, boot_s: float = 0.5, *, has_courier: bool = False
    ) -> Process:
        """Start the proxy. It boots after ``boot_s`` seconds, so that a seam can be set first.

        :param options: the text of an options file; the state folder is the machine's.
        :param slot: with ``workers`` above 1 in the options: which of them this is.
        :param has_courier: what follows the audit journal runs in a process of its own.
        """
        return self.start_with(settings_of(options, self.state_dir), slot, boot_s, has_courier=has_courier)

    def start_with(
        self, settings: Settings, slot: int = 0, boot_s: float = 0.5, *, has_courier: bool = False
    ) -> Process:
        """Start the proxy with settings that were read elsewhere; the state folder is the machine's."""
        settings = evolve(settings, state_dir=self.state_dir)
        seat = ONLY
        if settings.workers > 1:
            ends = self._shared_ends(settings.workers) if has_courier else None
            seat = Seat(slot, cast("Any", self._shared(settings)), (), ends=ends)

        def main(process: Process) -> None:
            process.service = build(settings, process.reactor, seat, host=process.host())
            process.reactor.addSystemEventTrigger("before", "shutdown", process.service.stopService)
            process.service.privilegedStartService()
            process.service.startService()

        return self.run(main, boot_s, settings.drain_s, has_courier=has_courier)

    def since_boot(self) -> float:
        """Monotonic seconds that its processes share. They restart at a power cut."""
        return self.world.seconds() - self._booted

    def put(self, name: str, content: bytes) -> None:
        """Put a private file into the state folder, as an operator does. It is on disk."""
        path = self.state_dir / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)

    def run(
        self,
        main: Callable[[Process], object],
        boot_s: float = 0.0,
        drain_s: float = 0.0,
        *,
        has_courier: bool = False,
    ) -> Process:
        """Run another program, such as a command that reads the disk.

        :param main: called in the process after ``boot_s`` seconds.
        """
        self.world.network.down.discard(self.address)
        pid = self.new_pid()
        process = self.processes[pid] = Process(self, pid, main, drain_s, has_courier=has_courier)
        process.boot(boot_s)
        return process

    def new_pid(self) -> int:
        """Number for the next process."""
        self._pid += 1
        return self._pid

    def remove(self, pid: int) -> None:
        """A process has ended."""
        self.processes.pop(pid, None)

    def _shared_ends(self, workers: int) -> JournalEnds:
        """The memory that a supervisor gives to all of its workers."""
        if self._ends is None:
            self._ends = JournalEnds.make(workers)
        return self._ends

    def _shared(self, settings: Settings) -> tuple[SharedSocket, ...]:
        places = [place_of(each.url) for each in settings.listeners]
        for place in places:
            if place not in self._sockets:
                self._sockets[place] = self.world.network.socket(*place)
        return tuple(self._sockets[place] for place in places)

    def power_cut(self) -> None:
        """Kill all processes, and lose what was not synced. No peer on the network is notified.

        Within an event, the disk loses it when that event is over.
        """
        self.world.log("power cut", machine=self.name)
        self.world.network.power_off(self.address)
        for process in list(self.processes.values()):
            process.die("power", None)
        self._booted = self.world.seconds()
        self._ends = None
        self.world.soon(self.disk.power_cut)
