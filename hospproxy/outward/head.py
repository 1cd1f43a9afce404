"""Strict parsing of a response's head: which fields may be passed on, and where the body ends.

HTTP clients accept bare line feeds, folded lines, and any version and status, and believe Transfer-Encoding over
Content-Length. A response that can be read in two ways is refused here instead.
"""

from __future__ import annotations

import re

from attrs import frozen

from ..http.errors import BadAnswer, FailedAfterSending

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_LINE = re.compile(rb"([^:]++):([^\r]*+)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")

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

_NONE: frozenset[bytes] = frozenset()
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


def not_http() -> FailedAfterSending:
    """The upstream did not send an HTTP response, so the outcome of the request is unknown."""
    return FailedAfterSending("The upstream server did not send an HTTP response.")


def incomplete(head_status: int | None) -> FailedAfterSending:
    """The connection ended, or the framing broke, before the response was complete.

    :param head_status: status of a complete head; None without one.
    """
    return FailedAfterSending(
        "The connection to the upstream server broke before its response was complete.",
        head_status=head_status,
    )


def too_large(status: int) -> BadAnswer:
    """The error for a body that is longer than the limit."""
    return BadAnswer("The upstream server's response is too large.", head_status=status)


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
    if raw.count(b"\n", begin, end) == raw.count(b"\r\n", max(0, begin - 1), end):
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
    first, _, rest = raw.partition(b"\r\n")
    match = _STATUS.fullmatch(first)
    if match is None:
        raise not_http()
    minor, status = int(match[1]), int(match[2])
    try:
        fields = _fields(rest, ended=len(first) < len(raw))
        names = [name.lower() for name, _ in fields]
        _check_fields(fields, names)
        length, chunked = _framing(minor, status, fields, names)
        tokens = _tokens(fields, names, b"connection") if b"connection" in names else _NONE
        last = b"close" in tokens or (minor == 0 and b"keep-alive" not in tokens)
        if length is None and not chunked and not last:
            # By RFC 9112 §6.3 the body would be everything until the close. A server that keeps the connection open but
            # gives no length has lost one of the two, and a patient list that is cut short must not pass.
            raise ValueError("it has neither a length nor an end")
    except ValueError as error:
        raise BadAnswer(
            f"The upstream server's response has a malformed head: {error}.", head_status=status
        ) from None
    dropped = HOP_BY_HOP | tokens if tokens else HOP_BY_HOP
    kept = tuple([field for field, name in zip(fields, names, strict=True) if name not in dropped])
    return ResponseHead(status, match[3] or b"", kept, length, chunked, last)


def _fields(rest: bytes, *, ended: bool) -> list[tuple[bytes, bytes]]:
    """Split the field lines into names and values.

    :param ended: whether the status line has a line end, so that there is at least one line.
    """
    if not ended:
        return []
    lines = rest + b"\r\n"
    if _LINES.fullmatch(lines) is None:
        wrong = next(line for line in rest.split(b"\r\n") if _LINES.fullmatch(line + b"\r\n") is None)
        # A space before the colon, a folded line (RFC 9112 §5.1, §5.2) and a line without a colon are no fields.
        name, colon, _ = wrong.partition(b":")
        is_field = colon and _NAME.fullmatch(name)
        raise ValueError("a control character in a field" if is_field else "a line that is not a field")
    return [(name, value.strip(b" \t")) for name, value in _LINE.findall(lines)]


def _check_fields(fields: list[tuple[bytes, bytes]], names: list[bytes]) -> None:
    if len(set(names)) < len(names):
        for name in _ONCE:
            if names.count(name) > 1:
                raise ValueError(f"{name.decode()} given twice")
    if b"content-encoding" in names and _tokens(fields, names, b"content-encoding") - {b"identity"}:
        # The proxy asked for identity (RFC 9110 §12.5.3). It can neither parse nor safely cache an encoded body.
        raise ValueError("an encoded body")


def _framing(
    minor: int, status: int, fields: list[tuple[bytes, bytes]], names: list[bytes]
) -> tuple[int | None, bool]:
    """Body length, and whether the body is chunked (RFC 9112 §6.3)."""
    codings = _values(fields, names, b"transfer-encoding")
    said = _values(fields, names, b"content-length")
    lengths = {part.strip(b" \t") for value in said for part in value.split(b",")}
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise ValueError("an invalid Content-Length")
    if codings and (minor == 0 or lengths or [coding.lower() for coding in codings] != [b"chunked"]):
        raise ValueError("a Transfer-Encoding that leaves the length unclear")
    if status < 200 or status in (204, 304):
        return 0, False
    if codings:
        return None, True
    return (int(lengths.pop()) if lengths else None), False


def _values(fields: list[tuple[bytes, bytes]], names: list[bytes], wanted: bytes) -> list[bytes]:
    if wanted not in names:
        return []
    return [value for (_, value), name in zip(fields, names, strict=True) if name == wanted]


def _tokens(fields: list[tuple[bytes, bytes]], names: list[bytes], wanted: bytes) -> frozenset[bytes]:
    values = _values(fields, names, wanted)
    if not values:
        return _NONE
    members = (part.strip(b" \t").lower() for value in values for part in value.split(b","))
    return frozenset(member for member in members if member)
