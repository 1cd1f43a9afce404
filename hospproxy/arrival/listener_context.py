"""State that all connections of the process share."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from attrs import Factory, define
from twisted.internet.interfaces import IReactorTime

from ..exchange.words import Handshake
from ..http.messages import Client, Headers
from ..interfaces import IHandler, IMeter
from ..options.arrival_section import ArrivalSettings
from .address_limit import ConnectionCounts
from .authority import PublicHosts
from .budget import BodyBudget
from .drain import OpenConnections
from .fields import received_via
from .front.trust import TrustedProxies
from .limit_log import LimitLog
from .null_meter import NullMeter
from .shortcuts import ConnectionShortcuts, Shortcuts
from .tls.handshakes import Handshakes

NO_FIELDS: Final = Headers()


def new_request_id() -> str:
    """Return a random id of 128 bits in hexadecimal: it cannot be guessed and does not repeat."""
    return secrets.token_hex(16)


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
