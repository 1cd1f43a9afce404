"""The network: listeners, connection attempts, and links between hosts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectingCancelledError,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .connection import End, paired
from .events import Events
from .link import Link
from .reactor import VirtualReactor
from .shared_socket import SharedSocket

_log = Logger()
_FIRST_PORT = 32_768


class Network:
    """All listeners and links.

    :param events: the world's.
    :param stream: returns an independent random stream for each name.
    :param told: called for each happening, with kind and fields.
    """

    def __init__(
        self, events: Events, stream: Callable[[str], random.Random], told: Callable[..., None]
    ) -> None:
        self.events = events
        self.told = told
        self.down: set[str] = set()
        """Addresses of machines without power: nothing responds there."""
        self._stream = stream
        self._choice = stream("network/choice")
        self._links: dict[tuple[str, str], Link] = {}
        self._ports: dict[tuple[str, int], list[Port]] = {}
        self._sockets: dict[int, tuple[str, int]] = {}
        self._next_port: dict[str, int] = {}
        self._connections = 0

    def between(self, one: str, other: str) -> Link:
        """The link of two addresses, in either order."""
        names = (one, other) if one <= other else (other, one)
        link = self._links.get(names)
        if link is None:
            link = self._links[names] = Link(self._stream(f"network/{names[0]}/{names[1]}"))
        return link

    def reset_all(self) -> None:
        """Break every connection."""
        for link in self._links.values():
            link.reset_all()

    def power_off(self, address: str) -> None:
        """A machine has lost power: nothing responds there, and its kernel sends nothing again."""
        self.down.add(address)
        for link in self._links.values():
            link.forget(address)

    def number(self) -> int:
        """Number for the next connection."""
        self._connections += 1
        return self._connections

    # Listeners

    def listen(
        self, reactor: VirtualReactor, port: int, factory: Any, host: str, *, shared: bool = False
    ) -> Port:
        """Listen at an address.

        :param shared: with others, on a socket that their parent has opened.
        :raise CannotListenError: it is taken.
        """
        if host in ("0.0.0.0", "127.0.0.1", "::", "::1"):
            host = reactor.address
        port = port or self._free(host)
        there = self._ports.setdefault((host, port), [])
        if there and not (shared and all(each.shared for each in there)):
            raise CannotListenError(host, port, OSError("address in use"))
        made = Port(self, reactor, host, port, factory, shared)
        there.append(made)
        reactor.ports[made] = None
        factory.doStart()
        return made

    def unlisten(self, port: Port) -> None:
        """Stop listening."""
        there = self._ports.get((port.host, port.port), [])
        if port in there:
            there.remove(port)

    def listener(self, host: str, port: int) -> Port | None:
        """The listener that accepts the next connection there."""
        there = self._ports.get((host, port), [])
        if len(there) > 1:
            return self._choice.choice(there)
        return there[0] if there else None

    def socket(self, host: str, port: int) -> SharedSocket:
        """A socket on which several processes may listen."""
        number = 1000 + len(self._sockets)
        self._sockets[number] = (host, port)
        return SharedSocket(number)

    def shared(self, number: int) -> tuple[str, int]:
        """The address of a shared socket."""
        return self._sockets[number]

    def _free(self, host: str) -> int:
        port = self._next_port.get(host, _FIRST_PORT)
        self._next_port[host] = port + 1 if port < 65_000 else _FIRST_PORT
        return port

    # Connections

    def connect(
        self, reactor: VirtualReactor, host: str, port: int, factory: Any, timeout: float
    ) -> Connector:
        """Start a connection attempt."""
        if host in ("127.0.0.1", "::1", "localhost"):
            host = reactor.address
        connector = Connector(
            self,
            reactor,
            IPv4Address("TCP", host, port),
            IPv4Address("TCP", reactor.address, self._free(reactor.address)),
            factory,
            timeout,
        )
        connector.connect()
        return connector


@implementer(IListeningPort)
@define(eq=False)
class Port:
    """One process's listening at one address."""

    network: Network
    reactor: VirtualReactor
    host: str
    port: int
    factory: Any
    shared: bool = False
    _open: bool = True

    def startListening(self) -> None:
        raise NotImplementedError

    def stopListening(self) -> Deferred[None]:
        if self._open:
            self.close()
            self.factory.doStop()
        return succeed(None)

    def loseConnection(self, connDone: object = None) -> Deferred[None]:
        return self.stopListening()

    def close(self) -> None:
        """Accept nothing more."""
        self._open = False
        self.network.unlisten(self)
        self.reactor.ports.pop(self, None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self.host, self.port)


@implementer(IConnector)
@define(eq=False)
class Connector:
    """One attempt to connect, and the connection after it."""

    network: Network
    reactor: VirtualReactor
    there: IPv4Address
    here: IPv4Address
    factory: Any
    timeout: float
    state: str = "disconnected"
    _end: End | None = None
    _timer: Any = None

    def connect(self) -> None:
        self.state = "connecting"
        self.reactor.connecting[self] = None
        self.factory.doStart()
        self.factory.startedConnecting(self)
        self._timer = self.reactor.callLater(self.timeout, self._failed, TimeoutError("nobody answers"))
        link = self._link
        # The packet has no owner: it arrives even if its sender is dead.
        self.network.events.after(link.takes(), None, link.carry, self._arrived)

    @property
    def _link(self) -> Link:
        return self.network.between(self.here.host, self.there.host)

    def _arrived(self) -> None:
        """The attempt arrives at the other side."""
        network, link = self.network, self._link
        if self.there.host in network.down:
            return
        port = network.listener(self.there.host, self.there.port)
        if port is None:
            refused = ConnectionRefusedError("nobody listens there")
            network.events.after(link.takes(), self.reactor, link.carry, lambda: self._failed(refused))
            return
        ours, theirs = paired(network, link, self.reactor, port.reactor, self.here, self.there)
        ours.connector = self
        network.told("connect", connection=ours.number, source=str(self.here.host), to=_words(self.there))
        network.events.after(0.0, port.reactor, self._accept, port, theirs)
        theirs.hold(link, lambda: self._answered(ours))

    def _answered(self, ours: End) -> None:
        if self.reactor.alive:
            self.network.events.after(0.0, self.reactor, self._made, ours)
        else:
            ours.refuse()

    @staticmethod
    def _accept(port: Port, theirs: End) -> None:
        try:
            protocol = port.factory.buildProtocol(theirs.getPeer())
        except Exception:
            _log.failure("a connection could not be accepted")
            protocol = None
        if protocol is None:
            theirs.refuse()
            return
        theirs.begin(protocol)

    def _made(self, ours: End) -> None:
        """The other side has accepted."""
        if self.state != "connecting":
            ours.refuse()
            return
        self._no_timer()
        self.reactor.connecting.pop(self, None)
        self.state = "connected"
        self._end = ours
        protocol = self.factory.buildProtocol(self.there)
        if protocol is None:
            ours.refuse()
            self.lost(Failure(UserError()))
            return
        ours.begin(protocol)

    def lost(self, reason: Failure) -> None:
        """The connection is over."""
        self.state = "disconnected"
        self.factory.clientConnectionLost(self, reason)
        if self.state == "disconnected":
            self.factory.doStop()

    def _failed(self, error: Exception) -> None:
        if self.state != "connecting":
            return
        self._no_timer()
        self.reactor.connecting.pop(self, None)
        self.state = "disconnected"
        self.factory.clientConnectionFailed(self, Failure(error))
        if self.state == "disconnected":
            self.factory.doStop()

    def _no_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def stopConnecting(self) -> None:
        self._failed(ConnectingCancelledError(self.there))

    def disconnect(self) -> None:
        if self.state == "connecting":
            self.stopConnecting()
        elif self._end is not None:
            self._end.loseConnection()

    def getDestination(self) -> IPv4Address:
        return self.there


def _words(address: IPv4Address) -> str:
    return f"{address.host}:{address.port}"
