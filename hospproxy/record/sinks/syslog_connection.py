"""Connections to a syslog receiver over TCP or TLS.

Each carries one batch; its orderly end is the acknowledgement.
"""

from __future__ import annotations

import socket
import struct
import termios
from collections.abc import Iterator
from fcntl import ioctl
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPullProducer,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ...options.addresses import Address
from ...process.client_endpoint import Certificates, Renewed, endpoint_to

_KEEPALIVE = ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4))
"""A receiver whose machine is gone is noticed after 40 s even if nothing is sent."""


class NotConfirmed(Exception):
    """The connection ended, and it is not known whether the receiver has read everything."""


@implementer(IHalfCloseableProtocol)
class _Raw(ProtocolWrapper):
    """The TCP layer, below TLS if there is any: sees how the TCP connection ended.

    :ivar in_order: the receiver closed after us, and all bytes were acknowledged.
    """

    def __init__(self, factory: Any, inner: Any) -> None:
        super().__init__(factory, inner)
        self.in_order = False
        self._finished = False
        self._timeout_s = factory.timeout_s

    def makeConnection(self, transport: Any) -> None:
        transport.setTcpKeepAlive(1)
        transport.setTcpNoDelay(1)
        handle = transport.getHandle()
        for option, value in (*_KEEPALIVE, (socket.TCP_USER_TIMEOUT, int(self._timeout_s * 1000))):
            handle.setsockopt(socket.IPPROTO_TCP, option, value)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Close our direction once everything is sent; the other direction stays open."""
        transport: Any = self.transport
        self._finished = True
        transport.loseWriteConnection()

    def loseConnection(self) -> None:
        # TLS closes here once the close_notify alerts are exchanged. The end of the TCP connection, which is
        # what counts, is still to come.
        if not self._finished:
            super().loseConnection()  # type: ignore[no-untyped-call]

    def readConnectionLost(self) -> None:
        """The receiver closed its direction. See IHalfCloseableProtocol."""
        transport: Any = self.transport
        # If the receiver closed before our last bytes arrived, it never acknowledges them.
        self.in_order = self._finished and _unacknowledged(transport.getHandle()) == 0
        transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Everything was sent. See IHalfCloseableProtocol."""


def _unacknowledged(handle: socket.socket) -> int:
    """Bytes that the receiver's kernel has not acknowledged (tcp(7), SIOCOUTQ)."""
    [count] = struct.unpack("i", ioctl(handle, termios.TIOCOUTQ, b"\0" * 4))
    return int(count)


class _RawFactory(WrappingFactory[_Raw]):
    protocol = _Raw
    noisy = False

    def __init__(self, inner: Any, timeout_s: float) -> None:
        super().__init__(inner)  # type: ignore[no-untyped-call]
        self.timeout_s = timeout_s


@implementer(IHandshakeListener, IPullProducer)
class SyslogDelivery(Protocol):
    """A connection for one delivery.

    :ivar ready: fires with this object once bytes may be sent; over TLS, after the handshake. :ivar lost: the
    connection ended.
    """

    def __init__(self, clock: Any, timeout_s: float, secure: bool) -> None:
        self.ready: Deferred[SyslogDelivery] = Deferred(lambda _: self.abort())
        self.lost = False
        self.on_lost: Any = None
        self._clock = clock
        self._timeout_s = timeout_s
        self._secure = secure
        self._chunks: Iterator[bytes] = iter(())
        self._done: Deferred[None] | None = None
        self._timer: Any = None
        self._timed_out = False
        self._handshaken = not secure

    # Called by the sink

    def deliver(self, chunks: Iterator[bytes]) -> Deferred[None]:
        """Send everything, close our direction, and wait until the receiver closes as well.

        A receiver closes after it has read to the end. If it dies with unread bytes, its kernel sends a reset
        instead (RFC 1122 §4.2.2.13; Linux does this).

        :raise NotConfirmed: the connection ended in any other way.
        :raise TimeoutError: there was no progress for ``timeout_s``.
        """
        if self.lost:
            raise NotConfirmed("the receiver has closed the connection")
        self._chunks = chunks
        done: Deferred[None] = Deferred(lambda _: self.abort())
        self._done = done
        self._timer = self._clock.callLater(self._timeout_s, self._too_late)
        transport: Any = self.transport
        transport.registerProducer(self, False)
        return done

    def abort(self) -> None:
        """Close the connection at once."""
        transport: Any = self.transport
        if transport is not None and not self.lost:
            self._raw.abortConnection()

    def drop(self) -> None:
        """Close an unused connection without calling ``on_lost``."""
        self.on_lost = None
        self.abort()

    # Called by Twisted

    def connectionMade(self) -> None:
        if not self._secure:
            self._now_ready()

    def handshakeCompleted(self) -> None:
        """The receiver's certificate was verified. See IHandshakeListener."""
        self._handshaken = True
        self._now_ready()

    def resumeProducing(self) -> None:
        """The kernel has taken the previous chunk. See IPullProducer."""
        transport: Any = self.transport
        self._timer.reset(self._timeout_s)
        chunk = next(self._chunks, None)
        if chunk is not None:
            transport.write(chunk)
            return
        transport.unregisterProducer()
        if self._secure:
            transport.loseConnection()  # close_notify (RFC 5425 §4.4)
        self._raw.finish()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost gets the reason. See IPullProducer."""
        self._chunks = iter(())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not self.ready.called:
            self.ready.errback(reason)
        done, self._done = self._done, None
        if done is not None and not done.called:
            self._tell(done, reason)
        if self.on_lost is not None:
            self.on_lost()

    def _tell(self, done: Deferred[None], reason: Failure) -> None:
        # Over TLS, an end without close_notify, which many receivers omit, arrives as ConnectionLost. A TLS
        # alert arrives as another error, and then nothing that was sent counts.
        if self._raw.in_order and reason.check(ConnectionDone, ConnectionLost):
            done.callback(None)
        elif self._timed_out:
            done.errback(
                TimeoutError(string=f"the syslog receiver made no progress for {self._timeout_s:g} s")
            )
        else:
            done.errback(NotConfirmed(f"the connection ended unconfirmed: {reason.getErrorMessage()}"))

    def _now_ready(self) -> None:
        if not self.ready.called:
            self.ready.callback(self)

    def _too_late(self) -> None:
        self._timed_out = True
        self.abort()

    @property
    def _raw(self) -> Any:
        transport: Any = self.transport
        return transport.transport if self._secure else transport


class _Deliveries(Factory):
    noisy = False

    def __init__(self, clock: Any, timeout_s: float, secure: bool) -> None:
        self._made = (clock, timeout_s, secure)

    def buildProtocol(self, addr: object) -> SyslogDelivery:  # noqa: ARG002
        return SyslogDelivery(*self._made)


class SyslogOpener:
    """Opens connections to one receiver. Replaced certificate files are read again, so they need no restart.

    :param timeout_s: seconds for connection and TLS handshake together, and then for each step of a delivery.
    """

    def __init__(self, reactor: Any, address: Address, certificates: Certificates, timeout_s: float) -> None:
        self._reactor = reactor
        self._address = address
        self._certificates = Renewed(certificates)
        self._timeout_s = timeout_s

    async def __call__(self) -> Any:
        """A connection (Delivery) that is ready.

        :raise Exception: it could not be opened, or the certificate is not valid.
        """
        secure = self._address.secure
        inner: Any = _Deliveries(self._reactor, self._timeout_s, secure)
        if secure:
            inner = TLSMemoryBIOFactory(self._tls(), True, inner, self._reactor)
            inner.noisy = False
        host = str(self._address.ip or self._address.host)
        endpoint = endpoint_to(self._reactor, host, self._address.port, self._timeout_s)
        opening: Deferred[Any] = endpoint.connect(_RawFactory(inner, self._timeout_s))
        opening.addCallback(self._when_ready)
        opening.addTimeout(self._timeout_s, self._reactor)
        return await opening

    def _tls(self) -> Any:
        return self._certificates.of(self._address.host)

    def _when_ready(self, raw: Any) -> Deferred[SyslogDelivery]:
        inner: Any = raw.wrappedProtocol
        delivery: SyslogDelivery = inner.wrappedProtocol if self._address.secure else inner
        return delivery.ready
