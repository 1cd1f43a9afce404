"""A TCP relay that loses requests or responses on demand, for an upstream in which no faults can be set."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

from twisted.internet import defer, protocol
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.python.failure import Failure


class Relay(protocol.Factory):
    """Forwards connections to a port of this host, one request of the proxy's at a time.

    :ivar requests: the first line of every request that came, as ``POST /notes``.
    :ivar heads: the whole head of each, in bytes.
    :ivar losing: (method, when) of the next faults, in order: "before" the request is forwarded, or "after" its
        response came back; either way the connection is reset. A request that does not match is forwarded.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.requests: list[str] = []
        self.heads: list[bytes] = []
        self.losing: deque[tuple[str, str]] = deque()
        self._port: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port.getHost().port}"

    def start(self) -> None:
        from twisted.internet import reactor

        self._port = cast(IListeningPort, cast(Any, reactor).listenTCP(0, self, interface="127.0.0.1"))

    async def stop(self) -> None:
        await defer.maybeDeferred(self._port.stopListening)

    def buildProtocol(self, addr: object) -> protocol.Protocol:
        return _Near(self)

    def came(self, first_line: str) -> str | None:
        """A request has come; return the fault that it gets, if any."""
        self.requests.append(first_line)
        if self.losing and self.losing[0][0] == first_line.partition(" ")[0]:
            return self.losing.popleft()[1]
        return None


class _Near(protocol.Protocol):
    """The proxy's end. A request fits one read here: the tests send nothing large."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._far: protocol.Protocol | None = None
        self._held: list[bytes] = []
        self.lost: str | None = None

    def connectionMade(self) -> None:
        from twisted.internet import reactor

        creator = protocol.ClientCreator(reactor, _Far, self)
        creator.connectTCP("127.0.0.1", self._relay.target).addCallbacks(self._joined, lambda _: self.reset())

    def _joined(self, far: protocol.Protocol) -> None:
        self._far = far
        held, self._held = self._held, []
        for data in held:
            far.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        first = data.split(b"\r\n", 1)[0].decode("ascii", "replace")
        if first.endswith("HTTP/1.1"):
            self._relay.heads.append(data.partition(b"\r\n\r\n")[0])
            self.lost = self._relay.came(first.removesuffix(" HTTP/1.1"))
            if self.lost == "before":
                self.reset()
                return
        if self._far is None:
            self._held.append(data)
        else:
            self._far.transport.write(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        if self._far is not None:
            self._far.transport.loseConnection()

    def reset(self) -> None:
        cast(ITCPTransport, self.transport).abortConnection()


class _Far(protocol.Protocol):
    """The upstream's end."""

    def __init__(self, near: _Near) -> None:
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        if self._near.lost == "after":
            self._near.reset()
        else:
            self._near.transport.write(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._near.transport.loseConnection()
