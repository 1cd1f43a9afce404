"""One attempt: what treq, Agent and the pool are given, so that nothing happens that was not asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

from ..errors import FailedAfterSending, NotSent, ProxyError
from ..messages import Response
from .connection import Connection
from .filter import too_large
from .head import Head
from .sending import Message


class Attempt:
    """Stands before the pool for one attempt, so as to know what became of it.

    :ivar connection: the one that the request was written to; None until then.
    """

    def __init__(self, pool: HTTPConnectionPool, on_sent: Callable[[], None] | None) -> None:
        self._pool = pool
        self._on_sent = on_sent
        self.persistent = pool.persistent
        self.connection: Connection | None = None
        self._expired = False

    def getConnection(self, key: Any, endpoint: Any) -> Deferred[Any]:
        """What Agent asks of a pool; it writes the request as soon as this has fired."""
        return self._pool.getConnection(key, endpoint).addCallback(self._got)

    def _got(self, protocol: Any) -> Any:
        self.connection = protocol.transport
        if self._on_sent is not None:
            self._on_sent()
        return protocol

    @property
    def head(self) -> Head | None:
        """Of the answer, once it has come whole and until its body has."""
        return None if self.connection is None else self.connection.head

    @property
    def head_status(self) -> int | None:
        """The head's status."""
        return None if self.head is None else self.head.status

    def expire(self, exchanging: Deferred[Response]) -> None:
        """Time is up."""
        self._expired = True
        exchanging.cancel()

    def explain(self, error: Exception) -> BaseException:
        """What a failure means for whoever wants to try again; where it cannot be known, it was sent."""
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ProxyError):
                return cause
        if self._expired:
            return self._out_of_time()
        for cause in causes:
            if isinstance(cause, (CancelledError, ConnectingCancelledError)):
                return CancelledError()
        if self.connection is None:
            return error
        return FailedAfterSending(
            "The connection to the upstream server broke before its answer was complete.",
            head_status=self.head_status,
        )

    def _out_of_time(self) -> ProxyError:
        if self.connection is None:
            return NotSent("The upstream server could not be reached in time.")
        return FailedAfterSending(
            "The upstream server did not answer in time.",
            head_status=self.head_status,
            timed_out=True,
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """A failure of Twisted's HTTP client and those that it wraps."""
    yield error
    for failure in getattr(error, "reasons", None) or ():
        yield from _causes(failure.value)


@implementer(IAgent)
class AsWritten:
    """Sends a message as it was written: treq asks for gzip and respells addresses."""

    def __init__(self, agent: Agent, message: Message) -> None:
        self._agent = agent
        self._message = message

    def request(
        self,
        method: bytes,
        uri: bytes,  # noqa: ARG002
        headers: Headers | None = None,  # noqa: ARG002
        bodyProducer: Any = None,  # noqa: N803
    ) -> Deferred[Any]:
        written = Headers()
        for name, value in self._message.headers:
            written.addRawHeader(name, value)
        return self._agent.request(method, self._message.uri.encode("ascii"), written, bodyProducer)


class NoCookies(IndexableCookieJar):
    """Neither keeps a cookie nor sends one: one user's session must not go out with another's request.

    Nor is one taken apart: the standard library's jar warns with a traceback of what it cannot read.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep nothing."""

    def add_cookie_header(self, request: Any) -> None:
        """Send nothing."""


@implementer(IBodyProducer)
class Body:
    """A request's body, written at once: it is in memory as a whole anyhow."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing left to hold back."""

    def resumeProducing(self) -> None:
        """There is nothing left to write."""

    def stopProducing(self) -> None:
        """There is nothing left to stop."""


class Collector(Protocol):
    """Takes an answer's body in, up to its limit.

    :ivar done: fires with the whole body.
    """

    def __init__(self, attempt: Attempt, status: int, limit: int) -> None:
        self._attempt = attempt
        self._status = status
        self._room = limit
        self._held = bytearray()  # not its pieces: an upstream may send one byte at a time
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room >= 0:
            self._held += data
        elif not self.done.called:
            self._held.clear()
            self._abort()
            self.done.errback(too_large(self._status))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(bytes(self._held))
        else:
            self.done.errback(reason)

    def _abort(self) -> None:
        if self._attempt.connection is not None:
            self._attempt.connection.abortConnection()
