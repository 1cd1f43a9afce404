"""Sockets of clients under random schedules: a scripted system below them, a simple model beside them.

The system takes a part of what is sent or nothing, gives bytes in pieces, ends and resets connections at any moment,
and reuses descriptors. In callbacks, protocols write, close and abort, also each other's connections.
"""

from __future__ import annotations

import random
import select
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.arrival.client_sockets import ClientSockets

RUNS = 60
STEPS = 120
ROUNDS = 60
"""Turns in which everything must come to rest, once the system takes and gives everything."""
PIECE = 70_000
"""Longest write in bytes: somewhat more than a transport holds before it pauses its producer."""
IN, OUT, ERR, HUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR, select.EPOLLHUP


class System:
    """Descriptors, and one epoll."""

    def __init__(self) -> None:
        self.open: dict[int, FakeSocket] = {}
        self.registered: dict[int, int] = {}

    def fileno(self) -> int:
        return 3

    def free(self) -> int:
        return next(number for number in range(10, 1000) if number not in self.open)

    def register(self, number: int, events: int) -> None:
        assert number in self.open and number not in self.registered
        self.registered[number] = events

    def modify(self, number: int, events: int) -> None:
        assert number in self.open and number in self.registered
        self.registered[number] = events

    def unregister(self, number: int) -> None:
        assert number in self.open
        del self.registered[number]

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        found = [(number, self.open[number].ready(wanted)) for number, wanted in self.registered.items()]
        return [(number, events) for number, events in found if events][:most]


class FakeSocket:
    """A connection as the kernel has it.

    :ivar room: bytes that it takes before it would block.
    :ivar sent: what it has taken.
    :ivar incoming: what the client has sent and nobody has read.
    """

    def __init__(self, system: System, chance: random.Random) -> None:
        self._system, self._chance = system, chance
        self.number = system.free()
        system.open[self.number] = self
        self.room = 0
        self.sent = bytearray()
        self.incoming = bytearray()
        self.ended = self.was_reset = self.shut = self.closed = False
        self.spurious = False

    def ready(self, wanted: int) -> int:
        if self.was_reset:
            return (wanted & (IN | OUT)) | ERR | HUP
        readable = self.incoming or self.ended or self.spurious
        events = (IN if readable else 0) | (OUT if self.room and not self.shut else 0)
        return events & wanted | (HUP if self.ended and self.shut else 0)

    def fileno(self) -> int:
        return -1 if self.closed else self.number

    def recv(self, size: int) -> bytes:
        assert not self.closed
        if self.was_reset:
            raise ConnectionResetError
        if self.spurious or not (self.incoming or self.ended):
            self.spurious = False
            raise BlockingIOError
        count = min(size, len(self.incoming), self._chance.choice((1, 1000, size)))
        data = bytes(self.incoming[:count])
        del self.incoming[:count]
        return data

    def send(self, data: bytes) -> int:
        assert not self.closed and not self.shut
        if self.was_reset:
            raise self._chance.choice((ConnectionResetError, BrokenPipeError))
        if not self.room:
            raise BlockingIOError(11, "would block")
        count = min(self.room, len(data))
        self.sent += data[:count]
        self.room -= count
        return count

    def shutdown(self, how: int) -> None:
        self.shut = True

    def setsockopt(self, *_: object) -> None:
        pass

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        del self._system.open[self.number]
        self._system.registered.pop(self.number, None)  # as the kernel does


class Reactor:
    """Turns: timers first, then the one descriptor."""

    def __init__(self) -> None:
        self.reader: Any = None
        self._calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def addReader(self, reader: Any) -> None:
        assert self.reader is None
        self.reader = reader

    def removeReader(self, reader: Any) -> None:
        assert self.reader is reader
        self.reader = None

    def callLater(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        self._calls.append((call, arguments))

    def turn(self) -> None:
        calls, self._calls = self._calls, []
        for call, arguments in calls:
            call(*arguments)
        if self.reader is not None:
            self.reader.doRead()


class Client(Protocol):
    """One connection, with a model of what must have come of it.

    :ivar written: what the transport was given and must send.
    """

    transport: Any

    def __init__(self, walk: Walk, socket: FakeSocket) -> None:
        self._walk = walk
        self.socket = socket
        self.written = bytearray()
        self.given = bytearray()
        self.received = bytearray()
        self.lost: list[type[BaseException]] = []
        self.aborted = self.closing = self.write_closing = self.paused = False
        self.producing = self.may_produce = False
        self.read_ends = 0

    def dataReceived(self, data: bytes) -> None:
        self._must(not self.lost, "data after the end")
        self._must(not self.aborted, "data after an abort")
        self._must(not self.read_ends, "data after the end of data")
        self.received += data
        self._walk.in_callback(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(reason.type)
        self._must(len(self.lost) == 1, "lost twice")
        self._walk.in_callback(self)

    # A producer that keeps to what it is told

    def pauseProducing(self) -> None:
        self._must(not self.lost, "paused after the end")
        self.may_produce = False

    def resumeProducing(self) -> None:
        self._must(not self.lost, "resumed after the end")
        self.may_produce = True

    def stopProducing(self) -> None:
        self.producing = self.may_produce = False

    def _must(self, holds: bool, otherwise: str) -> None:
        """Note a broken promise; an exception in a callback would only end the connection."""
        if not holds:
            self._walk.broken.append(otherwise)

    # What the program does

    def write(self, size: int) -> None:
        """Write; a producer writes only while it may."""
        if self.producing and not self.may_produce:
            return
        data = self._walk.chance.randbytes(size)
        if not self.lost and not self.aborted and not self.transport._writeDisconnected:
            self.written += data
        self.transport.write(data)

    def check(self) -> None:
        """What must hold at every moment."""
        sent = bytes(self.socket.sent)
        assert sent == self.written[: len(sent)], "bytes were lost, doubled, or overtook others"
        assert self.received == self.given[: len(self.received)]
        if not self.write_closing:
            everything = not self.lost and not self.aborted and len(sent) == len(self.written)
            assert self.transport.has_sent_all == everything, (self.transport.has_sent_all, everything)
        if self.producing:
            held = len(self.written) - len(sent)
            assert held <= self.transport.bufferSize + PIECE, f"{held} bytes are held"
        if self.lost:
            assert self.socket.closed
            assert not self.transport.connected


@implementer(IHalfCloseableProtocol)
class HalfClient(Client):
    """Goes on writing when its client has ended its direction."""

    def readConnectionLost(self) -> None:
        self.read_ends += 1
        self._must(self.read_ends == 1, "the end of data was told twice")
        self._must(not self.lost, "the end of data was told after the end")
        self._walk.in_callback(self)

    def writeConnectionLost(self) -> None:
        self._must(not self.lost, "the end of writing was told after the end")


class Walk:
    """One random schedule."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.system = System()
        self.reactor = Reactor()
        self.sockets = ClientSockets(self.reactor)
        self.clients: list[Client] = []
        self.restless = 0.3
        self.broken: list[str] = []

    def step(self) -> None:
        """Something happens."""
        living = [each for each in self.clients if not each.lost]
        draw = self.chance.random()
        if not living or (draw < 0.08 and len(living) < 6):
            self.connect()
        elif draw < 0.35:
            self.reactor.turn()
        elif draw < 0.65:
            self.happen(self.chance.choice(living).socket)
        else:
            self.act(self.chance.choice(living))
        self.check()

    def connect(self) -> None:
        """A client connects."""
        socket = FakeSocket(self.system, self.chance)
        client = self.chance.choice((Client, Client, HalfClient))(self, socket)
        transport = self.sockets._accepted(socket, client, ("192.0.2.1", 1), None, 1, None)
        self.clients.append(client)
        client.makeConnection(transport)
        if self.chance.random() < 0.3:
            client.producing = client.may_produce = True
            transport.registerProducer(client, True)

    def happen(self, socket: FakeSocket) -> None:
        """The client or the kernel does something."""
        if socket.closed:
            return
        draw = self.chance.random()
        if draw < 0.45:
            socket.room += self.chance.choice((1, 100, 10_000, 200_000))
        elif draw < 0.8 and not socket.ended and not socket.was_reset:
            data = self.chance.randbytes(self.chance.choice((1, 50, 5000)))
            next(each for each in self.clients if each.socket is socket).given.extend(data)
            socket.incoming += data
        elif draw < 0.9:
            socket.spurious = not socket.incoming and not socket.ended
        elif draw < 0.95:
            socket.ended = True
        else:
            socket.was_reset = True
            socket.incoming.clear()

    def act(self, client: Client) -> None:
        """The program does something with a connection."""
        draw, transport = self.chance.random(), client.transport
        if draw < 0.7:
            client.write(self.chance.choice((0, 1, 100, 5000, PIECE)))
        elif draw < 0.78 and not client.read_ends:
            client.paused = not client.paused
            (transport.pauseProducing if client.paused else transport.resumeProducing)()
        elif draw < 0.88:
            client.closing = True
            if client.producing:
                client.producing = False
                transport.unregisterProducer()
            transport.loseConnection()
        elif draw < 0.93 and isinstance(client, HalfClient) and not client.producing:
            client.write_closing = True
            transport.loseWriteConnection()
        elif draw >= 0.95:
            client.aborted = client.aborted or not client.lost
            transport.abortConnection()

    def in_callback(self, client: Client) -> None:
        """A protocol does something while it is told something, also with another connection."""
        while self.chance.random() < self.restless:
            living = [each for each in self.clients if not each.lost]
            if living:
                self.act(
                    client if client in living and self.chance.random() < 0.7 else self.chance.choice(living)
                )

    def check(self) -> None:
        """What must hold at every moment."""
        assert not self.broken, self.broken
        for each in self.clients:
            each.check()
        living = {each.socket.number for each in self.clients if not each.lost}
        assert set(self.system.registered) <= living, "a closed socket is polled"
        assert set(self.sockets._sockets) == set(self.system.registered) == set(self.sockets._wanted)
        assert (self.reactor.reader is not None) == bool(self.system.registered)

    def settle(self) -> None:
        """From now on the system takes and gives everything: then everything ends that was to end, and only that."""
        self.restless = 0.0
        for client in self.clients:
            if not (client.lost or client.closing or client.aborted or client.read_ends):
                client.paused = False
                client.transport.resumeProducing()
        for _ in range(ROUNDS):
            for client in self.clients:
                client.socket.room = 10_000_000
                client.socket.spurious = False
            self.reactor.turn()
            self.check()
        for client in self.clients:
            self.settled(client)

    def settled(self, client: Client) -> None:
        """What came of a connection in the end."""
        socket = client.socket
        half = isinstance(client, HalfClient)
        ends = client.closing or client.aborted or (socket.ended and not half)
        if not (socket.was_reset and client.read_ends) and not (socket.ended and client.write_closing):
            # Once one direction has ended and the other is idle nothing is polled, and a reset is not noticed. When
            # both have ended, the system says so only if something is polled.
            ends = ends or socket.was_reset
            assert bool(client.lost) == ends, (client.lost, ends)
        if client.lost:
            assert client.lost[0] in (ConnectionDone, ConnectionLost, ConnectionAborted), client.lost
        if not socket.was_reset and not client.aborted and not (socket.ended and not client.read_ends):
            assert socket.sent == client.written, "not everything was sent before the end"
        if not client.lost and not socket.was_reset:
            assert client.received == client.given
            assert client.read_ends == socket.ended


class RandomSchedules(SynchronousTestCase):
    def test_bytes_are_sent_in_order_and_each_end_is_noticed_once(self) -> None:
        first = random.SystemRandom().randrange(1 << 32)
        for seed in range(first, first + RUNS):
            self.walk(seed)

    def test_a_schedule_is_the_same_for_its_seed(self) -> None:
        self.assertEqual(self.walk(1), self.walk(1))

    def walk(self, seed: int) -> list[tuple[int, int, list[type[BaseException]]]]:
        walk = Walk(seed)
        self.patch(select, "epoll", lambda: walk.system)
        try:
            for _ in range(STEPS):
                walk.step()
            walk.settle()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        self.assertEqual(self.flushLoggedErrors(), [], f"seed {seed}")
        return [(len(each.written), len(each.received), each.lost) for each in walk.clients]
