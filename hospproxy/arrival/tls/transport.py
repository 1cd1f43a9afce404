"""The TLS side of one connection."""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from .hello import server_name
from .open_connection import MAX_CONTENT, OpenConnection
from .plain_hint import HINT, is_plain_http

_HEADER: Final = 5


class RecordEnds:
    """Where the TLS records in a stream of bytes end. Feed it every byte that is received."""

    __slots__ = ("_header", "_missing")

    def __init__(self) -> None:
        self._missing = 0  # bytes of the current record that have not arrived
        self._header = b""  # the part of a header that has arrived

    def is_one(self, data: bytes) -> bool:
        """Take the next bytes; return whether they are one whole record."""
        size = len(data)
        fresh = size > _HEADER and not self._missing and not self._header
        if fresh and size == _HEADER + (data[3] << 8 | data[4]):
            return True
        self._follow(data)
        return False

    def _follow(self, data: bytes) -> None:
        at = min(self._missing, len(data))
        self._missing -= at
        data = self._header + data[at:]
        at = 0
        while len(data) - at >= _HEADER:
            end = at + _HEADER + (data[at + 3] << 8 | data[at + 4])
            if end > len(data):
                self._missing = end - len(data)
                at = len(data)
            else:
                at = end
        self._header = data[at:]


class TlsTransport(TLSMemoryBIOProtocol):
    """Twisted's TLS, without its detours where a connection is open and nothing waits.

    Twisted collects small writes until the reactor's next turn, asks OpenSSL for more after each record, and looks for
    bytes to send after each read. Here a response is written at once, and one record that arrives whole is read once.
    Twisted still handles handshakes, closing and all unusual cases. If there are several certificates, this reads the
    server name before the handshake. A client that speaks plain HTTP is told so.
    """

    factory: Any
    transport: Any

    def __init__(self, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)  # type: ignore[no-untyped-call]
        self._hello: bytearray | None = bytearray()
        self._plain = False
        self._records = RecordEnds()
        self._open: OpenConnection | None = None

    def makeConnection(self, transport: Any) -> None:
        """Wait for the client to begin the handshake (IProtocol).

        Twisted's wrapper also declares each interface of the transport for this one object, which costs more than the
        rest of a resumed handshake. Nothing asks for them here.
        """
        self._tlsConnection = self.factory._creatorCallable(self)
        self._appSendBuffer: list[bytes] = []
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        self.wrappedProtocol.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        """Receive bytes from the network (IProtocol)."""
        if self._hello is not None:
            if self._plain:
                return
            if not self._hello and is_plain_http(data):
                self._refuse_plain()
                return
            self._hello += data
            data = bytes(self._hello)
            named = bool(self.factory.doorway.contexts.named)
            name = server_name(data) if named else ""
            if name is None:
                return
            self._hello = None
            if named:
                # The connection object that was created at first has not seen a byte yet, so it can be replaced.
                self._tlsConnection = self.factory.doorway.named(self, name)
        one = self._records.is_one(data)
        if not self._handshakeDone or self._appSendBuffer or self._lostTLSConnection:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
            return
        if self._open is None:
            self._open = OpenConnection(self._tlsConnection)
        try:
            content = self._open.receive(data)
        except SSL.WantReadError:
            self._flushSendBIO()  # type: ignore[no-untyped-call] # the record may have asked for one of ours
            return
        except SSL.Error:
            # The end of TLS, or a broken record. OpenSSL says so again, and Twisted ends the connection.
            self._flushReceiveBIO()  # type: ignore[no-untyped-call]
            return
        if not self._aborted:
            self.wrappedProtocol.dataReceived(content)
        if not one and self._tlsConnection is not None:
            self._flushReceiveBIO()  # type: ignore[no-untyped-call]

    def _refuse_plain(self) -> None:
        """Tell a client that it should speak TLS. Its further bytes are dropped, until a handshake would be late."""
        self._plain = True
        self.transport.write(HINT)
        # Only our side: closing both while more is coming would reset the connection, and the hint be lost.
        self.transport.loseWriteConnection()

    def write(self, data: bytes) -> None:
        """Encrypt and send (ITransport)."""
        if self._open is None or self._appSendBuffer or self.disconnecting or len(data) > MAX_CONTENT:
            super().write(data)  # type: ignore[no-untyped-call]
            return
        if self._lostTLSConnection or not data:
            return
        try:
            encrypted = self._open.encrypt(data)
        except SSL.WantReadError:
            self._bufferedWrite(data)  # type: ignore[no-untyped-call]
        except SSL.Error:
            self._tlsShutdownFinished(Failure())  # type: ignore[no-untyped-call]
        else:
            self.transport.write(encrypted)

    @property
    def has_sent_all(self) -> bool:
        """Whether the system has taken everything that was written; False if the transport below cannot tell."""
        waits = self._appSendBuffer or self._lostTLSConnection or self._aborted
        return not waits and bool(getattr(self.transport, "has_sent_all", False))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is closed (IProtocol)."""
        self._hello = self._open = None
        self.factory.handshakes.end(self, "failed")
        # Everything that was received is with the protocol. If Twisted asked OpenSSL for more, the traceback of the
        # error would keep all of this connection, 24 KiB of OpenSSL's included, until the next garbage collection.
        self._lostTLSConnection = self._lostTLSConnection or self._handshakeDone
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
