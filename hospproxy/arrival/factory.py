"""Create the protocol for each accepted connection, or turn the connection away."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from .front.trust import display_address
from .http1 import Http1Protocol
from .listener_context import ListenerContext
from .plain import PlainPolicy


class Http1Factory(Factory):
    """Creates the connections of one listener.

    :param context: the state that all listeners share.
    :param plain: policy of a listener without TLS; None on a TLS listener.
    """

    noisy = False
    protocol: type[Http1Protocol] = Http1Protocol

    def __init__(self, context: ListenerContext, plain: PlainPolicy | None = None) -> None:
        if context.shortcuts is not None:
            context = evolve(context, shortcuts=context.shortcuts.another())
        self.context = context
        self.plain = plain

    def buildProtocol(self, addr: IAddress | None) -> Http1Protocol | None:
        """Return None, which closes the connection, at ``max_connections`` or while the proxy is stopping.

        A connection that was accepted before the stop, and whose PROXY header arrives now, has the grace of a drain.
        """
        connections = self.context.connections
        announced: Any = getattr(addr, "source", None)
        if len(connections) >= self.context.limits.max_connections:
            # Behind a load balancer this is the address from its PROXY header.
            self.context.tally.hit("max_connections", display_address(announced or getattr(addr, "host", "")))
            return None
        if connections.draining and (announced is None or not connections.in_grace):
            return None
        return self.protocol(self.context, self.plain, announced)
