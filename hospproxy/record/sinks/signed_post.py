"""Posts signed bodies to one URL. Each POST is one attempt; the caller decides about retries."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ...http.outgoing import BodyCollector, Undecoded, causes, pool_of, send
from ...http.retry_after import seconds_until
from ...process import clocks
from ...process.client_endpoint import Certificates, endpoint_to

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
        *,
        timeout_s: float,
        wall: Callable[[], float] = clocks.wall,
    ) -> None:
        self._reactor = reactor
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._wall = wall
        self._pool = pool_of(reactor, 1, _KEPT_S)
        self._agent = Undecoded(
            Agent.usingEndpointFactory(reactor, _Endpoints(reactor, url, ca_file), self._pool)
        )

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
            if any(isinstance(cause, CancelledError) for cause in causes(error)):
                raise CancelledError from None
            raise PostError(_words(error)) from error
        if not 200 <= status < 300:
            wait_s = None if retry_after is None else seconds_until(retry_after, self._wall())
            raise PostError(f"the server responded with {status}", status, wait_s)

    async def _exchange(self, body: bytes, fields: Headers) -> tuple[int, str | None]:
        answer = await send(self._agent, self._reactor, "POST", self._url, fields, body)
        rest = BodyCollector(MAX_ANSWER_BYTES, _too_long, ends=(ResponseDone, PotentialDataLoss))
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


def _too_long() -> ValueError:
    return ValueError("the response body is too long")


def _words(error: Exception) -> str:
    """The innermost causes. Twisted's HTTP client itself says only that there are some."""
    innermost = [cause for cause in causes(error) if not getattr(cause, "reasons", None)]
    return "; ".join(dict.fromkeys(f"{type(cause).__name__}: {cause}" for cause in innermost))[:300]


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Connections to the server of one URL."""

    def __init__(self, reactor: Any, url: str, ca_file: Path | None) -> None:
        self._reactor = reactor
        secure, host = url.startswith("https:"), urlsplit(url).hostname or ""
        self._tls = Certificates(ca_file).client(host) if secure else None

    def endpointForURI(self, uri: Any) -> Any:
        """Return a quiet endpoint for the URL, with TLS for https; see IAgentEndpointFactory."""
        host = uri.host.decode("ascii")
        return _Quiet(endpoint_to(self._reactor, host, uri.port, _CONNECT_S, self._tls))


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
