"""Parse a request head: bytes in, a ``RequestHead`` or a refusal out.

Our own rules (``line.py``) read the request line, and llhttp (httptools) must agree with them. llhttp tokenises the
fields; then the rules of ``fields.py`` apply. No I/O, and no state beyond one head.
"""

from __future__ import annotations

import re
from typing import Final

import httptools
from attrs import frozen

from ..http.errors import Refused
from ..http.messages import Headers
from ..options.arrival_section import ArrivalSettings
from .authority import parse_authority
from .fields import Framing, combine, end_to_end, read_framing
from .line import HeadRefused, RequestLine, longest_line, parse_line, refuse_long_line

_TOKEN_START: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")
_PLAIN_LINE: Final = re.compile(rb"GET /[A-Za-z0-9/._~?=&-]*+ HTTP/1\.1\r\n")
_BASIC: Final = re.compile(rb"\r\n[Aa]uthorization: (Basic [A-Za-z0-9+/=_-]+)\r\n")
_SECRET: Final = re.compile(rb"(?i)authorization|cookie")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_EMPTY_LINES: Final = 2
_MOST_REMEMBERED: Final = 2048
"""Most bytes of header fields to remember: an idle connection keeps them, and the memory budget does not count them."""
_MOST_FIELDS: Final = 32


@frozen(slots=True)
class RequestHead:
    """A head that can be read in one way only.

    :param line: method, target and version.
    :param fields: every field as received, names lower-cased; used to decide which proxies to believe.
    :param headers: the fields that are forwarded.
    :param host: the authority, lower-cased; "" if an HTTP/1.0 client sent none.
    :param framing: where the body ends, and whether the connection stays open.
    """

    line: RequestLine
    fields: Headers
    headers: Headers
    host: str
    framing: Framing


_Pairs = tuple[tuple[bytes, bytes], ...]


@frozen(slots=True)
class _Around:
    """Fields before and after the credentials."""

    before: _Pairs
    after: _Pairs

    @classmethod
    def of(cls, fields: Headers) -> _Around | None:
        names = [name for name, _ in fields.pairs]
        if names.count(b"authorization") != 1:
            return None
        place = names.index(b"authorization")
        return cls(fields.pairs[:place], fields.pairs[place + 1 :])

    def having(self, credentials: bytes) -> Headers:
        return Headers((*self.before, (b"authorization", credentials), *self.after))


@frozen(slots=True)
class _Known:
    """What the fields of a head mean, without its line and its credentials."""

    fields: _Around
    headers: _Around
    host: str
    framing: Framing

    @classmethod
    def of(cls, head: RequestHead) -> _Known | None:
        fields, headers = _Around.of(head.fields), _Around.of(head.headers)
        if fields is None or headers is None:
            return None
        return cls(fields, headers, head.host, head.framing)


class HeadReader:
    """Parses the heads of one connection, and remembers the last fields: most clients send the same ones each time.

    Only the line of a GET may differ, in characters that nobody reads in two ways, and Basic credentials. The line is
    parsed each time. Credentials and cookies are not remembered: the connection may stay open long after its request.
    """

    __slots__ = ("_after", "_before", "_known", "_limits")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._known: _Known | None = None
        self._limits: ArrivalSettings | None = None  # by which the head was judged: a reload changes them

    def read(self, data: bytes, limits: ArrivalSettings) -> RequestHead:
        """Parse and check a complete request head; the result is that of ``parse_head``."""
        plain = _PLAIN_LINE.match(data)
        basic = None if plain is None else _BASIC.search(data, plain.end() - 2)
        if plain is None or basic is None:
            return parse_head(data, limits)
        before, after = data[plain.end() : basic.start(1)], data[basic.end(1) :]
        known = self._known
        if known is not None and before == self._before and after == self._after and limits is self._limits:
            line, credentials = check_line(data, limits), basic[1]
            assert line is not None
            fields, headers = known.fields.having(credentials), known.headers.having(credentials)
            return RequestHead(line, fields, headers, known.host, known.framing)
        head = parse_head(data, limits)
        short = len(before) + len(after) <= _MOST_REMEMBERED and len(head.fields.pairs) <= _MOST_FIELDS
        if short and len(_SECRET.findall(before)) == 1 and _SECRET.search(after) is None:
            self._before, self._after, self._known = before, after, _Known.of(head)
            self._limits = limits
        return head


class _Tokens:
    """Collects what llhttp calls back with."""

    __slots__ = ("pairs", "target")

    def __init__(self) -> None:
        self.target = b""
        self.pairs: list[tuple[bytes, bytes]] = []

    def on_url(self, piece: bytes) -> None:
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp keeps the white space after a value (RFC 9112 §5.1).
        self.pairs.append((name.lower(), value.strip(b" \t")))


def parse_head(data: bytes, limits: ArrivalSettings) -> RequestHead:
    """Parse and check a complete request head; the first refusal ends it.

    :param data: from the first byte of the request line to the empty line and its CRLF.
    :raise HeadRefused: 400, 414, 417, 431, 501, 505; its ``known`` is the request line, if that was valid.
    """
    line = check_line(data, limits)
    if line is None:
        raise HeadRefused("The request head is incomplete.")
    try:
        return _parse_fields(line, data, limits)
    except HeadRefused as error:
        error.known = line
        raise
    except Refused as error:
        refused = HeadRefused(error.detail, status=error.status, field=error.field)
        refused.known = line
        raise refused from None


def _parse_fields(line: RequestLine, data: bytes, limits: ArrivalSettings) -> RequestHead:
    pairs = _tokenise(line, data)
    if len(pairs) > limits.max_fields:
        raise HeadRefused("The request has too many header fields.", status=431, limit="max_fields")
    fields = combine(pairs)
    return RequestHead(
        line=line,
        fields=Headers(tuple(pairs)),
        headers=end_to_end(pairs, fields.get(b"connection", b"")),
        host=_read_host(line, fields.get(b"host")),
        framing=read_framing(fields, line.version),
    )


def _tokenise(line: RequestLine, data: bytes) -> list[tuple[bytes, bytes]]:
    """Let llhttp split the fields. Each head gets a new parser: one that met an error or an Upgrade cannot be reused.

    :raise HeadRefused: 400, llhttp found an error, or read the request line differently than we did.
    """
    tokens = _Tokens()
    parser = httptools.HttpRequestParser(tokens)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # RFC 9110 §7.8: a server may ignore Upgrade, and this one does.
    except httptools.HttpParserError:
        raise HeadRefused("The header section is malformed.") from None
    whole_line = b"%s %s HTTP/%s\r\n" % (
        parser.get_method(),
        tokens.target,
        parser.get_http_version().encode(),
    )
    if not data.startswith(whole_line) or parser.get_method() != line.method:
        raise HeadRefused("The request line is malformed.")
    return tokens.pairs


def _read_host(line: RequestLine, host: bytes | None) -> str:
    """Return the host: exactly one Host, equal to the authority of an absolute-form target (RFC 9112 §3.2)."""
    if host is None:
        if line.version == (1, 1):
            raise HeadRefused("Host is missing.", field="Host")
        return "" if line.authority is None else parse_authority(line.authority)
    authority = parse_authority(host)
    if line.authority is not None and parse_authority(line.authority) != authority:
        raise HeadRefused("Host and the request target name different hosts.", field="Host")
    return authority


def check_line(data: bytes | bytearray, limits: ArrivalSettings) -> RequestLine | None:
    """Judge the request line as soon as it is complete, or known to be too long.

    :param data: the beginning of a request.
    :return: None if more bytes are needed.
    :raise HeadRefused: as ``parse_line``.
    """
    longest = longest_line(limits.max_target_bytes, limits.max_head_bytes)
    end = data.find(b"\n", 0, longest)
    if end < 0:
        if len(data) >= longest:
            raise refuse_long_line(bytes(data[:longest]))
        return None
    if data[end - 1 : end] != b"\r":
        raise HeadRefused("A line ends without a carriage return.")
    return parse_line(bytes(data[: end - 1]), limits.max_target_bytes)


class HeadFinder:
    """Finds the end of a head in the bytes received so far, and refuses as soon as no valid head is possible.

    The result does not depend on how the bytes are split into reads: each rule looks at a position, not at a time.

    :param limits: maximum lengths of the request line and of the head.
    """

    __slots__ = ("_empty_lines", "_limits", "_line", "_scanned")

    def __init__(self, limits: ArrivalSettings) -> None:
        self._limits = limits
        self._line: RequestLine | None = None
        self._scanned = 0
        self._empty_lines = 0

    def is_whole(self, data: bytes) -> bool:
        """Whether these bytes, the first after a request, are one complete head, perhaps after an empty line."""
        end = len(data) - 4
        return (
            0 <= end <= self._limits.max_head_bytes - 4
            and data.find(b"\r\n\r\n") == end
            and not self._empty_lines
        )

    def take(self, buffer: bytearray) -> bytes | None:
        """Remove the head from the front of the buffer; return None if it is not complete.

        Up to two empty lines before it are dropped (RFC 9112 §2.2 asks for at least one).

        :raise HeadRefused: 400 not HTTP, 431 too long, or as ``parse_line``.
        """
        while self._empty_lines < _EMPTY_LINES and buffer.startswith(b"\r\n"):
            del buffer[:2]
            self._empty_lines += 1
        if not buffer:
            return None
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if 0 <= end <= self._limits.max_head_bytes - 4:
            head = bytes(buffer[: end + 4])
            del buffer[: end + 4]
            self._scanned = self._empty_lines = 0
            self._line = None
            return head
        self._judge_part(buffer)
        return None

    def _judge_part(self, buffer: bytearray) -> None:
        """Refuse an incomplete head if no further bytes could make it valid."""
        most = self._limits.max_head_bytes
        if _TOKEN_START.match(buffer) is None:
            if buffer == b"\r" and self._empty_lines < _EMPTY_LINES:
                return
            raise HeadRefused("This is not the beginning of an HTTP request.")
        if self._line is None:
            self._line = check_line(buffer, self._limits)
        if _BARE_LF.search(buffer, self._scanned, most):
            error = HeadRefused("A line ends without a carriage return.")
        elif len(buffer) >= most:
            error = HeadRefused("The request's head is too large.", status=431, limit="max_head_bytes")
        else:
            self._scanned = len(buffer)
            return
        error.known = self._line or RequestLine()
        raise error
