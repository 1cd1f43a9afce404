"""A TCP relay that loses requests or responses on demand, for an upstream in which no faults can be set."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

from twisted.internet import defer, protocol
from twisted.internet.interfaces import IListeningPort

from .relay_ends import FarEnd, NearEnd


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


class _Near(NearEnd):
    """A request fits one read here: the tests send nothing large."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay.target, _Far)
        self._relay = relay
        self.lost: str | None = None

    def dataReceived(self, data: bytes) -> None:
        first = data.split(b"\r\n", 1)[0].decode("ascii", "replace")
        if first.endswith("HTTP/1.1"):
            self._relay.heads.append(data.partition(b"\r\n\r\n")[0])
            self.lost = self._relay.came(first.removesuffix(" HTTP/1.1"))
            if self.lost == "before":
                self.reset()
                return
        self.forward(data)


class _Far(FarEnd):
    def dataReceived(self, data: bytes) -> None:
        if self._near.lost == "after":
            self._near.reset()
        else:
            self._near.transport.write(data)
