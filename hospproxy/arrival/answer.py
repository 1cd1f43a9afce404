"""Serialise a ``Response`` as an HTTP/1.1 message (RFC 9112 §4, RFC 9110 §6.6, §8.6)."""

from __future__ import annotations

import re
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from ..http.errors import reason
from ..http.messages import Headers, Response
from .fields import HOP_BY_HOP

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

BROKEN: Final = Response(
    500,
    Headers(((b"content-type", b"application/json; charset=utf-8"),)),
    b'{"status":500,"error":"Internal Server Error"}',
)
"""Sent instead of a response that cannot be serialised."""

_NOT_TAKEN_OVER = HOP_BY_HOP | {b"content-length", b"server"}
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_WITHOUT_CONTENT: Final = frozenset({204, 304})


class Unwritable(Exception):
    """The response is not one valid HTTP message: a bad field name or value, or a status outside 200–599."""


@lru_cache(maxsize=128)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {reason(status)}\r\n".encode("ascii")


@lru_cache(maxsize=1024)
def _lowered(name: bytes) -> bytes:
    """:raise Unwritable: ``name`` is not a valid field name."""
    if _NAME.fullmatch(name) is None:
        raise Unwritable(f"invalid field {name!r}")
    return name.lower()


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")


def write_answer(
    response: Response, *, to_head: bool, close: bool, version: tuple[int, int], wall: float
) -> list[bytes]:
    """Serialise a response: its head, and its content unless that is streamed.

    Content-Length is always sent (except with 204 and 304), so that a client notices a truncated response. Streamed
    content is chunked; for HTTP/1.0 it ends when the connection closes (RFC 9112 §6.3). Streamed content is not in
    the returned bytes. The Server field is dropped: it would tell attackers which version to attack.

    :param to_head: the request was HEAD: send the same head without content.
    :param close: the connection closes after this response.
    :param version: HTTP version of the request.
    :param wall: seconds since the epoch, for Date.
    :raise Unwritable: the status or a field cannot be sent.
    """
    status = response.status
    if not 200 <= status <= 599:
        raise Unwritable(f"invalid status {status}")
    lines = [_status_line(status)]
    dated = False
    for name, value in response.headers.pairs:
        lowered = _lowered(name)
        if lowered in _NOT_TAKEN_OVER:
            continue
        if _NOT_IN_VALUE.search(value):
            raise Unwritable(f"invalid field {name!r}")
        dated = dated or lowered == b"date"
        lines.append(b"%s: %s\r\n" % (name, value))
    if not dated:
        lines.append(b"date: %s\r\n" % _date(int(wall)))
    bare = status in _WITHOUT_CONTENT
    content = response.body if response.coded is None else response.coded
    if not bare:
        lines.extend(_framing(response, len(content), version))
    if close:
        lines.append(b"connection: close\r\n")
    elif version == (1, 0):
        lines.append(b"connection: keep-alive\r\n")
    lines.append(b"\r\n")
    head = b"".join(lines)
    streamed = response.chunks is not None
    return [head] if bare or to_head or streamed or not content else [head, content]


def _framing(response: Response, size: int, version: tuple[int, int]) -> list[bytes]:
    """Fields that tell the client where the content ends (RFC 9112 §6); HTTP/1.0 has no chunked coding."""
    if response.chunks is None:
        return [b"content-length: %d\r\n" % size]
    return [b"transfer-encoding: chunked\r\n"] if version >= (1, 1) else []


def has_content(response: Response, *, to_head: bool) -> bool:
    """Whether content follows the head (RFC 9110 §6.4.1)."""
    return not to_head and response.status not in _WITHOUT_CONTENT
