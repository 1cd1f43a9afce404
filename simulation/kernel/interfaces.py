"""What the parts of the simulated system ask of each other. Each part imports this and the parts below it.

From the ground up: `link`, `reactor`, `connection`, `network`; `disk`, `threads` and `index`; `child`, `process`,
`machine`, `redis`, `world`. Where a part calls another one that stands above it, it names an interface of this module.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.interfaces import IConnector, IDelayedCall, IListeningPort
from twisted.python.failure import Failure

from .events import Events
from .shared_socket import SharedSocket


class ConnectionEnd(Protocol):
    """One end of a connection, as its reactor, its link and its process see it."""

    def broken(self) -> None:
        """The network has broken the connection: both sides notice."""

    def orphaned(self) -> None:
        """The process has ended: its kernel closes the connection."""

    def vanish(self) -> None:
        """The machine has lost power: the other side learns nothing."""


class Connecting(Protocol):
    """A connection attempt, and the connection after it."""

    def lost(self, reason: Failure) -> None:
        """The connection is over."""


class Listening(Protocol):
    """A listener, as its reactor and its process see it."""

    def close(self) -> None:
        """Accept nothing more."""


class TcpNetwork(Protocol):
    """All listeners and links, as hosts see them.

    :ivar told: called for each happening, with kind and fields.
    :ivar down: addresses of machines without power.
    """

    events: Events
    told: Callable[..., None]
    down: set[str]

    def number(self) -> int:
        """Number for the next connection."""

    def listen(
        self, reactor: Any, port: int, factory: Any, host: str, *, shared: bool = False
    ) -> IListeningPort:
        """Listen at an address."""

    def connect(self, reactor: Any, host: str, port: int, factory: Any, timeout: float) -> IConnector:
        """Start a connection attempt."""

    def socket(self, host: str, port: int) -> SharedSocket:
        """A socket on which several processes may listen."""

    def shared(self, number: int) -> tuple[str, int]:
        """The address of a shared socket."""

    def power_off(self, address: str) -> None:
        """A machine has lost power."""


class TaskDisk(Protocol):
    """The disk of a machine, as a thread sees it."""

    def begin(self) -> None:
        """A task begins."""

    def end(self) -> float:
        """The task is over. Returns the seconds that its calls take."""


class Wall(Protocol):
    """A wall clock."""

    def now(self) -> float:
        """Seconds since the epoch."""


class ProcessMachine(Protocol):
    """A machine, as its processes and their threads see it."""

    name: str
    address: str

    @property
    def world(self) -> World: ...

    @property
    def disk(self) -> TaskDisk: ...

    @property
    def wall(self) -> Wall: ...

    def since_boot(self) -> float:
        """Monotonic seconds that its processes share."""

    def new_pid(self) -> int:
        """Number for the next process."""

    def remove(self, pid: int) -> None:
        """A process has ended."""


class SimulatedProcess(Protocol):
    """A process, as its reactor, its threads and its disk see it."""

    pid: int
    name: str
    running: bool
    counts_events: bool
    task: str
    on_end: Callable[[int | None], None]
    connections: list[sqlite3.Connection]

    @property
    def machine(self) -> ProcessMachine: ...

    @property
    def reactor(self) -> HostReactor: ...

    def random(self, name: str) -> random.Random:
        """A random stream of the machine's."""

    def keep(self, made: object) -> None:
        """Keep an object for as long as the simulation goes on."""

    def kill(self) -> None:
        """kill -9."""

    def die(self, why: str, status: int | None) -> None:
        """End it at once."""

    def spawn(self, protocol: Any, descriptors: Mapping[int, int | str]) -> None:
        """Start a courier."""

    def adopt(self, factory: Any) -> None:
        """Connect a protocol to the courier that was started last."""

    def must_live(self) -> None:
        """Check that it is alive."""

    def reach(self, seam: str) -> None:
        """The process has reached a place at which it may be killed."""

    def forget(self) -> None:
        """Drop its objects."""


class HostReactor(Protocol):
    """The reactor of a host or process, as its process and the world see it."""

    name: str
    alive: bool
    process: SimulatedProcess | None

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """Run a function later, unless the process has ended by then."""

    def forget(self) -> None:
        """Drop everything; the world is over."""


class DiskCalls(Protocol):
    """The calls for files of all processes, as a machine sees them."""

    def add(self, disk: Any) -> None:
        """See a disk's files."""


class World(Protocol):
    """The world, as everything in it sees it.

    :ivar folder: for the disks of its machines.
    :ivar buried: processes that have ended.
    """

    folder: Path
    events: Events
    buried: list[SimulatedProcess]

    @property
    def network(self) -> TcpNetwork: ...

    @property
    def calls(self) -> DiskCalls: ...

    def seconds(self) -> float:
        """True time."""

    def random(self, name: str) -> random.Random:
        """The random stream of a name."""

    def soon(self, function: Callable[[], object]) -> None:
        """Run a function after the current event."""

    def belongs(self, reactor: HostReactor) -> None:
        """Register a reactor."""

    def close_files(self, process: SimulatedProcess) -> None:
        """Close the files of a dead process."""

    def log(self, kind: str, **fields: Any) -> None:
        """Add to the log of events."""

    def trouble(self, process: str, words: str) -> None:
        """Note an error that was not handled."""
