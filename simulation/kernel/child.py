"""The courier as a process of its own: what `spawnProcess` starts here, its channel, and how its end is noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.logger import Logger
from twisted.python.failure import Failure

from hospproxy.courier.messages import ENDS_FD
from hospproxy.courier.process import CourierMain, OwnProcess, is_expected
from hospproxy.record.trail.ends import JournalEnds

from .connection import End, paired
from .events import Events
from .interfaces import SimulatedProcess, TcpNetwork
from .link import Link

BOOT_S = 0.3
"""Seconds until a new interpreter has imported what it needs."""
_NOTICED_S = 0.001
"""Seconds until a parent has noticed the end of its child."""
_log = Logger()


class ChannelNetwork:
    """What carries the bytes of a socket pair. They are not logged: pickled options name folders."""

    def __init__(self, network: TcpNetwork) -> None:
        self.events: Events = network.events
        self.down = network.down
        self.number = network.number

    def told(self, kind: str, **fields: Any) -> None:
        """Log nothing."""


class ChildTransport:
    """A parent's hold on its child (IProcessTransport)."""

    def __init__(self, child: SimulatedProcess) -> None:
        self._child = child
        self.pid: int | None = child.pid

    def signalProcess(self, signal: str) -> None:
        if not self._child.running:
            raise ProcessExitedAlready
        assert signal == "KILL"
        self._child.kill()


class Courier:
    """A courier process that was started and may not have a channel yet.

    :param parent: the process of the service.
    :param protocol: of the parent: gets the child's end.
    :param descriptors: that the child inherits.
    """

    def __init__(
        self,
        parent: SimulatedProcess,
        protocol: Any,
        descriptors: Mapping[int, int | str],
        start: Callable[[Callable[[Any], object]], SimulatedProcess],
    ) -> None:
        world = parent.machine.world
        self._parent = parent
        self._protocol = protocol
        memory = descriptors[ENDS_FD]
        assert isinstance(memory, int)
        self._memory = memory
        self.child = start(self._main)
        self.child.on_end = self._ended
        here = IPv4Address("TCP", parent.machine.address, 0)
        link = Link(world.random(f"{parent.name}/channel"), delay=(0.00005, 0.0005))
        network: Any = ChannelNetwork(world.network)
        ours, theirs = paired(network, link, parent.reactor, self.child.reactor, here, here)  # type: ignore[arg-type]
        self.ours: End = ours
        self._theirs: End = theirs
        protocol.makeConnection(ChildTransport(self.child))

    def _main(self, process: Any) -> None:
        own = OwnProcess(
            # A mapping of the same memory, as an inherited descriptor gives.
            ends=lambda workers: JournalEnds(self._memory, workers),
            cannot_start=self._cannot_start,
            give_way=lambda: None,
            leave=self._leave,
        )
        main = CourierMain(process.reactor, None, process.host(), own)
        process.keep(main)
        process.service = main
        self._theirs.begin(main.channel)
        main.report()

    def _cannot_start(self, error: Exception) -> None:
        if is_expected(error):
            self.child.machine.world.log(
                "courier cannot start", process=self.child.name, why=type(error).__name__
            )
        else:
            _log.failure("the courier cannot start", Failure(error))
        self._leave(1)

    def _leave(self, status: int) -> None:
        self.child.die("exit", status)

    def _ended(self, status: int | None) -> None:
        if status == 0:
            reason = Failure(ProcessDone(0))
        elif status is None:
            reason = Failure(ProcessTerminated(None, 9, 9))
        else:
            reason = Failure(ProcessTerminated(status, None, status << 8))
        self._parent.reactor.callLater(_NOTICED_S, self._protocol.processEnded, reason)
