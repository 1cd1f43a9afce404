"""One attempt to send a request to the upstream: how far it came, and what its failure means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.web.client import HTTPConnectionPool

from ..errors import FailedAfterSending, NotSent, ProxyError
from ..messages import Response
from ..outgoing_http import causes
from .connection import Connection
from .head import ResponseHead


class Attempt:
    """Stands in for the pool during one attempt, and so knows what became of it.

    :param on_sent: called just before the request is written.
    :ivar connection: the connection that the request was written to; None until then.
    """

    def __init__(self, pool: HTTPConnectionPool, on_sent: Callable[[], None] | None) -> None:
        self._pool = pool
        self._on_sent = on_sent
        self.persistent = pool.persistent
        self.connection: Connection | None = None
        self._expired = False

    def getConnection(self, key: Any, endpoint: Any) -> Deferred[Any]:
        """What Agent calls on a pool. It writes the request as soon as the result has fired."""
        return self._pool.getConnection(key, endpoint).addCallback(self._got)

    def _got(self, protocol: Any) -> Any:
        self.connection = protocol.transport
        if self._on_sent is not None:
            self._on_sent()
        return protocol

    @property
    def head(self) -> ResponseHead | None:
        """Head of the response, once it is complete and until its body is."""
        return None if self.connection is None else self.connection.head

    @property
    def head_status(self) -> int | None:
        """Status in that head; None if there is no head."""
        return None if self.head is None else self.head.status

    def expire(self, exchanging: Deferred[Response]) -> None:
        """The deadline has passed: cancel the attempt."""
        self._expired = True
        exchanging.cancel()

    def abort(self) -> None:
        """Close the connection at once, if there is one."""
        if self.connection is not None:
            self.connection.abortConnection()

    def explain(self, error: Exception) -> BaseException:
        """Translate a failure into an error that tells if a retry is safe. In doubt, the request counts as sent."""
        reasons = list(causes(error))
        for cause in reasons:
            if isinstance(cause, ProxyError):
                return cause
        if self._expired:
            return self._out_of_time()
        for cause in reasons:
            if isinstance(cause, (CancelledError, ConnectingCancelledError)):
                return CancelledError()
        if self.connection is None:
            return error
        return FailedAfterSending(
            "The connection to the upstream server broke before its response was complete.",
            head_status=self.head_status,
        )

    def _out_of_time(self) -> ProxyError:
        if self.connection is None:
            return NotSent("The upstream server could not be reached in time.")
        return FailedAfterSending(
            "The upstream server did not respond in time.",
            head_status=self.head_status,
            timed_out=True,
        )
