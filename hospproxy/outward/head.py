"""Strict parsing of a response's head: which fields may be passed on, and where the body ends.

Twisted's HTTP client accepts bare line feeds, folded lines, and any version and status. It believes Transfer-Encoding
over Content-Length and hides both fields. So it only ever sees heads that this module has parsed and written anew.
"""

from __future__ import annotations

import re

from attrs import frozen

from ..errors import BadAnswer, FailedAfterSending

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_BARE_LF = re.compile(rb"(?<!\r)\n")

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields for the next hop only (RFC 9110 §7.6.1, §11.7), and Content-Length, which arrival sets itself."""

_ONCE = frozenset((b"content-type", b"etag", b"location", b"date", b"last-modified"))


@frozen(slots=True)
class ResponseHead:
    """The parsed head of one response.

    :param status: RFC 9110 §15.
    :param reason: reason phrase, may be empty.
    :param fields: the fields to pass on: no hop-by-hop fields, and none that Connection names.
    :param length: bytes of the body; None if it is chunked or ends with the connection.
    :param chunked: RFC 9112 §7.1.
    :param last: whether the connection ends after this response.
    """

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    length: int | None
    chunked: bool
    last: bool

    @property
    def until_close(self) -> bool:
        """Whether the body ends with the connection (RFC 9112 §6.3, rule 8)."""
        return self.length is None and not self.chunked

    def wire(self) -> bytes:
        """The head in normalised form. A body that ends with the connection becomes chunked: see AnswerFilter."""
        lines = [b"HTTP/1.1 %d %s" % (self.status, self.reason)]
        if self.length is None:
            lines.append(b"Transfer-Encoding: chunked")
        else:
            lines.append(b"Content-Length: %d" % self.length)
        if self.last:
            lines.append(b"Connection: close")
        lines += [b"%s: %s" % field for field in self.fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"


def not_http() -> FailedAfterSending:
    """The upstream did not send an HTTP response, so the outcome of the request is unknown."""
    return FailedAfterSending("The upstream server did not send an HTTP response.")


def bare_line_feed(raw: bytes | bytearray, begin: int, end: int) -> None:
    """Refuse a head that contains a line feed without a carriage return, as soon as that line feed arrives.

    RFC 9112 §2.2 allows a recipient to accept it as a line end. This one refuses, because a value copied into a field
    unchecked looks the same: accepted as a line end, such a value adds fields or cuts the head short.

    :param raw: bytes from the start of the status line.
    :param begin: the bytes before it were searched already.
    :param end: the bytes from it on do not belong to this head.
    :raise FailedAfterSending: the status line is invalid too.
    :raise BadAnswer: the status line is valid. The error carries the status: HOSP has finished.
    """
    if _BARE_LF.search(raw, begin, end) is None:
        return
    match = _STATUS.fullmatch(bytes(raw[:end]).partition(b"\n")[0].removesuffix(b"\r"))
    if match is None:
        raise not_http()
    status = int(match[2])
    raise BadAnswer(
        "The upstream server's response has a bare line feed in its head.",
        head_status=status if status >= 200 else None,
    )


def parse_head(raw: bytes) -> ResponseHead:
    """Parse a head strictly, and find out how its body is framed.

    :param raw: status line and fields, without the empty line that ends them.
    :raise FailedAfterSending: the status line is invalid (RFC 9112 §4).
    :raise BadAnswer: the status line is valid, but the rest may not be passed on. The error carries the status.
    """
    first, *lines = raw.split(b"\r\n")
    match = _STATUS.fullmatch(first)
    if match is None:
        raise not_http()
    minor, status = int(match[1]), int(match[2])
    try:
        fields = [_field(line) for line in lines]
        _check_fields(fields)
        length, chunked = _framing(minor, status, fields)
        tokens = _tokens(fields, b"connection")
        last = b"close" in tokens or (minor == 0 and b"keep-alive" not in tokens)
        if length is None and not chunked and not last:
            # By RFC 9112 §6.3 the body would be everything until the close. A server that keeps the connection open but
            # gives no length has lost one of the two, and a patient list that is cut short must not pass.
            raise ValueError("it has neither a length nor an end")
    except ValueError as error:
        raise BadAnswer(
            f"The upstream server's response has a malformed head: {error}.", head_status=status
        ) from None
    kept = tuple(field for field in fields if field[0].lower() not in HOP_BY_HOP | tokens)
    return ResponseHead(status, match[3] or b"", kept, length, chunked, last)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    # A space before the colon, a folded line (RFC 9112 §5.1, §5.2) and a line without a colon all fail here.
    if not colon or not _NAME.fullmatch(name):
        raise ValueError("a line that is not a field")
    value = value.strip(b" \t")
    if not _VALUE.fullmatch(value):
        raise ValueError("a control character in a field")
    return name, value


def _check_fields(fields: list[tuple[bytes, bytes]]) -> None:
    seen: set[bytes] = set()
    for name in (name.lower() for name, _ in fields):
        if name in seen and name in _ONCE:
            raise ValueError(f"{name.decode()} given twice")
        seen.add(name)
    if _tokens(fields, b"content-encoding") - {b"identity"}:
        # The proxy asked for identity (RFC 9110 §12.5.3). It can neither parse nor safely cache an encoded body.
        raise ValueError("an encoded body")


def _framing(minor: int, status: int, fields: list[tuple[bytes, bytes]]) -> tuple[int | None, bool]:
    """Body length, and whether the body is chunked (RFC 9112 §6.3)."""
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    lengths = {
        part.strip(b" \t")
        for name, value in fields
        if name.lower() == b"content-length"
        for part in value.split(b",")
    }
    if any(not _LENGTH.fullmatch(length) for length in lengths) or len(lengths) > 1:
        raise ValueError("an invalid Content-Length")
    if codings and (minor == 0 or lengths or [coding.lower() for coding in codings] != [b"chunked"]):
        raise ValueError("a Transfer-Encoding that leaves the length unclear")
    if status < 200 or status in (204, 304):
        return 0, False
    if codings:
        return None, True
    return (int(lengths.pop()) if lengths else None), False


def _tokens(fields: list[tuple[bytes, bytes]], wanted: bytes) -> frozenset[bytes]:
    members = (
        part.strip(b" \t").lower()
        for name, value in fields
        if name.lower() == wanted
        for part in value.split(b",")
    )
    return frozenset(member for member in members if member)
