"""Connections to the upstream: open them, verify certificates, send requests and read their responses, keep idle ones.

HTTP/1.1, one request at a time on each connection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectingCancelledError, ConnectionDone, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..http.errors import NotSent, ProxyError
from ..process.client_endpoint import Certificates, Explained, endpoint_to, write_now
from .answer_reader import AnswerReader
from .attempt import Attempt
from .upstream_request import UpstreamTarget

_LINGER_S = 2.0
_log = Logger()


@implementer(IHandshakeListener)
class Connection(Protocol):
    """Carries one request after the other.

    :ivar ready: fires with the connection once a request may be written. Over TLS that is after the handshake, so a
        failure before it has certainly sent nothing.
    :ivar idle_since: monotonic seconds since which it is kept without a request.
    """

    def __init__(self, connections: Connections) -> None:
        self.ready: Deferred[Connection] = Deferred(lambda _: self._abort())
        self.idle_since = 0.0
        self._connections = connections
        self._attempt: Attempt | None = None
        self._reader: AnswerReader | None = None
        self._closing: IDelayedCall | None = None
        self._over = False
        """It was aborted or lost: nothing that arrives counts."""

    @property
    def head_status(self) -> int | None:
        """Status of the response that is being read; None before its head is complete."""
        head = None if self._reader is None else self._reader.head
        return None if head is None else head.status

    def carry(self, attempt: Attempt) -> None:
        """Write a request, and read its response."""
        self._attempt = attempt
        self._reader = self._connections.new_reader()
        write_now(self.transport, attempt.request)

    def drop(self) -> None:
        """Give the request up, and close at once."""
        self._attempt = None
        self._abort()

    def close(self) -> None:
        """Close. TLS waits for the peer's close_notify, and TCP for unsent data; this bounds both waits."""
        transport: Any = self.transport
        transport.loseConnection()
        if self._closing is None and not self._over:
            self._closing = self._connections.reactor.callLater(_LINGER_S, self._abort)

    # -- called by the transport

    def connectionMade(self) -> None:
        if not self._connections.secure:
            self.ready.callback(self)

    def handshakeCompleted(self) -> None:
        # The handshake has verified the certificate. The connection may have been given up meanwhile.
        if not self.ready.called:
            self.ready.callback(self)

    def dataReceived(self, data: bytes) -> None:
        attempt, reader = self._attempt, self._reader
        if self._over:
            return
        if attempt is None or reader is None:
            self._abort()  # nobody asked for these bytes: they would be taken for the next response
            return
        try:
            if not reader.feed(data):
                return
        except ProxyError as error:
            self.drop()
            attempt.fail(error)
            return
        self._answered(attempt, reader)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        attempt, reader, self._attempt = self._attempt, self._reader, None
        self._over = True
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._connections.lost(self)
        if attempt is not None and reader is not None:
            if reason.check(ConnectionDone) and reader.ended():
                attempt.answered(reader)
            else:
                attempt.broke(self.head_status)
        if not self.ready.called:
            self.ready.errback(reason)

    def _answered(self, attempt: Attempt, reader: AnswerReader) -> None:
        self._attempt = self._reader = None
        head = reader.head
        if reader.overrun:
            self._abort()
        elif not attempt.keep or head is None or head.last or not self._connections.keep(self):
            self.close()
        attempt.answered(reader)

    def _abort(self) -> None:
        if self._over:  # after the loss, TLS has nothing to abort and would raise
            return
        self._over = True
        self._connections.forget(self)
        transport: Any = self.transport
        transport.abortConnection()


class Connections(Factory):
    """Opens connections to one upstream, and keeps idle ones for reuse.

    :param connect_timeout_s: seconds for name lookup, connection and TLS handshake together.
    :param max_header_bytes: see AnswerReader.
    :param max_body_bytes: see AnswerReader.
    :param ca_file: certificates (PEM) to trust instead of the system's; https only.
    :param most_idle: how many idle connections are kept.
    :param idle_s: seconds that an idle connection is kept.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        target: UpstreamTarget,
        *,
        connect_timeout_s: float,
        max_header_bytes: int,
        max_body_bytes: int,
        most_idle: int,
        idle_s: float,
        ca_file: Path | None = None,
    ) -> None:
        self.reactor = reactor
        self.secure = target.secure
        self._target = target
        self._timeout_s = connect_timeout_s
        self._limits = (max_header_bytes, max_body_bytes)
        self._most_idle = most_idle
        self._idle_s = idle_s
        self._idle: dict[Connection, None] = {}
        """The one that has been idle for longest first."""
        self._sweep: IDelayedCall | None = None
        self._waits: set[Connection] | None = None
        self._closed: Deferred[None] = Deferred()
        self._tls = Explained(Certificates(ca_file).client(target.host)) if self.secure else None
        self._said = ""
        self._endpoint = self._new_endpoint()

    def _new_endpoint(self) -> Any:
        target = self._target
        return endpoint_to(self.reactor, target.host, target.port, self._timeout_s, self._tls)

    def reload(
        self, connect_timeout_s: float, limits: tuple[int, int], most_idle: int, idle_s: float
    ) -> None:
        """Apply changed options, to connections and responses from now on.

        :param limits: bytes of a response's head, and of its body.
        """
        self._timeout_s = connect_timeout_s
        self._limits = limits
        self._most_idle = most_idle
        self._idle_s = idle_s
        self._endpoint = self._new_endpoint()

    def buildProtocol(self, addr: Any) -> Connection:  # noqa: ARG002
        return Connection(self)

    def new_reader(self) -> AnswerReader:
        """A new reader, for the next response."""
        return AnswerReader(*self._limits)

    def idle(self) -> Connection | None:
        """Take the connection that has been idle for the shortest time; None if there is none."""
        return self._idle.popitem()[0] if self._idle else None

    def open(self) -> Deferred[Connection]:
        """Open a connection to the upstream, including the TLS handshake.

        :raise NotSent: it could not be opened or verified in time. No byte of a request was written.
        """
        opening: Deferred[Connection] = self._endpoint.connect(self).addCallback(lambda made: made.ready)
        opening.addTimeout(self._timeout_s, self.reactor, lambda *_: Failure(TimeoutError()))
        return opening.addCallbacks(self._is_open, self._not_sent)

    def keep(self, connection: Connection) -> bool:
        """Keep an idle connection, perhaps in the place of another one; return False if it must be closed."""
        if self._waits is not None or self._most_idle <= 0:
            return False
        connection.idle_since = self.reactor.seconds()
        self._idle[connection] = None
        if len(self._idle) > self._most_idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.close()
        if self._sweep is None:
            self._sweep = self.reactor.callLater(self._idle_s, self._close_idle)
        return True

    def forget(self, connection: Connection) -> None:
        """Hand out this connection no more."""
        self._idle.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that has ended; with the last one, ``close`` is done."""
        self.forget(connection)
        if self._waits is not None:
            self._waits.discard(connection)
            if not self._waits and not self._closed.called:
                self._closed.callback(None)

    def close(self) -> Deferred[None]:
        """Close the idle connections, and keep no others; fires when they have ended."""
        if self._waits is not None:
            return self._closed
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        idle, self._idle = list(self._idle), {}
        if not idle:
            self._waits = set()
            return succeed(None)
        self._waits = set(idle)
        for each in idle:
            each.close()
        return self._closed

    def _close_idle(self) -> None:
        """Close what has been idle for too long. One timer serves all connections."""
        self._sweep = None
        now = self.reactor.seconds()
        for each in list(self._idle):
            left_s = each.idle_since + self._idle_s - now
            if left_s > 0:
                self._sweep = self.reactor.callLater(left_s, self._close_idle)
                return
            del self._idle[each]
            each.close()

    def _is_open(self, connection: Connection) -> Connection:
        if self._said:
            self._said = ""
            _log.info("connected to the upstream {authority} again", authority=self._target.authority)
        return connection

    def _say(self, failure: Failure) -> None:
        """Log why no connection can be opened, once until that changes: while HOSP is away it is tried all the time."""
        secure = failure.check(SSL.Error, VerificationError)
        why = self._why(failure) if secure else repr(failure.value)
        if why == self._said:
            return
        self._said = why
        if secure:
            _log.warn(
                "TLS with the upstream {authority} failed: {reason}. Check its certificate, and upstream.ca_file",
                authority=self._target.authority,
                reason=why,
            )
        else:
            _log.info(
                "could not connect to the upstream {authority}: {reason}",
                authority=self._target.authority,
                reason=why,
            )

    def _why(self, failure: Failure) -> str:
        if failure.check(VerificationError):
            return f"its certificate names another host than {self._target.host}"
        return (self._tls.refusal if self._tls is not None else "") or repr(failure.value)

    def _not_sent(self, failure: Failure) -> Failure:
        if failure.check(CancelledError, ConnectingCancelledError):
            return failure
        self._say(failure)
        return Failure(NotSent("The upstream server could not be reached."))
