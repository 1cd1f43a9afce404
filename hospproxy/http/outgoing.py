"""HTTP requests that we send: adapters that keep treq, Agent and the connection pool from doing anything unasked.

Switched off are cookies, gzip, redirects, repeats, respelled URLs and unbounded responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer


def pool_of(reactor: Any, kept: int, idle_s: float) -> HTTPConnectionPool:
    """Return a connection pool that never sends a request again by itself.

    :param kept: how many idle connections are kept per host; 0: none, each request gets a new connection.
    :param idle_s: seconds that an idle connection is kept.
    """
    pool = HTTPConnectionPool(reactor, persistent=kept > 0)
    pool.retryAutomatically = False
    pool.maxPersistentPerHost = kept
    pool.cachedConnectionTimeout = idle_s  # type: ignore[assignment]
    return pool


def send(
    agent: IAgent, reactor: Any, method: str, uri: str, headers: Headers, body: bytes | None
) -> Deferred[Any]:
    """Send one request exactly as given; fires with treq's response once its head is complete.

    :param agent: with a pool of ``pool_of``.
    :param uri: absolute; its path and query are written as they are.
    :param body: None: no body.
    """
    http = HTTPClient(_AsWritten(agent, uri.encode("ascii"), headers), _NoCookies(), _Body)
    sending: Deferred[Any] = http.request(
        method, uri, data=body, allow_redirects=False, unbuffered=True, reactor=reactor
    )
    return sending


def causes(error: BaseException) -> Iterator[BaseException]:
    """A failure of Twisted's HTTP client and all failures that it wraps."""
    yield error
    for failure in getattr(error, "reasons", None) or ():
        yield from causes(failure.value)


@implementer(IAgent)
class Undecoded:
    """Hides Content-Encoding, so that treq does not uncompress the response."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: Any = None,  # noqa: N803
    ) -> Deferred[Any]:
        def undecoded(response: Any) -> Any:
            response.headers.removeHeader(b"content-encoding")
            return response

        return self._agent.request(method, uri, headers, bodyProducer).addCallback(undecoded)


class BodyCollector(Protocol):
    """Collects a response body, up to a limit.

    :param limit: maximum bytes of the body.
    :param too_large: makes the error for a longer body; the connection is closed.
    :param ends: what may end a body. PotentialDataLoss: the connection's end, where the head states no length.
    :ivar done: fires with the whole body. Cancel it to close the connection.
    """

    def __init__(
        self,
        limit: int,
        too_large: Callable[[], Exception],
        *,
        ends: tuple[type[Exception], ...] = (ResponseDone,),
    ) -> None:
        self._room = limit
        self._too_large = too_large
        self._ends = ends
        self._held = bytearray()  # one buffer, no list: a server may send one byte at a time
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room >= 0:
            self._held += data
        elif not self.done.called:
            self._held.clear()
            self._abort()
            self.done.errback(self._too_large())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(*self._ends):
            self.done.callback(bytes(self._held))
        else:
            self.done.errback(reason)

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            getattr(transport, "abortConnection", transport.stopProducing)()


@implementer(IAgent)
class _AsWritten:
    """Sends URL and headers exactly as given. treq on its own asks for gzip and respells URLs."""

    def __init__(self, agent: IAgent, uri: bytes, headers: Headers) -> None:
        self._agent = agent
        self._uri = uri
        self._headers = headers

    def request(
        self,
        method: bytes,
        uri: bytes,  # noqa: ARG002
        headers: Headers | None = None,  # noqa: ARG002
        bodyProducer: Any = None,  # noqa: N803
    ) -> Deferred[Any]:
        return self._agent.request(method, self._uri, self._headers, bodyProducer)


class _NoCookies(IndexableCookieJar):
    """Neither stores nor sends cookies: one user's session must not go out with another user's request.

    Cookies are not parsed either, because the standard library's jar logs a traceback for cookies that it cannot read.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Do nothing: cookies of the response are dropped."""

    def add_cookie_header(self, request: Any) -> None:
        """Do nothing: the request gets no Cookie header."""


@implementer(IBodyProducer)
class _Body:
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
