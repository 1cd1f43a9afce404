"""State that all connections of the process share."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime

from ..exchange.words import Handshake
from ..http.errors import Refused
from ..http.messages import Client, Headers
from ..interfaces import IHandler, IMeter
from ..options.arrival_section import ArrivalSettings
from .authority import PublicHosts
from .budget import BodyBudget
from .drain import OpenConnections
from .fields import received_via
from .front.trust import TrustedProxies, parse_address, source_of
from .limit_log import LimitLog
from .line import RequestLine
from .null_meter import NullMeter
from .plain import PlainPolicy
from .shortcuts import ConnectionShortcuts, Shortcuts
from .tls.handshakes import Handshakes

NO_FIELDS: Final = Headers()


def new_request_id() -> str:
    """Return a random id of 128 bits in hexadecimal: it cannot be guessed and does not repeat."""
    return secrets.token_hex(16)


@define(slots=True, eq=False)
class ConnectionCounts:
    """Counts open connections by source address. Memory is bounded by the number of connections.

    :param trust: trusted proxies are exempt: many clients are behind each of them.
    """

    limits: ArrivalSettings
    trust: TrustedProxies
    tally: LimitLog
    _sources: dict[Any, str] = field(factory=dict, init=False)
    _counts: Counter[str] = field(factory=Counter, init=False)

    def __len__(self) -> int:
        return len(self._counts)

    def enter(self, connection: object, address: str) -> bool:
        """Count a connection; return False if its address has too many already.

        :param address: of the socket's other end, as ``display_address`` returns it.
        """
        if self.trust.networks and self.trust.covers(parse_address(address)):
            return True
        source = source_of(address)
        if self._counts[source] >= self.limits.max_connections_per_address:
            self.tally.hit("max_connections_per_address", address)
            return False
        self._counts[source] += 1
        self._sources[connection] = source
        return True

    def leave(self, connection: object) -> None:
        """Stop counting a connection; does nothing if it was never counted."""
        source = self._sources.pop(connection, None)
        if source is not None:
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]


@define(slots=True, kw_only=True)
class ListenerContext:
    """The shared state of all listeners; handed to each listener's factory.

    :param handler: returns the response to each request.
    :param clock: monotonic, for every wait.
    :param wall: seconds since the epoch, for Date.
    :param new_id: makes request ids.
    :param meter: counts what is refused before it becomes a request.
    :param tally: counts and logs limits that were hit.
    :param address_counts: counts connections per address.
    :param shortcuts: answers requests whose head was seen before; each listener has its own.
    """

    handler: IHandler
    clock: IReactorTime
    limits: ArrivalSettings = Factory(ArrivalSettings)
    trust: TrustedProxies = Factory(TrustedProxies)
    public_hosts: PublicHosts = Factory(PublicHosts)
    new_id: Callable[[], str] = new_request_id
    wall: Callable[[], float] = time.time
    meter: IMeter = Factory(NullMeter)
    budget: BodyBudget = Factory(lambda self: BodyBudget(self.limits.body_memory_bytes), takes_self=True)
    connections: OpenConnections = Factory(lambda self: self._connections(), takes_self=True)
    handshakes: Handshakes = Factory(lambda self: self._handshakes(), takes_self=True)
    tally: LimitLog = Factory(lambda self: LimitLog(self.clock, self.limits, self.meter), takes_self=True)
    shortcuts: Shortcuts | None = None
    address_counts: ConnectionCounts = Factory(
        lambda self: ConnectionCounts(self.limits, self.trust, self.tally), takes_self=True
    )

    def _connections(self) -> OpenConnections:
        return OpenConnections(self.clock, lambda: self.budget.pressed)

    def _handshakes(self) -> Handshakes:
        def count(how: Handshake) -> None:
            self.meter.count("handshakes_total", result=how)

        return Handshakes(self.clock, self.limits, self.trust.covers, count)

    def reload(
        self, limits: ArrivalSettings, trust: TrustedProxies, hosts: PublicHosts, shortcuts: int
    ) -> None:
        """Apply changed options. Limits of an open connection's next head or body may still be the old ones.

        :param shortcuts: most shortcuts.
        """
        self.limits = self.tally.limits = self.address_counts.limits = self.handshakes.limits = limits
        self.trust = self.address_counts.trust = trust
        self.handshakes.exempt = trust.covers
        self.public_hosts = hosts
        self.budget.limit = limits.body_memory_bytes
        if self.shortcuts is not None:
            self.shortcuts.reload(shortcuts)

    def shortcuts_for(self, peer: str, announced: str | None, scheme: str) -> ConnectionShortcuts:
        """Return the shortcuts of one connection; parameters as for ``identify``."""
        if self.shortcuts is None:
            return ConnectionShortcuts()
        trusted = self.trust.believes(peer, announced)
        return self.shortcuts.used_by(f"{peer}\0{announced}\0{scheme}".encode(), trusted=trusted)

    def identify(
        self,
        peer: str,
        announced: str | None,
        scheme: str,
        host: str = "",
        fields: Headers = NO_FIELDS,
        version: tuple[int, int] = (1, 1),
    ) -> Client:
        """Return the client, as ``TrustedProxies.identify`` does, with Via; leave out what could not be read."""
        via = received_via(fields.all(b"via"), version)
        return self.trust.identify(peer, scheme, host, fields, self.new_id, announced=announced, via=via)

    def admit(self, plain: PlainPolicy | None, line: RequestLine, client: Client) -> None:
        """Raise if a request whose head was parsed must not enter the chain.

        :param plain: policy of the listener without TLS; None on a TLS listener.
        :raise ProxyError: 403 or 308 from the plain policy; 421 for another scheme or host; 503 if memory is used up.
        """
        if plain is not None and (refusal := plain.judge(line, client)) is not None:
            raise refusal
        if line.scheme == b"https" and client.scheme != "https":
            # RFC 9110 §7.4: a request for an https URI must have arrived over https.
            raise Refused("The request is for an https URL, but came over plain HTTP.", status=421)
        if not self.public_hosts.serve(client.host):
            # RFC 9110 §15.5.20: 421 means "not this server"; 400 would say that the request is malformed.
            raise Refused("This host is not served here; check the host name in the URL.", status=421)
        self.budget.admit()
