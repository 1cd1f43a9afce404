"""Connections that begin with a PROXY header: who may send one, and what comes after it.

The header comes before TLS. When it has been read the protocol that it stood before takes the connection over, so that
nothing of this stays in the way.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...words import ProxyHeader
from ..house import House
from .proxy_header import ProxyHeaderError, parse_proxy_header
from .trust import Trust, display_address, parse_address

LOG_S: Final = 60.0
"""Seconds between two lines of the log about the same reason: whoever can connect must not be able to fill the disk."""

_WORDS: Final = {
    "unlisted": "its address is not listed",
    "malformed": "it does not begin with a PROXY header",
    "timeout": "no whole PROXY header came in time",
}


@implementer(IAddress)
@frozen(slots=True)
class Announced:
    """The source of a connection as a PROXY header gives it; "" where it gives none."""

    source: str = ""


class Complaints:
    """Counts connections that were closed, and logs some of them.

    :param house: has the meter and the clock.
    """

    _log = Logger()

    def __init__(self, house: House) -> None:
        self._house = house
        self._said: dict[str, float] = {}  # by reason, of which there are few
        self._kept_back: dict[str, int] = {}

    def refused(self, reason: ProxyHeader, peer: str, why: str = "") -> None:
        """:param reason: a key of ``_WORDS``; :param why: what is wrong with the header, in words of our own."""
        self._house.meter.count("proxy_protocol_refused_total", reason=reason)
        now = self._house.clock.seconds()
        if now - self._said.get(reason, -LOG_S) < LOG_S:
            self._kept_back[reason] = self._kept_back.get(reason, 0) + 1
            return
        self._said[reason] = now
        self._log.warn(
            "a connection from {peer} was closed: {why} ({more} others since this was last said)",
            peer=peer,
            why=_WORDS[reason] + (f": {why}" if why else ""),
            more=self._kept_back.pop(reason, 0),
        )


class ProxyHeaderProtocol(Protocol):
    """A connection of which the PROXY header is not whole yet.

    :param factory: makes what comes after it.
    """

    transport: Any

    def __init__(self, factory: ProxyHeaderFactory) -> None:
        self._factory = factory
        self._house = factory.house
        self._buffer = bytearray()
        self._deadline = 0.0
        self._peer = ""

    def connectionMade(self) -> None:
        self._peer = display_address(getattr(self.transport.getPeer(), "host", ""))
        self._deadline = self._house.clock.seconds() + self._house.limits.header_timeout_s
        self._house.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Bounded without our doing: as soon as a header can be judged it is, and reads are not endless."""
        self._buffer += data
        try:
            header = parse_proxy_header(self._buffer)
        except ProxyHeaderError as error:
            self._refuse("malformed", str(error))
            return
        if header is not None:
            rest = bytes(self._buffer[header.length :])
            self._hand_over(Announced(header.source), rest)

    def _hand_over(self, announced: Announced, rest: bytes) -> None:
        """The transport calls whatever is its protocol; from here on that is somebody else."""
        # First out of the count, in which what follows has the same place.
        self._house.connections.discard(self)
        following = self._factory.wrapped.buildProtocol(announced)
        transport = self.transport
        if following is None:
            transport.abortConnection()
            return
        transport.protocol = following
        following.makeConnection(transport)
        if rest:
            following.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._house.connections.discard(self)
        self._buffer.clear()

    def _refuse(self, reason: ProxyHeader, why: str = "") -> None:
        self._factory.complaints.refused(reason, self._peer, why)
        self.abort()

    # -- what Connections calls

    def is_overdue(self, now: float) -> bool:
        return self._deadline <= now

    def time_out(self) -> None:
        self._refuse("timeout")

    @property
    def stuck_since(self) -> float | None:
        return None  # what it holds is a header's length at most

    def shed(self) -> None:
        self.abort()

    def wind_down(self) -> None:
        self.abort()  # nothing has been asked on it

    def abort(self) -> None:
        self.transport.abortConnection()


class ProxyHeaderFactory(Factory):
    """Makes the connections of a listener that balancers alone may use.

    :param wrapped: makes what comes after the header; its ``buildProtocol`` is given an ``Announced``.
    :param house: what all listeners share.
    :param senders: from whom connections are taken; others are closed at once, or anybody could have any
        address.
    """

    noisy = False

    def __init__(self, wrapped: Any, house: House, senders: Trust) -> None:
        self.wrapped = wrapped
        self.house = house
        self.senders = senders
        self.complaints = Complaints(house)

    def doStart(self) -> None:
        self.wrapped.doStart()
        super().doStart()  # type: ignore[no-untyped-call]

    def doStop(self) -> None:
        self.wrapped.doStop()
        super().doStop()  # type: ignore[no-untyped-call]

    def buildProtocol(self, addr: IAddress | None) -> ProxyHeaderProtocol | None:
        """None, which closes the connection, for strangers and when there are as many as there may be."""
        peer = display_address(getattr(addr, "host", ""))
        if not self.senders.covers(parse_address(peer)):
            self.complaints.refused("unlisted", peer)
            return None
        connections = self.house.connections
        if len(connections) >= self.house.limits.max_connections:
            self.house.tally.hit("max_connections", peer)
            return None
        if connections.draining:
            return None
        return ProxyHeaderProtocol(self)
