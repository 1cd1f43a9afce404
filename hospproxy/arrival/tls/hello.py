"""Read the server name from a client's first TLS message (RFC 8446 §4.1.2, RFC 6066 §3). Pure: bytes in, name out.

OpenSSL can choose a certificate by name too, but only after it has resumed a session, so a ticket would be valid for
every certificate of the listener. We read the name first, so that each certificate has its own context and ticket
keys.
"""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 32 * 1024
"""Longest ClientHello that is accepted; with post-quantum keys they have about 2 KiB."""

MAX_RECORDS: Final = 128
"""Maximum records that it may be split into: all are parsed again at each read, and a record may hold one byte."""

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0


class _Malformed(Exception):
    """The bytes do not follow the RFC."""


def server_name(data: bytes) -> str | None:
    """Return the server name that the client asks for, lower-cased; "" if it asks for none.

    Bytes that are not TLS give "" too: OpenSSL then refuses them.

    :param data: everything received on the connection.
    :return: None if more bytes are needed.
    """
    try:
        message = _first_message(data)
        if message is None:
            return None if len(data) < MAX_BYTES else ""
        return _name_in(message)
    except _Malformed:
        return ""


def _first_message(data: bytes) -> bytes | None:
    """Return the ClientHello without its header, joined from its records (RFC 8446 §5.1)."""
    message, at = bytearray(), 0
    for _ in range(MAX_RECORDS):
        if data[at : at + 1] not in (b"", bytes([_HANDSHAKE])):
            raise _Malformed
        if len(data) < at + 5:
            return None
        length = int.from_bytes(data[at + 3 : at + 5])
        record = data[at + 5 : at + 5 + length]
        message += record
        at += 5 + length
        if message and message[0] != _CLIENT_HELLO:
            raise _Malformed
        if len(message) >= 4:
            end = 4 + int.from_bytes(message[1:4])
            if end > MAX_BYTES:
                raise _Malformed
            if len(message) >= end:
                return bytes(message[4:end])
        if len(record) < length:
            return None
        if not length:
            raise _Malformed
    raise _Malformed


def _name_in(message: bytes) -> str:
    """Skip version, random, session id, cipher suites and compression; return the name from the extensions."""
    at = 2 + 32
    for width in (1, 2, 1):
        _, at = _vector(message, at, width)
    if at == len(message):
        return ""  # a TLS 1.2 ClientHello may have no extensions
    extensions, _ = _vector(message, at, 2)
    at = 0
    while at < len(extensions):
        kind = extensions[at : at + 2]
        content, at = _vector(extensions, at + 2, 2)
        if int.from_bytes(kind) == _SERVER_NAME:
            return _host_name(content)
    return ""


def _host_name(extension: bytes) -> str:
    names, _ = _vector(extension, 0, 2)
    at = 0
    while at < len(names):
        kind = names[at]
        name, at = _vector(names, at + 1, 2)
        if kind == _HOST_NAME:
            return name.decode("ascii", "replace").lower().removesuffix(".")
    return ""


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """Return the content of a vector whose length field has ``width`` bytes, and the position after it."""
    begin = at + width
    end = begin + int.from_bytes(data[at:begin])
    if len(data) < begin or len(data) < end:
        raise _Malformed
    return data[begin:end], end
