"""A socket on which a worker of the old proxy relays requests to this process."""

from __future__ import annotations

import socket
from typing import Any

from ..interfaces import IHandler
from ..process.channel import Channel, SingleProtocolFactory
from .messages import MOST_BYTES, ClientLeft, Delivered, RelayedRequest
from .relay_server import RelayServer


class IncomingRelay:
    """Responds to what comes on the socket.

    :param chain: responds to the requests.
    :param taken: the socket; it is closed here.
    """

    def __init__(self, reactor: Any, chain: IHandler, taken: socket.socket) -> None:
        self._channel = Channel(
            RelayedRequest | ClientLeft | Delivered, self._received, self._lost, MOST_BYTES
        )
        self.server = RelayServer(chain, self._channel.say)
        with taken:
            taken.setblocking(False)
            reactor.adoptStreamConnection(
                taken.fileno(), socket.AF_UNIX, SingleProtocolFactory(self._channel)
            )

    @property
    def open(self) -> bool:
        """Whether the old process may still relay something."""
        return self._channel.open

    def _received(self, message: RelayedRequest | ClientLeft | Delivered) -> None:
        self.server.received(message)

    def _lost(self) -> None:
        self.server.lost()
