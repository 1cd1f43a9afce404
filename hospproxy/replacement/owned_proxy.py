"""The proxy of a process that can be replaced: held, closed, opened again or given up."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IListeningPort

from ..process.shutdown import STEPS_S, end_in_order
from ..service.chain import Chain
from ..service.worker_identity import Seat
from .hold import StateNotClosed
from .relay import Relay
from .relay_server import RelayServer

if TYPE_CHECKING:
    from ..service.service import ProxyService

CLOSE_S: Final = 2 * STEPS_S
"""Seconds for all parts to end, so that each has more time than at a stop: a late one costs connections."""
_WRITERS: Final = frozenset(
    {"ledger", "cache on disk", "journal", "unfinished requests", "screenings that are left"}
)
"""Steps of the stop that write to the state folder. If one is late, the folder has not been closed."""


class OwnedProxy:
    """``hold.OwnedProxy`` for a real ``ProxyService``.

    :param build: builds a proxy like a given one, with the given sockets; see ``service.build``.
    :param gave_up: called when the successor has everything.
    :ivar service: of this process; another one after ``reopen``.
    :ivar earlier: those before it. Connections that they accepted stay with them, and come to the present chain.
    :ivar relays: servers of the requests that a still older process relays to this one.
    """

    def __init__(
        self,
        service: ProxyService,
        reactor: Any,
        build: Callable[[ProxyService, Seat], ProxyService],
        gave_up: Callable[[], None],
    ) -> None:
        self.service = service
        self.earlier: list[ProxyService] = []
        self.relays: list[RelayServer] = []
        self._reactor = reactor
        self._build = build
        self._gave_up = gave_up
        self._sockets: tuple[list[socket.socket], list[socket.socket]] = [], []

    @property
    def chain(self) -> Chain:
        return self.service.parts.chain

    def sockets(self) -> tuple[Sequence[socket.socket], Sequence[socket.socket]]:
        """Return the listening sockets: those of clients, and those of the admin listener."""
        admin = self.service.admin.ports if self.service.admin is not None else []
        self.drop_sockets()
        self._sockets = _copies(self.service.listeners.ports), _copies(admin)
        return self._sockets

    def divert(self, relay: Relay | None) -> None:
        self.chain.divert(relay)

    def in_flight(self, *, shortcuts: bool) -> int:
        services = (*self.earlier, self.service)
        here = sum(each.context.connections.responding(shortcuts=shortcuts) for each in services)
        return here + sum(each.running for each in self.relays)

    def pause(self) -> None:
        for port in self._ports():
            port.stopReading()
        if self.service.context.shortcuts is not None:
            self.service.context.shortcuts.pause()

    def resume(self) -> None:
        for port in self._ports():
            port.startReading()
        if self.service.context.shortcuts is not None:
            self.service.context.shortcuts.resume()
        self.drop_sockets()

    async def close(self) -> None:
        """:raise StateNotClosed: a part that writes to the state folder did not end."""
        late = await end_in_order(self.service.ending(), self._reactor, CLOSE_S)
        writing = _WRITERS.intersection(late)
        if writing:
            raise StateNotClosed(", ".join(sorted(writing)))

    def reopen(self) -> Chain:
        """:raise SystemExit: the folder cannot be opened; stderr says why."""
        clients, admin = self._sockets
        self._sockets = [], []
        self._leave_ports()
        self.earlier.append(self.service)
        self.service = self._build(self.service, Seat(sockets=tuple(clients), admin=tuple(admin)))
        self.service.privilegedStartService()
        self.service.startService()
        return self.chain

    def give_up(self) -> None:
        self.drop_sockets()
        self._leave_ports()
        self._gave_up()

    def _ports(self) -> list[Any]:
        return list(self.service.listeners.ports)

    def _leave_ports(self) -> None:
        """Close this process's descriptors of the listening sockets, which go on, and its control socket."""
        if self.service.control is not None:
            self.service.control.leave()
        for port in self._ports():
            port.stopListening()
        self.service.listeners.ports.clear()

    def drop_sockets(self) -> None:
        """Close the copies that ``sockets`` has made, unless they are in use: a stop must leave no socket open."""
        for each in (*self._sockets[0], *self._sockets[1]):
            each.close()
        self._sockets = [], []


def _copies(ports: Sequence[IListeningPort]) -> list[socket.socket]:
    """Return further descriptors of listening sockets, and see to it that no end of a port shuts the socket down."""
    copies = []
    for port in ports:
        listening: Any = port
        listening._shouldShutdown = False  # it would end the socket in all processes
        copies.append(socket.socket(fileno=os.dup(listening.fileno())))
    return copies
