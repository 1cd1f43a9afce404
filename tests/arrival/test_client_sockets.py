"""Sockets of clients: sent at once, polled together, and ended as Twisted ends them."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hospproxy.arrival.client_sockets import ClientSocket, ClientSockets

MUCH = bytes(8 << 20)
"""More than the system's buffers take."""


class Reactor:
    """Knows one reader, and calls later what it is told to."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.calls: list[Any] = []

    def addReader(self, reader: Any) -> None:
        assert reader.fileno() >= 0
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def callLater(self, seconds: float, call: Any, *arguments: Any) -> None:
        self.calls.append((call, arguments))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call, arguments in calls:
            call(*arguments)
        for reader in list(self.readers):
            reader.doRead()


class Keeping(Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Any = None
        self.breaks = False

    def dataReceived(self, data: bytes) -> None:
        if self.breaks:
            raise ZeroDivisionError
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfClosing(Keeping):
    read_ended = write_ended = False

    def readConnectionLost(self) -> None:
        self.read_ended = True

    def writeConnectionLost(self) -> None:
        self.write_ended = True


class ClientSocketsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.sockets = ClientSockets(self.reactor)

    def connect(self, protocol: Keeping | None = None) -> tuple[Any, socket.socket, Any]:
        """Our protocol, the client's socket, and our transport."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        theirs.setblocking(False)
        made = protocol or Keeping()
        transport = self.sockets._accepted(ours, made, ("192.0.2.1", 1), None, 1, self.reactor)
        made.makeConnection(transport)
        return made, theirs, transport

    def test_it_is_what_the_reactor_and_the_sockets_need(self) -> None:
        verifyObject(IReadDescriptor, self.sockets)
        verifyObject(IReactorFDSet, self.sockets)

    def test_only_ports_of_the_system_are_adopted(self) -> None:
        port = tcp.Port(0, None, reactor=self.reactor)  # type: ignore[arg-type]
        self.sockets.adopt(port)
        self.assertEqual(port.transport, self.sockets._accepted)
        self.sockets.adopt(object())

    def test_it_tells_whether_the_system_has_taken_everything(self) -> None:
        _, theirs, transport = self.connect()
        transport.write(b"short")
        self.assertTrue(transport.has_sent_all)
        transport.write(MUCH)
        self.assertFalse(transport.has_sent_all)
        while not transport.has_sent_all:
            theirs.recv(1 << 20)
            self.reactor.turn()
        transport.abortConnection()
        self.reactor.turn()
        self.assertFalse(transport.has_sent_all)

    def test_it_is_polled_while_there_is_a_connection(self) -> None:
        self.assertEqual(self.reactor.readers, [])
        _, _, first = self.connect()
        _, _, second = self.connect()
        self.assertEqual(self.reactor.readers, [self.sockets])
        for transport in (first, second):
            transport.abortConnection()
        self.reactor.turn()
        self.assertEqual((self.reactor.readers, len(self.sockets)), ([], 0))
        self.connect()
        self.assertEqual(self.reactor.readers, [self.sockets])

    def test_bytes_are_sent_at_once_and_received_when_polled(self) -> None:
        protocol, theirs, transport = self.connect()
        transport.writeSequence([b"one ", b"two"])
        self.assertEqual(theirs.recv(100), b"one two")
        theirs.send(b"three")
        self.assertEqual(protocol.received, b"")
        self.reactor.turn()
        self.assertEqual(protocol.received, b"three")

    def test_what_does_not_fit_waits_and_nothing_overtakes_it(self) -> None:
        _, theirs, transport = self.connect()
        transport.write(MUCH)
        transport.write(b"last")
        got = bytearray()
        for _ in range(10_000):
            try:
                got += theirs.recv(1 << 20)
            except BlockingIOError:
                if len(got) == len(MUCH) + 4:
                    break
            self.reactor.turn()
        self.assertEqual((len(got), bytes(got[-4:])), (len(MUCH) + 4, b"last"))
        self.assertEqual(self.sockets.getWriters(), [])

    def test_a_producer_hears_of_a_full_buffer_only(self) -> None:
        heard: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                heard.append("pause")

            def resumeProducing(self) -> None:
                heard.append("resume")

            def stopProducing(self) -> None:
                heard.append("stop")

        _, theirs, transport = self.connect()
        transport.registerProducer(Producer(), True)
        transport.write(b"short")
        self.assertEqual(heard, [])
        transport.write(MUCH)
        self.assertEqual(heard, ["pause"])
        theirs.close()
        self.reactor.turn()
        self.assertEqual(heard, ["pause", "stop"])

    def test_nothing_is_sent_after_an_abort(self) -> None:
        protocol, theirs, transport = self.connect()
        transport.abortConnection()
        transport.write(b"late")
        self.reactor.turn()
        self.assertIsNotNone(protocol.lost)
        self.assertNotIn(b"late", self.rest(theirs))

    def test_what_was_written_before_a_close_is_sent(self) -> None:
        _, theirs, transport = self.connect()
        transport.write(b"answer")
        transport.loseConnection()
        self.reactor.turn()
        self.assertEqual(self.rest(theirs), b"answer")
        self.assertEqual(len(self.sockets), 0)

    def test_a_client_may_close_its_side_only(self) -> None:
        protocol, theirs, transport = self.connect(HalfClosing())
        theirs.shutdown(socket.SHUT_WR)
        self.reactor.turn()
        self.assertTrue(protocol.read_ended)
        self.assertIsNone(protocol.lost)
        transport.write(b"answer")
        transport.loseWriteConnection()
        self.reactor.turn()
        self.assertTrue(protocol.write_ended)
        self.assertEqual(self.rest(theirs), b"answer")

    def test_a_client_that_leaves(self) -> None:
        protocol, theirs, _ = self.connect()
        theirs.close()
        self.reactor.turn()
        self.assertIsNotNone(protocol.lost)
        self.assertEqual(len(self.sockets), 0)

    def test_a_broken_connection_is_reported_later_not_within_write(self) -> None:
        protocol, theirs, transport = self.connect()
        theirs.close()
        transport.write(b"a")
        transport.write(b"b")
        self.assertIsNone(protocol.lost)
        self.reactor.turn()
        self.assertIsNotNone(protocol.lost)

    def test_an_error_ends_that_connection_only_and_is_logged(self) -> None:
        broken, theirs, _ = self.connect()
        other, others, _ = self.connect()
        broken.breaks = True
        theirs.send(b"x")
        others.send(b"y")
        self.reactor.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNotNone(broken.lost)
        self.assertEqual((other.received, other.lost), (b"y", None))

    def test_a_connection_that_another_ends_in_the_same_round(self) -> None:
        first, theirs, transport = self.connect()
        second, others, other = self.connect()
        first.dataReceived = lambda _data: other.abortConnection()
        second.dataReceived = lambda _data: transport.abortConnection()
        theirs.send(b"x")
        others.send(b"y")
        self.reactor.turn()
        self.reactor.turn()
        self.assertEqual([first.lost is None, second.lost is None].count(False), 1)

    def test_reading_can_be_paused(self) -> None:
        protocol, theirs, transport = self.connect()
        transport.pauseProducing()
        theirs.send(b"x")
        self.reactor.turn()
        self.assertEqual(protocol.received, b"")
        transport.resumeProducing()
        self.reactor.turn()
        self.assertEqual(protocol.received, b"x")

    def test_the_end_of_the_reactor_ends_all(self) -> None:
        protocol, _, _ = self.connect()
        self.assertEqual(len(self.sockets.getReaders()), 1)
        self.sockets.connectionLost(Failure(ConnectionLost()))
        self.assertIsNotNone(protocol.lost)
        self.assertEqual(len(self.sockets), 0)

    def rest(self, theirs: socket.socket) -> bytes:
        found = b""
        try:
            while data := theirs.recv(100):
                found += data
        except (BlockingIOError, ConnectionResetError):
            pass
        return found

    def test_the_transport_is_twisteds(self) -> None:
        _, _, transport = self.connect()
        self.assertIsInstance(transport, ClientSocket)
        self.assertIs(transport.reactor, self.sockets)
        self.assertIsInstance(transport, tcp.Server)
