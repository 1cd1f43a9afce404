"""The sockets of clients, polled together.

Twisted's reactor enters a logging context for each event of each descriptor, and sends what was written in its next
turn, after an ``epoll_ctl`` to begin and another to end that. For a response from memory this costs as much as all the
rest. Here one ``epoll`` holds all sockets of clients; it is itself a descriptor that the reactor polls. Everything else
about a connection is Twisted's.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_log = Logger()

ROUND: Final = 256
"""Most events that are handled before the reactor looks at its other descriptors and timers."""

_IN: Final = getattr(select, "EPOLLIN", 1)
_OUT: Final = getattr(select, "EPOLLOUT", 4)
_OVER: Final = getattr(select, "EPOLLERR", 8) | getattr(select, "EPOLLHUP", 16)
_DONE: Final = ConnectionDone()
_LOST: Final = ConnectionLost()


class ClientSocket(tcp.Server):
    """A client's connection that sends at once what it is given, if nothing else waits to be sent."""

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]
        """Read once and hand it to the protocol (IReadDescriptor)."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return _LOST
        if not data:
            return _DONE
        self.protocol.dataReceived(data)
        return None

    def write(self, data: bytes) -> None:
        """Send bytes; what the system does not take now waits, as in any Twisted transport."""
        if (
            not self.connected or self.dataBuffer or self._tempDataBuffer or self.disconnecting
            or self._writeDisconnecting or self._writeDisconnected or self._aborting
        ):  # fmt: skip
            super().write(data)  # type: ignore[no-untyped-call]
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            # A full buffer, or a broken connection: that is reported when the socket is polled, not inside this call.
            sent = 0
        if sent < len(data):
            super().write(data[sent:] if sent else data)  # type: ignore[no-untyped-call]

    @property
    def has_sent_all(self) -> bool:
        """Whether the system has taken everything that was written."""
        return bool(
            self.connected and not self.dataBuffer and not self._tempDataBuffer
            and not self._writeDisconnected and not self._aborting
        )  # fmt: skip

    def writeSequence(self, iovec: Any) -> None:
        """Send the joined pieces at once, as ``ITransport`` wants."""
        self.write(b"".join(iovec))


@implementer(IReadDescriptor, IReactorFDSet)
class ClientSockets:
    """Polls the sockets of all clients. To them it is the reactor, as far as a connection needs one.

    It is a reader of the reactor while there is a connection.

    :param reactor: a reactor with file descriptors and timers.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.callLater: Callable[..., Any] = reactor.callLater
        self._poll: Any = None
        self._wanted: dict[int, int] = {}
        self._sockets: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return True  # Twisted takes the process's own reactor in place of one that is false

    def __len__(self) -> int:
        return len(self._sockets)

    def adopt(self, port: Any) -> None:
        """Let connections that a port accepts be polled here, if it is a TCP port of the system."""
        if isinstance(port, tcp.Port) and hasattr(select, "epoll"):
            port.transport = self._accepted  # type: ignore[assignment] # called like the class

    def _accepted(
        self, sock: Any, protocol: Any, client: Any, port: Any, number: int, _: Any
    ) -> ClientSocket:
        return ClientSocket(sock, protocol, client, port, number, self)

    # -- called by the reactor

    def fileno(self) -> int:
        return -1 if self._poll is None else int(self._poll.fileno())

    def doRead(self) -> None:
        """Handle what has happened at the sockets (IReadDescriptor)."""
        sockets, handle = self._sockets, self._handle
        # No socket is added meanwhile: ports accept in the reactor's own turn. So a number in this list is still the
        # same socket, or none.
        for number, event in self._poll.poll(0, ROUND):
            each = sockets.get(number)
            if each is None:
                continue
            if event != _IN:
                handle(each, number, event)
                continue
            try:
                why = each.doRead()
            except BaseException as error:
                self._failed(each, error)
            else:
                if why is not None:
                    self._disconnect(each, why, True)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, or cannot poll this descriptor: no client can be served any more (IReadDescriptor)."""
        for each in list(self._sockets.values()):
            each.connectionLost(reason)

    def logPrefix(self) -> str:
        return "clients"

    def _handle(self, each: Any, number: int, event: int) -> None:
        why: BaseException | None = None
        reading = False
        try:
            if event & _IN:
                reading = True
                why = each.doRead()
            elif event & _OVER:
                reading = bool(self._wanted.get(number, 0) & _IN)
                why = _DONE if reading else _LOST
            if why is None and event & _OUT:
                reading = False
                why = each.doWrite()
        except BaseException as error:
            self._failed(each, error)
        else:
            if why is not None:
                self._disconnect(each, why, reading)

    def _failed(self, each: Any, error: BaseException) -> None:
        _log.failure("unhandled error at a client's connection; it is closed")
        self._disconnect(each, error, False)

    def _disconnect(self, each: Any, why: BaseException, reading: bool) -> None:
        try:
            self.removeReader(each)
            if reading and isinstance(why, ConnectionDone):
                each.readConnectionLost(Failure(why))  # the client may have closed its side only
            else:
                self.removeWriter(each)
                each.connectionLost(Failure(why))
        except BaseException:
            _log.failure("unhandled error at the end of a client's connection")

    # -- called by the sockets (IReactorFDSet)

    def addReader(self, reader: Any) -> None:
        self._want(reader, self._wanted.get(reader.fileno(), 0) | _IN)

    def addWriter(self, writer: Any) -> None:
        self._want(writer, self._wanted.get(writer.fileno(), 0) | _OUT)

    def removeReader(self, reader: Any) -> None:
        self._want(reader, self._wanted.get(reader.fileno(), 0) & ~_IN)

    def removeWriter(self, writer: Any) -> None:
        self._want(writer, self._wanted.get(writer.fileno(), 0) & ~_OUT)

    def _want(self, each: Any, events: int) -> None:
        number = each.fileno()
        before = self._wanted.get(number, 0)
        if events == before:
            return
        if not before:
            if self._poll is None:  # not earlier: a daemon forks after its ports are open
                self._poll = select.epoll()
            self._poll.register(number, events)
            self._sockets[number] = each
        elif events:
            self._poll.modify(number, events)
        else:
            self._poll.unregister(number)
            del self._sockets[number]
        if events:
            self._wanted[number] = events
        else:
            del self._wanted[number]
        if not before and len(self._sockets) == 1:
            self._reactor.addReader(self)
        elif not self._sockets:
            self._reactor.removeReader(self)

    def removeAll(self) -> list[Any]:
        """Poll no socket any more; return those that were polled."""
        removed = list(self._sockets.values())
        for each in removed:
            self._want(each, 0)
        return removed

    def getReaders(self) -> list[Any]:
        return [each for number, each in self._sockets.items() if self._wanted[number] & _IN]

    def getWriters(self) -> list[Any]:
        return [each for number, each in self._sockets.items() if self._wanted[number] & _OUT]
