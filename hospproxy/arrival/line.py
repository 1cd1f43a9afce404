"""The request line (RFC 9112 §3), taken apart byte for byte before anything else looks at the request."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from ..errors import Refused

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
"""All that is understood. CONNECT would open a tunnel, TRACE would show what proxies in front have added."""

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])")
_CUT_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^\x00-\x20\x7f]*")
# RFC 3986 allows neither these nor half a percent-encoding. It does not allow | ^ ` [ ] in a query either, but
# browsers and phones send them as they are, and no two readers disagree about them.
_BAD_IN_TARGET = re.compile(rb"[^\x21-\x7e]|[\"<>\\{}#]|%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE)
_AROUND_TARGET = (
    40  # the longest method we know, two spaces, the version, and room for a method that we do not know
)


@frozen(slots=True)
class RequestLine:
    """What a request line says.

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
    """A head that may not pass.

    :param known: what its request line said, as far as that was understood.
    """

    def __init__(self, detail: str, *, status: int = 400, field: str | None = None, limit: str = "") -> None:
        super().__init__(detail, status=status, field=field)
        self.known = RequestLine()
        self.limit = limit


def longest_line(max_target_bytes: int, max_head_bytes: int) -> int:
    """Bytes after which a request line that has not ended is given up."""
    return min(max_target_bytes + _AROUND_TARGET, max_head_bytes)


def refuse_long_line(start: bytes) -> HeadRefused:
    """What to say of a request line of which only the first ``longest_line()`` bytes are known."""
    match = _CUT_LINE.fullmatch(start)
    if match is None:
        return HeadRefused("The request line is malformed.")
    if len(match[1]) > _AROUND_TARGET - 12:
        return HeadRefused("The method is not one that is served here.", status=501)
    error = HeadRefused("The request target is too long.", status=414, limit="max_target_bytes")
    error.known = RequestLine(match[1])
    return error


def parse_line(line: bytes, max_target_bytes: int) -> RequestLine:
    """Take a request line apart.

    :param line: without its CRLF.
    :raise HeadRefused: 400 malformed, 505 another version, 501 a method we do not know, 414 too long.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise HeadRefused("The request line is malformed.")
    method, target, major, minor = match.groups()
    try:
        if (major, minor) not in ((b"1", b"1"), (b"1", b"0")):
            raise HeadRefused("Only HTTP/1.0 and HTTP/1.1 are served here.", status=505)
        if method not in METHODS:
            raise HeadRefused("The method is not one that is served here.", status=501)
        if len(target) > max_target_bytes:
            raise HeadRefused("The request target is too long.", status=414, limit="max_target_bytes")
        return _parse_target(method, target, (1, int(minor)))
    except HeadRefused as error:
        error.known = RequestLine(method)
        raise


def _parse_target(method: bytes, target: bytes, version: tuple[int, int]) -> RequestLine:
    """The four forms of RFC 9112 §3.2; authority-form belongs to CONNECT alone."""
    if _BAD_IN_TARGET.search(target):
        raise HeadRefused("The request target holds a character that it may not.")
    scheme = authority = None
    if target[:1] != b"/" and target != b"*":
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise HeadRefused("The request target is neither a path nor an http address.")
        scheme, authority = match[1].lower(), match[2]
        target = _path_of_absolute(method, match[3])
    if target == b"*" and method != b"OPTIONS":
        raise HeadRefused("The target * goes with OPTIONS only.")
    path, mark, query = target.partition(b"?")
    return RequestLine(method, path, query if mark else None, version, scheme, authority)


def _path_of_absolute(method: bytes, rest: bytes) -> bytes:
    """RFC 9110 §4.2.3 and RFC 9112 §3.2.4: an empty path is ``/``, but ``*`` for OPTIONS without a query."""
    if rest == b"" and method == b"OPTIONS":
        return b"*"
    return rest if rest[:1] == b"/" else b"/" + rest
