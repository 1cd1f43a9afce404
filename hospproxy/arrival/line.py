"""Parse the request line byte for byte, before any other code looks at the request (RFC 9112 §3)."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from ..http.errors import Refused

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
"""All methods that are accepted. CONNECT would open a tunnel; TRACE would show what proxies in front have added."""

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])")
_CUT_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^\x00-\x20\x7f]*")
# RFC 3986 allows none of these characters, and no incomplete percent-encoding. It also forbids | ^ ` [ ] in a query,
# but browsers and phones send them as they are, and all readers agree about them.
_BAD_IN_TARGET = re.compile(rb"[^\x21-\x7e]|[\"<>\\{}#]|%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE)
_AROUND_TARGET = (
    40  # the longest known method, two spaces, the version, and a few bytes to spare for an unknown method
)


@frozen(slots=True)
class RequestLine:
    """A parsed request line, with the target split into its parts.

    :param method: as sent.
    :param path: ``/…`` still percent-encoded, or ``*``.
    :param query: after the first ``?``; None without one.
    :param version: (1, 0) or (1, 1).
    :param scheme: of an absolute-form target, lower-cased; None for the usual origin-form.
    :param authority: of an absolute-form target; None for the usual origin-form.
    """

    method: bytes = b""
    path: bytes = b""
    query: bytes | None = None
    version: tuple[int, int] = (1, 1)
    scheme: bytes | None = None
    authority: bytes | None = None


class HeadRefused(Refused):
    """A request head is refused; the chain turns this into a response and a record.

    :ivar known: its request line, as far as it was understood.
    :param limit: the field of ArrivalSettings that was exceeded; "" if none was.
    """

    def __init__(self, detail: str, *, status: int = 400, field: str | None = None, limit: str = "") -> None:
        super().__init__(detail, status=status, field=field)
        self.known = RequestLine()
        self.limit = limit


def longest_line(max_target_bytes: int, max_head_bytes: int) -> int:
    """Return the bytes after which a request line without an end is refused."""
    return min(max_target_bytes + _AROUND_TARGET, max_head_bytes)


def refuse_long_line(start: bytes) -> HeadRefused:
    """Return the refusal for a request line of which only the first ``longest_line()`` bytes are known."""
    match = _CUT_LINE.fullmatch(start)
    if match is None:
        return HeadRefused("The request line is malformed.")
    if len(match[1]) > _AROUND_TARGET - 12:
        return HeadRefused("This method is not supported.", status=501)
    error = HeadRefused("The request target is too long.", status=414, limit="max_target_bytes")
    error.known = RequestLine(match[1])
    return error


def parse_line(line: bytes, max_target_bytes: int) -> RequestLine:
    """Parse a complete request line: method, target and version.

    :param line: without its CRLF.
    :raise HeadRefused: 400 malformed, 505 another version, 501 an unknown method, 414 too long.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise HeadRefused("The request line is malformed.")
    method, target, major, minor = match.groups()
    try:
        if (major, minor) not in ((b"1", b"1"), (b"1", b"0")):
            raise HeadRefused("Only HTTP/1.0 and HTTP/1.1 are supported.", status=505)
        if method not in METHODS:
            raise HeadRefused("This method is not supported.", status=501)
        if len(target) > max_target_bytes:
            raise HeadRefused("The request target is too long.", status=414, limit="max_target_bytes")
        return _parse_target(method, target, (1, int(minor)))
    except HeadRefused as error:
        error.known = RequestLine(method)
        raise


def _parse_target(method: bytes, target: bytes, version: tuple[int, int]) -> RequestLine:
    """Parse the target forms of RFC 9112 §3.2; authority-form is for CONNECT only, so it is refused."""
    if _BAD_IN_TARGET.search(target):
        raise HeadRefused("The request target contains a character that is not allowed.")
    scheme = authority = None
    if target[:1] != b"/" and target != b"*":
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise HeadRefused("The request target is neither a path nor an http address.")
        scheme, authority = match[1].lower(), match[2]
        target = _path_of_absolute(method, match[3])
    if target == b"*" and method != b"OPTIONS":
        raise HeadRefused("The target * is allowed with OPTIONS only.")
    path, mark, query = target.partition(b"?")
    return RequestLine(method, path, query if mark else None, version, scheme, authority)


def _path_of_absolute(method: bytes, rest: bytes) -> bytes:
    """Return the path; an empty one is ``/``, or ``*`` for OPTIONS without a query.

    Source: RFC 9110 §4.2.3, RFC 9112 §3.2.4.
    """
    if rest == b"" and method == b"OPTIONS":
        return b"*"
    return rest if rest[:1] == b"/" else b"/" + rest
