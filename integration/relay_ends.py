"""The two ends of a connection through a relay, for relays that change or lose what passes."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import protocol
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure


class NearEnd(protocol.Protocol):
    """The proxy's end. It keeps what the proxy sends until the other end is connected.

    :param target: port of this host to connect to.
    :param far: class of the other end.
    """

    def __init__(self, target: int, far: type[FarEnd]) -> None:
        self._target = target
        self._class = far
        self._far: protocol.Protocol | None = None
        self._held: list[bytes] = []

    def connectionMade(self) -> None:
        """Connect the other end, or reset this one (Protocol)."""
        from twisted.internet import reactor

        creator = protocol.ClientCreator(reactor, self._class, self)
        creator.connectTCP("127.0.0.1", self._target).addCallbacks(self._joined, lambda _: self.reset())

    def _joined(self, far: protocol.Protocol) -> None:
        self._far = far
        held, self._held = self._held, []
        for data in held:
            far.transport.write(data)

    def forward(self, data: bytes) -> None:
        """Send to the other end, as soon as it is connected."""
        if self._far is None:
            self._held.append(data)
        else:
            self._far.transport.write(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """Close the other end, too (Protocol)."""
        if self._far is not None:
            self._far.transport.loseConnection()

    def reset(self) -> None:
        """Close with a reset instead of a FIN."""
        cast(ITCPTransport, self.transport).abortConnection()


class FarEnd(protocol.Protocol):
    """The server's end.

    :param near: the other end.
    """

    def __init__(self, near: Any) -> None:
        self._near = near

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """Close the other end, too (Protocol)."""
        self._near.transport.loseConnection()
