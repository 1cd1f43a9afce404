"""OpenSSL's functions for an open connection, without the checks that pyOpenSSL makes around each.

pyOpenSSL allocates a buffer for each call, and asks OpenSSL for an error even after a success. For a response from
memory that costs three times as much as the cryptography. If a call fails, pyOpenSSL makes the error, so errors are the
same. These are names inside pyOpenSSL; setup.cfg gives the versions that have them.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL

MAX_CONTENT: Final = 1 << 14
"""Content of the longest TLS record (RFC 8446 §5.1)."""
_BUFFER: Final = 1 << 15

_lib: Final[Any] = getattr(SSL, "_lib")  # noqa: B009 # mypy knows that it is private
_ffi: Final[Any] = getattr(SSL, "_ffi")  # noqa: B009
# One buffer for all connections: only the reactor's thread receives and sends.
_buffer: Final[Any] = _ffi.new("char[]", _BUFFER)
_content: Final[Any] = _ffi.buffer(_buffer)


class OpenConnection:
    """Decrypts and encrypts on one connection whose handshake is done.

    :param connection: with memory buffers in place of a socket.
    """

    __slots__ = ("_connection", "_from_ssl", "_into_ssl", "_ssl")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._ssl = connection._ssl
        self._into_ssl = connection._into_ssl
        self._from_ssl = connection._from_ssl

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the network; return the content of the first record.

        :raise SSL.WantReadError: there is no whole record with content.
        :raise SSL.Error: the connection is over or broken.
        """
        if _lib.BIO_write(self._into_ssl, data, len(data)) != len(data):
            raise MemoryError
        size = _lib.SSL_read(self._ssl, _buffer, MAX_CONTENT)
        if size <= 0:
            self._connection._raise_ssl_error(self._ssl, size)
        content: bytes = _content[: max(size, 0)]
        return content

    def encrypt(self, content: bytes) -> bytes:
        """Return the bytes for the network.

        :param content: at most MAX_CONTENT bytes, and not empty.
        :raise SSL.WantReadError: not before the client has sent more.
        :raise SSL.Error: the connection is over or broken.
        """
        size = _lib.SSL_write(self._ssl, content, len(content))
        if size <= 0:
            self._connection._raise_ssl_error(self._ssl, size)
        size = _lib.BIO_read(self._from_ssl, _buffer, _BUFFER)
        data: bytes = _content[: max(size, 0)]
        while size == _BUFFER:
            size = _lib.BIO_read(self._from_ssl, _buffer, _BUFFER)
            data += _content[: max(size, 0)]
        return data
