"""A small network in memory on a `Clock`, for tests of HOSP and clients without the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

DELAY_S = 0.01


class Net:
    def __init__(self) -> None:
        self.clock = Clock()
        self.ports: dict[tuple[str, int], Any] = {}

    def host(self, address: str) -> HostParts:
        return HostParts(self, address)

    def run(self, seconds: float, step: float = 0.05) -> None:
        self.clock.pump([step] * int(seconds / step))


class HostParts:
    """The parts of a simulated host's reactor that HOSP and clients need."""

    def __init__(self, net: Net, address: str) -> None:
        self.net = net
        self.address = address
        self.seconds: Callable[[], float] = net.clock.seconds
        self.callLater = net.clock.callLater

    def listenTCP(self, port: int, factory: Any, interface: str = "", backlog: int = 50) -> Port:
        self.net.ports[interface or self.address, port] = factory
        return Port(self.net, (interface or self.address, port))

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30) -> None:
        def connect() -> None:
            listening = self.net.ports.get((host, port))
            if listening is None:
                factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
                return
            far = listening.buildProtocol(IPv4Address("TCP", self.address, 1))
            near = factory.buildProtocol(IPv4Address("TCP", host, port))
            one, other = End(self.net.clock, far), End(self.net.clock, near)
            one.peer, other.peer = other, one
            far.makeConnection(one)
            near.makeConnection(other)

        self.callLater(DELAY_S, connect)


class Port:
    def __init__(self, net: Net, key: tuple[str, int]) -> None:
        self.net, self.key = net, key

    def stopListening(self) -> None:
        self.net.ports.pop(self.key, None)


class End:
    peer: End

    def __init__(self, clock: Clock, protocol: Any) -> None:
        self.clock, self.protocol = clock, protocol
        self.open = True

    def write(self, data: bytes) -> None:
        if self.open:
            self.clock.callLater(DELAY_S, self._deliver, self.peer, data)

    def loseConnection(self) -> None:
        self._end(ConnectionDone())

    def abortConnection(self) -> None:
        self._end(ConnectionLost())

    def _end(self, reason: Exception) -> None:
        if self.open:
            self.open = False
            self.clock.callLater(0, self.protocol.connectionLost, Failure(reason))
            self.clock.callLater(DELAY_S, self._hear, self.peer, reason)

    @staticmethod
    def _deliver(peer: End, data: bytes) -> None:
        if peer.open:
            peer.protocol.dataReceived(data)

    @staticmethod
    def _hear(peer: End, reason: Exception) -> None:
        if peer.open:
            peer.open = False
            peer.protocol.connectionLost(Failure(reason))
