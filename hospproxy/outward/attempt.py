"""One attempt: adapters for treq, Agent and the connection pool that keep them from doing anything unasked."""

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
from .head import ResponseHead
from .upstream_request import Message


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

    def explain(self, error: Exception) -> BaseException:
        """Translate a failure into an error that tells if a retry is safe. In doubt, the request counts as sent."""
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


def _causes(error: BaseException) -> Iterator[BaseException]:
    """A failure of Twisted's HTTP client and all failures that it wraps."""
    yield error
    for failure in getattr(error, "reasons", None) or ():
        yield from _causes(failure.value)


@implementer(IAgent)
class AsWritten:
    """Sends a message exactly as built. treq on its own asks for gzip and respells URLs."""

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
    """Neither stores nor sends cookies: one user's session must not go out with another user's request.

    Cookies are not parsed either, because the standard library's jar logs a traceback for cookies that it cannot read.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Do nothing: cookies of the response are dropped."""

    def add_cookie_header(self, request: Any) -> None:
        """Do nothing: the request gets no Cookie header."""


@implementer(IBodyProducer)
class Body:
    """A request body, written at once: it is in memory as a whole anyway."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class Collector(Protocol):
    """Collects a response body, up to a limit.

    :param limit: maximum bytes of the body.
    :ivar done: fires with the whole body.
    """

    def __init__(self, attempt: Attempt, status: int, limit: int) -> None:
        self._attempt = attempt
        self._status = status
        self._room = limit
        self._held = bytearray()  # one buffer, no list: an upstream may send one byte at a time
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
