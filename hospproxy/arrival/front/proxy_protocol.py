"""Accept connections that begin with a PROXY header, from listed senders only.

The header comes before TLS. Once it is parsed, the TLS or HTTP protocol takes over the transport, so this code is no
longer involved in the connection.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...exchange.words import ProxyHeader
from ..listener_context import ListenerContext
from .proxy_header import ProxyHeaderError, parse_proxy_header
from .trust import TrustedProxies, display_address, parse_address

LOG_S: Final = 60.0
"""Seconds between two log lines for the same reason, so that strangers cannot fill the disk by connecting."""

_WORDS: Final = {
    "unlisted": "its address is neither in proxy_protocol_from nor, if that is empty, in trusted_proxies",
    "malformed": "it does not begin with a PROXY header",
    "timeout": "no complete PROXY header arrived within header_timeout_s",
}


@implementer(IAddress)
@frozen(slots=True)
class AnnouncedAddress:
    """The client address from a PROXY header; "" if the header gives none."""

    source: str = ""


class RefusalLog:
    """Counts connections that were closed for their PROXY header, and logs some of them.

    :param context: provides the meter and the clock.
    """

    _log = Logger()

    def __init__(self, context: ListenerContext) -> None:
        self._context = context
        self._said: dict[str, float] = {}  # keyed by reason; there are three
        self._kept_back: dict[str, int] = {}

    def refused(self, reason: ProxyHeader, peer: str, why: str = "") -> None:
        """Count one closed connection; log it unless the same reason was logged less than ``LOG_S`` ago.

        :param reason: a key of ``_WORDS``.
        :param why: what is wrong with the header, in our own words.
        """
        self._context.meter.count("proxy_protocol_refused_total", reason=reason)
        now = self._context.clock.seconds()
        if now - self._said.get(reason, -LOG_S) < LOG_S:
            self._kept_back[reason] = self._kept_back.get(reason, 0) + 1
            return
        self._said[reason] = now
        self._log.warn(
            "connection from {peer} was closed: {why} ({more} more since the last such line)",
            peer=peer,
            why=_WORDS[reason] + (f": {why}" if why else ""),
            more=self._kept_back.pop(reason, 0),
        )


class ProxyHeaderProtocol(Protocol):
    """A connection whose PROXY header is not complete yet.

    :param factory: its ``wrapped`` creates the protocol that follows.
    """

    transport: Any

    def __init__(self, factory: ProxyHeaderFactory) -> None:
        self._factory = factory
        self._context = factory.context
        self._buffer = bytearray()
        self._deadline = 0.0
        self._peer = ""

    def connectionMade(self) -> None:
        self._peer = display_address(getattr(self.transport.getPeer(), "host", ""))
        self._deadline = self._context.clock.seconds() + self._context.limits.header_timeout_s
        self._context.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Needs no size limit of its own: the parser rejects over-long headers, and one read is bounded."""
        self._buffer += data
        try:
            header = parse_proxy_header(self._buffer)
        except ProxyHeaderError as error:
            self._refuse("malformed", str(error))
            return
        if header is not None:
            rest = bytes(self._buffer[header.length :])
            self._hand_over(AnnouncedAddress(header.source), rest)

    def _hand_over(self, announced: AnnouncedAddress, rest: bytes) -> None:
        """Make the following protocol the transport's protocol; this object gets no further calls."""
        transport = self.transport
        with self._context.connections.handing_over(self):  # the following protocol is counted itself
            following = self._factory.wrapped.buildProtocol(announced)
            if following is None:
                transport.abortConnection()
                return
            transport.protocol = following
            following.makeConnection(transport)
        if rest:
            following.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._context.connections.discard(self)
        self._buffer.clear()

    def _refuse(self, reason: ProxyHeader, why: str = "") -> None:
        self._factory.complaints.refused(reason, self._peer, why)
        self.abort()

    # -- called by Connections

    def is_overdue(self, now: float) -> bool:
        return self._deadline <= now

    def time_out(self) -> None:
        self._refuse("timeout")

    @property
    def stuck_since(self) -> float | None:
        return None  # holds no more than a header

    def shed(self) -> None:
        self.abort()

    responding = on_shortcut = False

    def wind_down(self) -> None:
        if not self._context.connections.in_grace:
            self.abort()  # no request has arrived on it

    def abort(self) -> None:
        self.transport.abortConnection()


class ProxyHeaderFactory(Factory):
    """Creates the connections of a listener that only load balancers may use.

    :param wrapped: creates the protocol after the header; its ``buildProtocol`` gets an ``AnnouncedAddress``.
    :param context: the state that all listeners share.
    :param senders: addresses that may connect. All others are closed at once: they could claim any client address.
    """

    noisy = False

    def __init__(self, wrapped: Any, context: ListenerContext, senders: TrustedProxies) -> None:
        self.wrapped = wrapped
        self.context = context
        self.senders = senders
        self.complaints = RefusalLog(context)

    def doStart(self) -> None:
        self.wrapped.doStart()
        super().doStart()  # type: ignore[no-untyped-call]

    def doStop(self) -> None:
        self.wrapped.doStop()
        super().doStop()  # type: ignore[no-untyped-call]

    def buildProtocol(self, addr: IAddress | None) -> ProxyHeaderProtocol | None:
        """Return None, which closes the connection, for unlisted senders, at ``max_connections`` and in a drain."""
        peer = display_address(getattr(addr, "host", ""))
        if not self.senders.covers(parse_address(peer)):
            self.complaints.refused("unlisted", peer)
            return None
        connections = self.context.connections
        if len(connections) >= self.context.limits.max_connections:
            self.context.tally.hit("max_connections", peer)
            return None
        if connections.draining:
            return None
        return ProxyHeaderProtocol(self)
