"""One TCP connection: two ends, and a stream of bytes in each direction."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .interfaces import Connecting, TcpNetwork
from .link import Link
from .reactor import VirtualReactor

_log = Logger()
_WINDOW = 256 * 1024
"""Bytes between two programs that neither holds itself: in the two kernels and the network."""
_BUFFER = 64 * 1024
"""Bytes that a transport holds before it pauses its producer, as in Twisted."""

FIN, RESET = "fin", "reset"
Piece = bytes | str


def paired(
    network: TcpNetwork,
    link: Link,
    client: VirtualReactor,
    server: VirtualReactor,
    client_address: IPv4Address,
    server_address: IPv4Address,
) -> tuple[End, End]:
    """Both ends of a new connection: the client's, and the server's."""
    number = network.number()
    ours = End(network, link, client, client_address, server_address, number)
    theirs = End(network, link, server, server_address, client_address, number)
    ours.peer, theirs.peer = theirs, ours
    for end in (ours, theirs):
        link.ends[end] = None
        end.reactor.ends[end] = None
    return ours, theirs


@implementer(ITCPTransport)
class End:
    """A transport: what one program sees of the connection, and what its kernel holds.

    :ivar peer: the other end.
    :ivar closed: the program has closed it: anything that still comes gets a reset.
    """

    peer: End
    connector: Connecting | None = None
    connected = 0
    disconnecting = False
    bufferSize = _BUFFER

    def __init__(
        self,
        network: TcpNetwork,
        link: Link,
        reactor: VirtualReactor,
        here: IPv4Address,
        there: IPv4Address,
        number: int,
    ) -> None:
        self.number = number
        self.reactor = reactor
        self.closed = False
        self.protocol: Any = None
        self._network = network
        self._link = link
        self._here = here
        self._there = there
        # Bytes to send
        self._out = bytearray()
        self._flying = 0
        self._arrives = 0.0
        self._flushing = False
        self._ending = False
        self._fin_sent = False
        self._producer: Any = None
        self._streaming = False
        self._paused_producer = False
        # Bytes received
        self._in: deque[Piece] = deque()
        self._paused = False
        self._taking = False
        self._lost = False

    # -- ITransport

    def write(self, data: bytes) -> None:
        if not data or self._lost or self.closed or self._fin_sent:
            return
        self._out += data
        if self._producer is not None and len(self._out) > self.bufferSize and not self._paused_producer:
            self._paused_producer = True
            self._producer.pauseProducing()
        self._flush_soon()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if not self._lost and not self.disconnecting:
            self.disconnecting = True
            self._flush_soon()

    def abortConnection(self) -> None:
        if self._lost or self.closed:
            return
        self.closed = True
        self.disconnecting = True
        self._in.clear()
        self._out.clear()
        self._send(RESET)
        self._later(self._over, ConnectionAborted())

    def loseWriteConnection(self) -> None:
        if not self._lost:
            self._ending = True
            self._flush_soon()

    def getPeer(self) -> IPv4Address:
        return self._there

    def getHost(self) -> IPv4Address:
        return self._here

    def getHandle(self) -> None:
        """There is no socket."""

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """No effect: nothing is delayed here."""

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """No effect: no probes are sent here."""

    # -- IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        if self._lost:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
        self._paused_producer = False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        if self.disconnecting or self._ending:
            self._flush_soon()

    # -- IPushProducer

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._in:
            self._take_soon()

    def stopProducing(self) -> None:
        self.loseConnection()

    # -- sending

    def _later(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._network.events.after(0.0, self.reactor, function, *arguments)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._later(self._flush)

    def _flush(self) -> None:
        """Hand to the network what it takes; then ask for more, or end."""
        self._flushing = False
        if self._lost or self.closed:
            return
        self._hand_over()
        if self._out:
            return
        if self._producer is not None and (self._paused_producer or not self._streaming):
            self._paused_producer = False
            self._producer.resumeProducing()
        elif self._producer is None and self.disconnecting:
            self._end()
        elif self._producer is None and self._ending and not self._fin_sent:
            self._fin_sent = True
            self._send(FIN)
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()

    def _end(self) -> None:
        if any(each is not FIN for each in self._in):
            # If data was not read, a kernel resets the connection instead of ending it.
            self._send(RESET)
        elif not self._fin_sent:
            self._send(FIN)
        self._fin_sent = True
        self._over(ConnectionDone())

    def _hand_over(self, most: int = _WINDOW) -> None:
        while self._out and self._flying < most:
            size = self._link.piece(min(len(self._out), most - self._flying))
            piece = bytes(self._out[:size])
            del self._out[:size]
            self._flying += size
            self._send(piece)

    def _send(self, piece: Piece) -> None:
        """Put something on the network. It arrives, whatever happens to this end (but see `Link.forget`)."""
        self._network.told("sent", connection=self.number, by=self._here.host, what=piece)
        self.hold(self._link, lambda: self.peer.arrived(piece))

    def hold(self, link: Link, arrive: Callable[[], None]) -> None:
        """Deliver something at the other end, after everything that was sent before."""
        events = self._network.events
        self._arrives = max(self._arrives, events.now + link.takes())
        events.after(self._arrives - events.now, None, link.carry, arrive, self._here.host)

    # -- receiving

    def arrived(self, piece: Piece) -> None:
        """Receive something; called by the network."""
        if self._here.host in self._network.down:
            return
        if self.closed or self._lost:
            if piece not in (RESET, FIN):
                self._send(RESET)
            return
        if piece is RESET:
            self._in.clear()
            self.closed = True
            self._later(self._over, ConnectionLost("connection reset by peer"))
            return
        self._in.append(piece)
        if not self._paused:
            self._take_soon()

    def _take_soon(self) -> None:
        if not self._taking:
            self._taking = True
            self._later(self._take)

    def _take(self) -> None:
        """Hand received data to the program."""
        self._taking = False
        while self._in and not self._paused and not self._lost and not self.closed and not self.disconnecting:
            if self.protocol is None:
                return  # begin() calls this again
            piece = self._in.popleft()
            if isinstance(piece, str):
                self._read_ended()
                continue
            self.peer.taken(len(piece), self._link)
            try:
                self.protocol.dataReceived(piece)
            except Exception:
                _log.failure("a protocol failed at what it received")
                self.closed = True
                self._send(RESET)
                self._over(ConnectionLost("the protocol failed"))
        if self.disconnecting:
            for piece in self._in:  # nobody reads it any more; do not hold up the sender
                self.peer.taken(len(piece) if isinstance(piece, bytes) else 0, self._link)

    def taken(self, size: int, link: Link) -> None:
        """The other side has read something: there is room for more, once that news arrives."""
        self._flying -= size
        if self._out and not self._flushing:
            self._flushing = True
            self._network.events.after(link.takes(), self.reactor, self._flush)

    def _read_ended(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
            return
        # As in Twisted: unsent data is discarded.
        if not self._fin_sent:
            self._fin_sent = True
            self._send(FIN)
        self._over(ConnectionDone())

    # -- begin and end

    def begin(self, protocol: Any) -> None:
        """Connect a protocol."""
        self.protocol = protocol
        self.connected = 1
        protocol.makeConnection(self)
        if self._in:
            self._take_soon()

    def refuse(self) -> None:
        """Refuse it: there is no protocol for it, or no process."""
        self.closed = True
        self._send(RESET)
        self._forget()

    def broken(self) -> None:
        """The network has broken the connection."""
        if self._lost or self.closed:
            return
        self.closed = True
        self._in.clear()
        self._out.clear()
        self._network.told("broken", connection=self.number, at=self._here.host)
        self._later(self._over, ConnectionLost("connection reset"))

    def _over(self, error: Exception) -> None:
        if self._lost:
            return
        self._lost = self.closed = True
        self.connected = 0
        self.disconnecting = True
        self._out.clear()
        self._forget()
        producer, self._producer = self._producer, None
        reason = Failure(error)
        try:
            if producer is not None:
                producer.stopProducing()
            if self.protocol is not None:
                self.protocol.connectionLost(reason)
        except Exception:
            _log.failure("a protocol failed at the end of its connection")
        if self.connector is not None:
            self.connector.lost(reason)

    def _forget(self) -> None:
        self._link.ends.pop(self, None)
        self.reactor.ends.pop(self, None)

    # -- the end of the process or machine

    def orphaned(self) -> None:
        """The process is dead: its kernel sends what it was given, and closes."""
        if self._lost or self.closed:
            return
        if self._in:
            self._send(RESET)
        else:
            self._hand_over(1 << 40)
            if not self._fin_sent:
                self._send(FIN)
        self.vanish()

    def vanish(self) -> None:
        """The machine is dead: nobody is notified."""
        self._lost = self.closed = True
        self._link.ends.pop(self, None)
