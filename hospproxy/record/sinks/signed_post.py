"""Posts signed bodies to one URL. Each POST is one attempt; the caller decides about retries."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import crypto
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from ... import clocks
from ...outward.attempt import Body, NoCookies
from ...retry_after import seconds_until

MAX_ANSWER_BYTES = 64 << 10
"""Bytes of a response body, which is ignored. With a longer one the connection is not worth keeping."""
_CONNECT_S = 10.0
_KEPT_S = 2.0
"""Seconds that an idle connection is kept. It must be less than the server's time, or the server may close the
connection just as a batch is sent.
"""
_PASSING = frozenset({408, 425, 429})
"""4xx statuses that are temporary."""


class PostError(Exception):
    """A POST failed, or its result is unknown.

    :param status: of the response; None if there was none.
    :param retry_after_s: seconds from the response's ``Retry-After`` (RFC 9110 §10.2.3).
    """

    def __init__(self, words: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def refused(self) -> bool:
        """The server understood and refused the request, so an operator has to change something."""
        return self.status is not None and 300 <= self.status < 500 and self.status not in _PASSING


class SignedPoster:
    """Posts to one URL and signs each body.

    :param reactor: opens connections and provides the clock.
    :param url: ``https://…`` or ``http://…``.
    :param secret: of the HMAC; None for no signature.
    :param ca_file: certificates (PEM) to trust instead of the system's; read when this object is made.
    :param timeout_s: seconds from the start of a POST to the end of its response.
    :param wall: seconds since the epoch.
    :raise OSError: ``ca_file`` cannot be read.
    :raise ValueError: ``ca_file`` holds no certificate.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        secret: bytes | None,
        ca_file: Path | None = None,
        timeout_s: float = 30.0,
        wall: Callable[[], float] = clocks.wall,
    ) -> None:
        self._reactor = reactor
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._wall = wall
        self._pool = HTTPConnectionPool(reactor)
        self._pool.retryAutomatically = False
        self._pool.maxPersistentPerHost = 1
        self._pool.cachedConnectionTimeout = _KEPT_S  # type: ignore[assignment]
        self._agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, ca_file), self._pool)

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Post once; returns when a 2xx response has arrived in full.

        :param headers: besides those of the signature.
        :raise PostError: the server did not take it, or the result is unknown.
        """
        posting = Deferred.fromCoroutine(self._post(body, self._fields(body, headers)))
        posting.addTimeout(self._timeout_s, self._reactor, self._out_of_time)
        await posting

    def close(self) -> Deferred[None]:
        """Close the idle connection, if there is one; a later POST opens a new one."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    def _fields(self, body: bytes, headers: Mapping[str, str]) -> Headers:
        timestamp = str(int(self._wall()))
        fields = Headers({"User-Agent": ["hospproxy"], "Accept-Encoding": ["identity"]})
        for name, value in headers.items():
            fields.setRawHeaders(name, [value])
        fields.setRawHeaders("X-Hospproxy-Timestamp", [timestamp])
        if self._secret is not None:
            fields.setRawHeaders("X-Hospproxy-Signature", [signature(self._secret, timestamp, body)])
        return fields

    async def _post(self, body: bytes, fields: Headers) -> None:
        try:
            status, retry_after = await self._exchange(body, fields)
        except Exception as error:
            if any(isinstance(cause, CancelledError) for cause in _causes(error)):
                raise CancelledError from None
            raise PostError(_words(error)) from error
        if not 200 <= status < 300:
            wait_s = None if retry_after is None else seconds_until(retry_after, self._wall())
            raise PostError(f"the server responded with {status}", status, wait_s)

    async def _exchange(self, body: bytes, fields: Headers) -> tuple[int, str | None]:
        http = HTTPClient(_AsItIs(self._agent, self._url.encode("ascii"), fields), NoCookies(), Body)
        answer = await http.request(
            "POST", self._url, data=body, allow_redirects=False, unbuffered=True, reactor=self._reactor
        )
        rest = _Rest()
        answer.deliverBody(rest)
        await rest.done
        return answer.code, (answer.headers.getRawHeaders("retry-after") or [None])[0]

    def _out_of_time(self, _result: object, timeout_s: float) -> Failure:
        return Failure(PostError(f"no complete response within {timeout_s:g} s"))


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of ``X-Hospproxy-Signature``: HMAC-SHA-256 (RFC 2104) of timestamp, full stop and body.

    :param timestamp: the value of ``X-Hospproxy-Timestamp``.
    """
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, sha256).hexdigest()


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for failure in getattr(error, "reasons", None) or ():
        yield from _causes(failure.value)


def _words(error: Exception) -> str:
    """The innermost causes. Twisted's HTTP client itself says only that there are some."""
    innermost = [cause for cause in _causes(error) if not getattr(cause, "reasons", None)]
    return "; ".join(dict.fromkeys(f"{type(cause).__name__}: {cause}" for cause in innermost))[:300]


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Connections that verify the server's name (RFC 9110 §4.3.4), with the system's or the given certificates."""

    def __init__(self, reactor: Any, ca_file: Path | None) -> None:
        self._reactor = reactor
        self._trust: Any = None
        if ca_file is not None:
            found = x509.load_pem_x509_certificates(ca_file.read_bytes())
            self._trust = trustRootFromCertificates(
                [Certificate(crypto.X509.from_cryptography(certificate)) for certificate in found]
            )

    def endpointForURI(self, uri: Any) -> Any:
        """Return a quiet endpoint for a URL, with TLS for https; see IAgentEndpointFactory."""
        host = uri.host.decode("ascii")
        endpoint = HostnameEndpoint(self._reactor, host, uri.port, timeout=_CONNECT_S)
        if uri.scheme != b"https":
            return _Quiet(endpoint)
        return _Quiet(wrapClientTLS(optionsForClientTLS(host, trustRoot=self._trust), endpoint))


@implementer(IStreamClientEndpoint)
class _Quiet:
    """Keeps Twisted from logging two lines for each connection."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803
        """Connect without Twisted's log lines; see IStreamClientEndpoint."""
        protocolFactory.noisy = False
        opening: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return opening


@implementer(IAgent)
class _AsItIs:
    """Sends the URL and headers as given, and hides Content-Encoding.

    treq would otherwise ask for gzip and uncompress the response.
    """

    def __init__(self, agent: Agent, uri: bytes, fields: Headers) -> None:
        self._agent = agent
        self._uri = uri
        self._fields = fields

    def request(
        self,
        method: bytes,
        uri: bytes,  # noqa: ARG002
        headers: Headers | None = None,  # noqa: ARG002
        bodyProducer: Any = None,  # noqa: N803
    ) -> Deferred[Any]:
        def untouched(answer: Any) -> Any:
            answer.headers.removeHeader(b"content-encoding")
            return answer

        return self._agent.request(method, self._uri, self._fields, bodyProducer).addCallback(untouched)


class _Rest(Protocol):
    """Discards a response body, up to a limit.

    :ivar done: fires at the end of the body, or fails if the body is too long.
    """

    def __init__(self) -> None:
        self._room = MAX_ANSWER_BYTES
        self.done: Deferred[None] = Deferred(lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0 and not self.done.called:
            self.done.errback(ValueError("the response body is too long"))
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # the latter: the connection's end ends the body
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            getattr(transport, "abortConnection", transport.stopProducing)()
