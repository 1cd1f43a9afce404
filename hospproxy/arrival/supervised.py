"""The part of a connection that the sweep and the shutdown call: whether it is late, and how to end it."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol

from ..errors import ProxyError, Refused
from ..messages import Request
from .budget import spent
from .client_deadline import ClientDeadline, ReadPause
from .flow_control import Outflow
from .lingering_close import Ending
from .listener_context import ListenerContext
from .phase import Phase


class Watched(Protocol):
    """What ``drain.Connections`` calls. The subclass reads requests and answers those that are refused here."""

    transport: Any
    _house: ListenerContext
    _announced: str | None
    _peer: str
    _phase: Phase
    _pace: ClientDeadline
    _outflow: Outflow
    _ending: Ending
    _ear: ReadPause

    def _pump(self) -> None:
        """Process as much of the buffer as possible."""
        raise NotImplementedError

    def _refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with an error and read no more."""
        raise NotImplementedError

    def _so_far(self) -> Request:
        """What is known of the request that is still arriving."""
        raise NotImplementedError

    def is_overdue(self, now: float) -> bool:
        late = self._outflow.deadline
        # The keep-alive deadline does not apply while the client is still reading its response.
        return self._pace.is_over(now) if late is None else late <= now

    def time_out(self) -> None:
        late = self._outflow.deadline
        if late is not None and late <= self._house.clock.seconds():
            self._house.tally.hit("write_timeout_s", self._announced or self._peer)
            self.abort()
        elif self._phase is Phase.IDLE:
            self._close_idle()
        elif self._phase in (Phase.HEAD, Phase.BODY):
            error = Refused(f"The {self._phase.name.lower()} took too long to arrive.", status=408)
            error.limit = self._pace.limit
            self._refuse(self._so_far(), error)
        elif self._phase is Phase.CLOSING:
            self._ending.overdue()

    @property
    def stuck_since(self) -> float | None:
        slow_sender = self._phase in (Phase.HEAD, Phase.BODY)
        return self._outflow.since if self._outflow.blocked else self._pace.since if slow_sender else None

    def shed(self) -> None:
        if self._outflow.blocked:
            self._house.tally.hit("body_memory_bytes", self._announced or self._peer)
            self.abort()
        else:
            self._refuse(self._so_far(), spent())

    def wind_down(self) -> None:
        self._pump()

    def abort(self) -> None:
        self._phase = Phase.CLOSING
        self._pace.stop()
        self._outflow.stopProducing()
        self.transport.abortConnection()

    def _finish(self) -> None:
        """Everything is handed to the transport: close once the client has received it."""
        self._ear.listen(True)
        self.transport.unregisterProducer()
        self._ending.finish()

    def _close_idle(self) -> None:
        self._phase = Phase.CLOSING
        self._ear.listen(True)
        self.transport.unregisterProducer()
        self._ending.close_idle()
