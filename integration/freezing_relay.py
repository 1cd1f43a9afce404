"""A TCP relay that delays bytes or swallows them, like a network that lost its route."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import defer, endpoints, error, protocol
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer


class Freezer(protocol.Factory):
    """Forwards connections, and their ends, to a port of this host.

    :param delay_s: seconds that bytes take, in either direction.
    :ivar swallow: "" (nothing), "answers" (what comes back) or "all".
    :ivar after: once bytes that contain this are forwarded, ``swallow`` becomes "answers".
    """

    def __init__(self, target: int, delay_s: float = 0.0) -> None:
        self.target = target
        self.delay_s = delay_s
        self.swallow = ""
        self.after: bytes | None = None
        self._port: Any = None
        self._open: set[ITCPTransport] = set()

    def start(self) -> int:
        """Listen; return the port."""
        from twisted.internet import reactor

        self._port = cast(IListeningPort, cast(Any, reactor).listenTCP(0, self, interface="127.0.0.1"))
        return int(self._port.getHost().port)

    async def stop(self) -> None:
        """Stop listening, and end all connections."""
        await defer.maybeDeferred(self._port.stopListening)
        for transport in list(self._open):
            transport.abortConnection()

    def buildProtocol(self, addr: object) -> protocol.Protocol:
        return _Side(self, None)


@implementer(IHalfCloseableProtocol)
class _Side(protocol.Protocol):
    """One end; the near one has no peer at first."""

    def __init__(self, freezer: Freezer, other: _Side | None) -> None:
        self.freezer = freezer
        self.other = other
        self.is_near = other is None
        self.held: list[Callable[[], None]] = []
        self.on_the_way: deque[Callable[[], None]] = deque()

    def connectionMade(self) -> None:
        self.freezer._open.add(cast(ITCPTransport, self.transport))
        if self.is_near:
            from twisted.internet import reactor

            endpoint = endpoints.TCP4ClientEndpoint(cast(Any, reactor), "127.0.0.1", self.freezer.target)
            far = endpoints.connectProtocol(endpoint, _Side(self.freezer, self))
            far.addCallbacks(self._joined, self._refused)

    def _joined(self, far: _Side) -> None:
        self.other = far
        for action in self.held:
            action()
        self.held.clear()

    def _refused(self, _failure: Failure) -> None:
        cast(ITCPTransport, self.transport).abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._later(lambda: self._pass(data))

    def _later(self, action: Callable[[], None]) -> None:
        """Run an action after the delay, and after all earlier ones."""
        from twisted.internet import reactor

        self.on_the_way.append(action)
        if self.freezer.delay_s:
            cast(Any, reactor).callLater(self.freezer.delay_s, self._next)
        else:
            self._next()

    def _next(self) -> None:
        action = self.on_the_way.popleft()
        if self.other is None:
            self.held.append(action)
        else:
            action()

    def _pass(self, data: bytes) -> None:
        freezer = self.freezer
        if freezer.swallow == "all" or (freezer.swallow and not self.is_near):
            return
        if self.is_near and freezer.after is not None and freezer.after in data:
            freezer.after, freezer.swallow = None, "answers"
        assert self.other is not None and self.other.transport is not None
        cast(ITCPTransport, self.other.transport).write(data)

    def readConnectionLost(self) -> None:
        """The peer sends no more (IHalfCloseableProtocol)."""
        self._later(lambda: self._end("loseWriteConnection"))

    def writeConnectionLost(self) -> None:
        """Everything was sent (IHalfCloseableProtocol)."""

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self.freezer._open.discard(cast(ITCPTransport, self.transport))
        # Forward a reset as a reset, which does not mean the same as an end.
        end = "loseConnection" if reason.check(error.ConnectionDone) else "abortConnection"
        self._later(lambda: self._end(end))

    def _end(self, how: str) -> None:
        if self.other is not None and self.other.transport is not None:
            getattr(self.other.transport, how)()
