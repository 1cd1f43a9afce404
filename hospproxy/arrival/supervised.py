"""The part of a connection that is about its end: whether it is late, how it is ended, what the transport reports."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol

from ..http.errors import ProxyError, Refused
from ..http.messages import Request
from .budget import spent
from .client_deadline import ClientDeadline, ReadPause
from .connection_state import (
    BEFORE_REQUEST,
    CLIENT_SENDS,
    ENDING,
    READS_BODY,
    RESPONDING,
    TABLE,
    WITH_HANDLER,
    Event,
    IllegalTransition,
    State,
)
from .flow_control import FlowControl
from .line import RequestLine
from .lingering_close import LingeringClose
from .listener_context import ListenerContext
from .shortcuts import Hit


class SupervisedConnection(Protocol):
    """What ``drain.Connections`` and the transport call about the end, and the connection's state.

    The subclass reads requests and answers those that are refused here.
    """

    transport: Any
    _context: ListenerContext
    _announced: str | None
    _peer: str
    _scheme: str
    _request: Request
    _client_done: bool
    _pipelined: int
    _state: State
    _pace: ClientDeadline
    _outflow: FlowControl
    _ending: LingeringClose
    _read_pause: ReadPause
    _handling: Any

    def _on(self, event: Event) -> None:
        """Take the transition that the table has for this event."""
        try:
            self._state = TABLE[self._state][event]
        except KeyError:
            raise IllegalTransition(self._state, event) from None

    def _pump(self) -> None:
        """Process as much of the buffer as possible."""
        raise NotImplementedError

    def _refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with an error and read no more."""
        raise NotImplementedError

    def _so_far(self) -> Request:
        """What is known of the request that is still arriving."""
        return self._request if self._state in READS_BODY else self._known(RequestLine())

    def _known(self, line: RequestLine) -> Request:
        client = self._context.identify(self._peer, self._announced, self._scheme)
        return Request(line.method.decode("ascii"), line.path, line.query, line.version, client=client)

    def readConnectionLost(self) -> None:
        """The client has closed its side (plain connections only); its request is still answered."""
        self._client_done = True
        if self._state in ENDING:
            self._ending.client_closed()
        else:
            self._pump()

    def writeConnectionLost(self) -> None:
        """Everything is sent, and our side is closed."""
        self._ending.half_closed()
        if self._client_done:
            self._ending.client_closed()

    def _too_many_ahead(self) -> bool:
        """Whether ``max_pipelined`` requests in a row came without waiting for responses; this is the last then."""
        limit = self._context.limits.max_pipelined
        if self._pipelined < limit:
            return False
        self._context.tally.hit("max_pipelined", self._announced or self._peer)
        return True

    def _requests_are_over(self) -> bool:
        """Whether a connection without a request in flight can be closed."""
        connections = self._context.connections
        in_grace = connections.in_grace and self._state is State.NEW
        return self._client_done or (connections.draining and not in_grace)

    def is_overdue(self, now: float) -> bool:
        late = self._outflow.deadline
        # The keep-alive deadline does not apply while the client is still reading its response.
        return self._pace.is_over(now) if late is None else late <= now

    def time_out(self) -> None:
        late = self._outflow.deadline
        if late is not None and late <= self._context.clock.seconds():
            self._context.tally.hit("write_timeout_s", self._announced or self._peer)
            self.abort()
        elif self._state in BEFORE_REQUEST:
            self._close_idle()
        elif self._state in CLIENT_SENDS:
            part = "head" if self._state is State.HEAD else "body"
            error = Refused(f"The {part} took too long to arrive.", status=408)
            error.limit = self._pace.limit
            self._refuse(self._so_far(), error)
        elif self._state is State.CLOSING:
            self._ending.overdue()

    @property
    def stuck_since(self) -> float | None:
        if self._outflow.blocked:
            return self._outflow.since
        return self._pace.since if self._state in CLIENT_SENDS else None

    @property
    def responding(self) -> bool:
        return self._state in WITH_HANDLER or self._state in RESPONDING

    @property
    def on_shortcut(self) -> bool:
        return isinstance(self._handling, Hit)

    def shed(self) -> None:
        if self._outflow.blocked:
            self._context.tally.hit("body_memory_bytes", self._announced or self._peer)
            self.abort()
        else:
            self._refuse(self._so_far(), spent())

    def wind_down(self) -> None:
        self._pump()

    def abort(self) -> None:
        if self._state is State.CLOSED:
            return
        self._on(Event.ABORTED)
        self._pace.stop()
        self._outflow.stopProducing()
        self.transport.abortConnection()

    def _finish(self) -> None:
        """Everything is handed to the transport: close once the client has received it."""
        self._on(Event.RESPONSE_TAKEN)
        self._read_pause.listen(True)
        self.transport.unregisterProducer()
        self._ending.finish()

    def _close_idle(self) -> None:
        self._on(Event.REQUESTS_OVER)
        self._read_pause.listen(True)
        self.transport.unregisterProducer()
        self._ending.close_idle()
