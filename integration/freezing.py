"""A TCP relay that swallows all bytes when it is told to, as a network does that lost its route."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import defer, endpoints, protocol
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.python.failure import Failure


class Freezer(protocol.Factory):
    """Passes connections on to a port of this host.

    :ivar swallow: "" (nothing), "answers" (what comes back) or "all".
    :ivar after: when bytes that hold this go on, ``swallow`` becomes "answers".
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.swallow = ""
        self.after: bytes | None = None
        self._port: Any = None
        self._open: set[ITCPTransport] = set()

    def start(self) -> int:
        """Listen; the port."""
        from twisted.internet import reactor

        self._port = cast(IListeningPort, cast(Any, reactor).listenTCP(0, self, interface="127.0.0.1"))
        return int(self._port.getHost().port)

    async def stop(self) -> None:
        """Listen no more, and end all connections."""
        await defer.maybeDeferred(self._port.stopListening)
        for transport in list(self._open):
            transport.abortConnection()

    def buildProtocol(self, addr: object) -> protocol.Protocol:
        return _Side(self, None)


class _Side(protocol.Protocol):
    """One end; the near one has no other at first."""

    def __init__(self, freezer: Freezer, other: _Side | None) -> None:
        self.freezer = freezer
        self.other = other
        self.is_near = other is None
        self.held: list[bytes] = []

    def connectionMade(self) -> None:
        self.freezer._open.add(cast(ITCPTransport, self.transport))
        if self.is_near:
            from twisted.internet import reactor

            endpoint = endpoints.TCP4ClientEndpoint(cast(Any, reactor), "127.0.0.1", self.freezer.target)
            far = endpoints.connectProtocol(endpoint, _Side(self.freezer, self))
            far.addCallbacks(self._joined, self._refused)

    def _joined(self, far: _Side) -> None:
        self.other = far
        for data in self.held:
            self._pass(data)
        self.held.clear()

    def _refused(self, _failure: Failure) -> None:
        cast(ITCPTransport, self.transport).abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.other is None:
            self.held.append(data)
        else:
            self._pass(data)

    def _pass(self, data: bytes) -> None:
        freezer = self.freezer
        if freezer.swallow == "all" or (freezer.swallow and not self.is_near):
            return
        if self.is_near and freezer.after is not None and freezer.after in data:
            freezer.after, freezer.swallow = None, "answers"
        assert self.other is not None and self.other.transport is not None
        cast(ITCPTransport, self.other.transport).write(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self.freezer._open.discard(cast(ITCPTransport, self.transport))
        if self.other is not None and self.other.transport is not None:
            cast(ITCPTransport, self.other.transport).loseConnection()
