"""Connections to the upstream: opens them, verifies certificates, and filters what they deliver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionAborted, ConnectionDone, TimeoutError
from twisted.internet.interfaces import IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ..client_endpoint import Certificates, endpoint_to
from ..errors import NotSent, ProxyError
from .filter import AnswerFilter
from .head import ResponseHead
from .upstream_request import UpstreamTarget

_LINGER_S = 2.0
_log = Logger()


@implementer(IHandshakeListener)
class Connection(ProtocolWrapper):
    """Sits between the transport and Twisted's HTTP client, and passes every byte of a response through the filter.

    :ivar ready: fires with the HTTP client's protocol once a request may be written. Over TLS that is after the
        handshake, so a failure before it has certainly sent nothing.
    """

    def __init__(self, factory: _Connections, inner: Any) -> None:
        super().__init__(factory, inner)
        self.ready: Deferred[Any] = Deferred(lambda _: self.abortConnection())
        self._connections = factory
        self._filter = factory.new_filter()
        self._told = False
        self._lost = False
        self._closing: Any = None

    @property
    def head(self) -> ResponseHead | None:
        """Head of the response that is being read, once it is complete."""
        return self._filter.head

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)  # type: ignore[no-untyped-call]
        if not self._connections.secure:
            self.ready.callback(self.wrappedProtocol)

    def handshakeCompleted(self) -> None:
        # The handshake has verified the certificate. The connection may have been given up meanwhile.
        if not self.ready.called:
            self.ready.callback(self.wrappedProtocol)

    def abortConnection(self) -> None:
        """Close at once: read and write nothing more."""
        transport: Any = self.transport
        if not self._lost:  # after the loss, TLS has nothing to abort and would raise
            transport.abortConnection()

    def loseConnection(self) -> None:
        super().loseConnection()  # type: ignore[no-untyped-call]
        if self._closing is None and not self._lost:
            # TLS waits for the peer's close_notify, and TCP for unsent data. Neither wait is bounded.
            self._closing = self._connections.reactor.callLater(_LINGER_S, self.abortConnection)

    def write(self, data: bytes) -> None:
        self._writing()
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: Any) -> None:
        self._writing()
        super().writeSequence(data)  # type: ignore[no-untyped-call]

    def _writing(self) -> None:
        # A request is written whole before anything is read, so a head that exists now is an earlier response's.
        if self._filter.head is not None:
            self._filter = self._connections.new_filter()

    def dataReceived(self, data: bytes) -> None:
        if self._told:
            return
        inner: Any = self.wrappedProtocol
        if inner.state == "QUIESCENT":
            self._drop(ConnectionAborted("bytes that nobody asked for"))
            return
        filtering = self._filter
        try:
            passed = filtering.feed(data)
        except ProxyError as error:
            self._drop(error)
            return
        if passed:
            inner.dataReceived(passed)
        # Handling the response may already have reused the connection, which started another filter.
        over = self._filter is not filtering or inner.state == "QUIESCENT"
        if over and filtering.overrun and not self._told:
            self._drop(ConnectionAborted("more bytes than the answer has"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        inner: Any = self.wrappedProtocol
        self._lost = True
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        if not self._told:
            self._told = True
            if reason.check(ConnectionDone) and inner.state != "QUIESCENT" and (rest := self._filter.ended()):
                inner.dataReceived(rest)
            inner.connectionLost(reason)
        if not self.ready.called:
            self.ready.errback(reason)

    def _drop(self, error: Exception) -> None:
        self._told = True
        self.abortConnection()
        inner: Any = self.wrappedProtocol
        inner.connectionLost(Failure(error))


class _Connections(WrappingFactory[Connection]):
    """Wraps each protocol of Twisted's HTTP client in a Connection."""

    protocol = Connection
    noisy = False

    def __init__(self, opener: Opener, inner: Any) -> None:
        super().__init__(inner)  # type: ignore[no-untyped-call]
        inner.noisy = False  # otherwise each connection logs two lines
        self.reactor = opener.reactor
        self.secure = opener.secure
        self.new_filter = opener.new_filter


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Opener:
    """Opens connections to one upstream, whatever address is asked for.

    :param connect_timeout_s: seconds for name lookup, connection and TLS handshake together.
    :param max_header_bytes: see AnswerFilter.
    :param max_body_bytes: see AnswerFilter.
    :param ca_file: certificates (PEM) to trust instead of the system's; https only.
    """

    def __init__(
        self,
        reactor: Any,
        target: UpstreamTarget,
        *,
        connect_timeout_s: float,
        max_header_bytes: int,
        max_body_bytes: int,
        ca_file: Path | None = None,
    ) -> None:
        self.reactor = reactor
        self.secure = target.secure
        self._target = target
        self._timeout_s = connect_timeout_s
        self._limits = (max_header_bytes, max_body_bytes)
        tls = Certificates(ca_file).client(target.host) if self.secure else None
        self._endpoint: Any = endpoint_to(reactor, target.host, target.port, connect_timeout_s, tls)

    def new_filter(self) -> AnswerFilter:
        """A new filter, for the next response."""
        return AnswerFilter(*self._limits)

    def endpointForURI(self, uri: Any) -> Opener:  # noqa: ARG002
        """The same opener for every address: there is only one upstream."""
        return self

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803
        """Open a connection to the upstream, including the TLS handshake.

        :raise NotSent: it could not be opened or verified in time. No byte of a request was written.
        """
        opening: Deferred[Any] = self._endpoint.connect(_Connections(self, protocolFactory))
        opening.addCallback(lambda connection: connection.ready)
        opening.addTimeout(self._timeout_s, self.reactor, lambda *_: Failure(TimeoutError()))
        opening.addErrback(self._not_sent)
        return opening

    def _not_sent(self, failure: Failure) -> Failure:
        if failure.check(CancelledError, ConnectingCancelledError):
            return failure
        if failure.check(SSL.Error, VerificationError):
            _log.warn(
                "TLS with the upstream {authority} failed: {reason!r}. "
                "Check its certificate, and upstream.ca_file",
                authority=self._target.authority,
                reason=failure.value,
            )
        else:
            _log.info(
                "could not connect to the upstream {authority}: {reason!r}",
                authority=self._target.authority,
                reason=failure.value,
            )
        return Failure(NotSent("The upstream server could not be reached."))
