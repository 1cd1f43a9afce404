"""One connection whose client, handler and process act only when told to, and a record of its transitions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from zope.interface import implementer

from hospproxy.arrival.connection_state import Event, State, after
from hospproxy.arrival.http1 import Http1Protocol
from hospproxy.http.errors import ProxyError
from hospproxy.http.messages import Request, Response
from hospproxy.interfaces import IHandler
from tests.arrival.memory_transport import PLAIN, Line, Recorder
from tests.corpus import LIMITS

HELD_FROM = 16
"""Bytes of a body up to which it is read before the handler is called."""


@implementer(IHandler)
class Told(Recorder):
    """Responds when told to, to requests and refusals alike, and reads a held body when told to.

    :ivar owed: responses that are still to be given, oldest first.
    :ivar bodies: what became of the held bodies that were read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owed: list[Deferred[Response]] = []
        self.bodies: list[object] = []
        self._pieces: list[Deferred[bytes | None]] = []

    def handle(self, request: Request) -> Deferred[Response]:
        self.handled.append(request)
        return self._owe()

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:
        self.refused.append((request, error))
        return self._owe()

    def _owe(self) -> Deferred[Response]:
        self.owed.append(Deferred())
        return self.owed[-1]

    def read(self) -> None:
        """Read the body of the last request, if it was held."""
        incoming = self.handled[-1].incoming if self.handled else None
        if incoming is not None:
            Deferred.fromCoroutine(incoming.read()).addBoth(self.bodies.append)

    def respond(self, response: Response | None = None) -> None:
        """Give the oldest response that is owed; nothing if the connection has cancelled it."""
        if self.owed:
            owed = self.owed.pop(0)
            if not owed.called:
                owed.callback(response or Response(200, body=b"done"))

    def stream(self) -> None:
        """Respond with content that follows later."""
        self.respond(Response(200, chunks=self._content()))

    def piece(self, piece: bytes | None) -> None:
        """Give the next piece of the content, or None for its end."""
        if self._pieces and not self._pieces[-1].called:
            self._pieces[-1].callback(piece)

    async def _content(self) -> AsyncIterator[bytes]:
        while True:
            self._pieces.append(Deferred())
            piece = await self._pieces[-1]
            if piece is None:
                return
            yield piece


class Driven(Line):
    """A connection that records its transitions.

    :ivar taken: each state that it left, with the event.
    """

    handler: Told

    def __init__(self, **options: Any) -> None:
        self.taken: list[tuple[State, Event]] = []
        options.setdefault("limits", evolve(LIMITS, unknown_body_bytes=HELD_FROM))
        super().__init__(Told(), **options)
        record(self.protocol, self.taken)

    @property
    def state(self) -> State:
        return self.protocol._state

    def half_close(self) -> None:
        """The client closes its side, as only a plain connection can tell."""
        if self.transport.gone is None and not self.transport.secure:
            self.protocol.readConnectionLost()

    def leave(self) -> None:
        self.transport.end(ConnectionLost)

    def drain(self, deadline_s: float = 30) -> None:
        """The proxy stops."""
        self.context.connections.drain(deadline_s)


def record(protocol: Http1Protocol, taken: list[tuple[State, Event]]) -> None:
    """Keep every event that a connection is told of, together with the state it was in."""

    def on(event: Event) -> None:
        taken.append((protocol._state, event))
        protocol._state = after(protocol._state, event)

    protocol._on = on  # type: ignore[method-assign]


__all__ = ["HELD_FROM", "PLAIN", "Driven", "Told", "record"]
