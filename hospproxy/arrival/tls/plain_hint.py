"""Answers a client that speaks plain HTTP to a TLS port: without it, it would only see a closed connection."""

from __future__ import annotations

from typing import Final

_WORDS: Final = (
    b'{"status":400,"error":"Bad Request",'
    b'"detail":"This port speaks HTTPS, and the request came as plain HTTP. Use https:// in the address."}\n'
)
HINT: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(_WORDS) + _WORDS
)


def is_plain_http(data: bytes) -> bool:
    """Whether the first bytes of a connection are plain HTTP: a method begins with a letter, TLS never does.

    The first byte of TLS is the type of a record, 20 to 24 (RFC 8446 §5.1).
    """
    return data[:1].isalpha()
