# ruff: noqa: E501 - a table: one case a line
"""Chunked bodies (RFC 9112 §7.1)."""

from __future__ import annotations

from hospproxy.arrival.body import MAX_CHUNK_LINE_BYTES, MAX_TRAILER_BYTES

from .case import BODY_LIMIT, case, chunked, get

_END = b"\r\nhello\r\n0\r\n\r\n"


def _size(size: bytes) -> bytes:
    """Five bytes under this size line, and the end."""
    return chunked(size + _END)


def _trailer(*lines: bytes) -> bytes:
    return chunked(b"5\r\nhello\r\n0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


_HELLO = "POST / | hello"
_LONGEST = MAX_CHUNK_LINE_BYTES - len(b"5;")

CASES = (
    case("9112 7.1", "one chunk", _size(b"5"), _HELLO),
    case("9112 7.1", "two chunks", chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), _HELLO),
    case("9112 7.1", "no chunk", chunked(b"0\r\n\r\n"), "POST / |"),
    case("9112 7.1", "a small letter", chunked(b"a\r\n0123456789\r\n0\r\n\r\n"), "POST / | 0123456789"),
    case("9112 7.1", "a capital letter", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), "POST / | 0123456789"),
    case("9112 7.1", "leading noughts", _size(b"00000005"), _HELLO),
    case("9112 7.1", "many leading noughts", _size(b"000000005"), 400),
    case("9112 7.1", "many noughts at the end", chunked(b"5\r\nhello\r\n0000\r\n\r\n"), _HELLO),
    case("9112 7.1", "chunk data with line ends", chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), "POST / | \r\n\r\n"),
    case("9112 7.1", "a chunk that looks like the end", chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), "POST / | 0\r\n\r\n"),
    case("9112 7.1", "a request behind the chunks", _size(b"5") + get(b"/2"), _HELLO, "GET /2"),
    case("9112 7.1", "two ends", _size(b"5") + b"0\r\n\r\n", _HELLO, 400),
    case("9112 7.1", "no size", _size(b""), 400),
    case("9112 7.1", "a letter too far", _size(b"g"), 400),
    case("9112 7.1", "0x", _size(b"0x5"), 400),
    case("9112 7.1", "a negative size", _size(b"-5"), 400),
    case("9112 7.1", "a plus sign", _size(b"+5"), 400),
    case("9112 7.1", "a space before", _size(b" 5"), 400),
    case("9112 7.1", "a space behind", _size(b"5 "), 400),
    case("9112 7.1", "a tab behind", _size(b"5\t"), 400),
    case("9112 7.1", "an underscore", _size(b"0_5"), 400),
    case("9112 7.1", "a comma", _size(b"5,5"), 400),
    case("9112 7.1", "digits beyond ASCII", _size("٥".encode()), 400),
    case("9112 7.1", "a NUL", _size(b"5\x00"), 400),
    case("9112 7.1", "LF behind the size", chunked(b"5\nhello\r\n0\r\n\r\n"), 400),
    case("9112 7.1", "CR behind the size", chunked(b"5\rhello\r\n0\r\n\r\n"), 400),
    case("9112 7.1", "LF behind the data", chunked(b"5\r\nhello\n0\r\n\r\n"), 400),
    case("9112 7.1", "CR behind the data", chunked(b"5\r\nhello\r0\r\n\r\n"), 400),
    case("9112 7.1", "nothing behind the data", chunked(b"5\r\nhello0\r\n\r\n"), 400),
    case("9112 7.1", "more data than its size", chunked(b"4\r\nhello\r\n0\r\n\r\n"), 400),
    case("9112 7.1", "less data than its size", chunked(b"6\r\nhello\r\n0\r\n\r\n"), 400),
    case("9112 7.1", "LF at the end", chunked(b"5\r\nhello\r\n0\n\n"), 400),
    case("9112 7.1", "LF for the last line end", chunked(b"5\r\nhello\r\n0\r\n\n"), 400),
    case("9112 7.1", "cut in the size", chunked(b"5"), 408),
    case("9112 7.1", "cut in the data", chunked(b"5\r\nhel"), 408),
    case("9112 7.1", "cut behind the data", chunked(b"5\r\nhello\r"), 408),
    case("9112 7.1", "one byte too many, then silence", chunked(b"5\r\nhellox"), 400),
    case("9112 7.1", "no last chunk", chunked(b"5\r\nhello\r\n"), 408),
    case("9112 7.1", "cut in the last chunk", chunked(b"5\r\nhello\r\n0\r\n"), 408),
    case("9112 7.1", "nine digits", _size(b"100000005"), 400),
    case("9112 7.1", "sixteen digits", _size(b"f" * 16), 400),
    case("9112 7.1", "seventeen digits", _size(b"1" + b"0" * 15 + b"5"), 400),
    case("9112 7.1", "the largest size", _size(b"ffffffff"), 413),
    case("9112 7.1", "a size beyond the limit", _size(b"%x" % (BODY_LIMIT + 1)), 413),
    case("9112 7.1", "chunks beyond the limit", chunked(b"8000\r\n" + b"a" * 0x8000 + b"\r\n8001\r\n"), 413),
    case("9112 7.1", "as much as may be", chunked(b"10000\r\n" + b"a" * 0x10000 + b"\r\n0\r\n\r\n"), "POST / | " + "a" * 0x10000),
    case("9112 7.1", "a flood of tiny chunks", chunked(b"1\r\na\r\n" * 25000), 400),
    case("9112 7.1", "a size without end", chunked(b"0" * 1000), 400),
    case("9112 7.1.1", "an extension", _size(b"5;a"), _HELLO),
    case("9112 7.1.1", "an extension with a value", _size(b"5;a=b"), _HELLO),
    case("9112 7.1.1", "two extensions", _size(b"5;a=b;c"), _HELLO),
    case("9112 7.1.1", "a quoted value", _size(b'5;a="b;c \\" d"'), _HELLO),
    case("9112 7.1.1", "white space", _size(b"5 ; a = b"), _HELLO),
    case("9112 7.1.1", "an extension of the last chunk", chunked(b"5\r\nhello\r\n0;a=b\r\n\r\n"), _HELLO),
    case("9112 7.1.1", "no name", _size(b"5;"), 400),
    case("9112 7.1.1", "two semicolons", _size(b"5;;a"), 400),
    case("9112 7.1.1", "a semicolon last", _size(b"5;a;"), 400),
    case("9112 7.1.1", "no value", _size(b"5;a="), 400),
    case("9112 7.1.1", "a value alone", _size(b"5;=b"), 400),
    case("9112 7.1.1", "an open quote", _size(b'5;a="b'), 400),
    case("9112 7.1.1", "a quote that is closed on the next line", chunked(b'5;a="b\r\n"\r\nhello\r\n0\r\n\r\n'), 400),
    case("9112 7.1.1", "a NUL", _size(b"5;a=\x00"), 400),
    case("9112 7.1.1", "a NUL in quotes", _size(b'5;a="\x00"'), 400),
    case("9112 7.1.1", "LF in an extension", chunked(b"5;a\nhello\r\n0\r\n\r\n"), 400),
    case("9112 7.1.1", "CR in an extension", _size(b"5;a\rb"), 400),
    case("9112 7.1.1", "space behind an extension", _size(b"5;a "), 400),
    case("9112 7.1.1", "the longest extension", _size(b"5;" + b"a" * _LONGEST), _HELLO),
    case("9112 7.1.1", "an extension too long", _size(b"5;" + b"a" * (_LONGEST + 1)), 400),
    case("9112 7.1.1", "an extension without end", chunked(b"5;" + b"a" * 100000), 400),
    case("9112 7.1.1", "long extensions on tiny chunks", chunked((b"1;" + b"a" * 200 + b"\r\na\r\n") * 400), 400),
    case("9112 7.1.2", "a trailer", _trailer(b"X: y"), _HELLO, without=(b"x",)),
    case("9112 7.1.2", "a length in the trailer", _trailer(b"Content-Length: 50"), _HELLO, without=(b"content-length",)),
    case("9112 7.1.2", "a Host in the trailer", _trailer(b"Host: b"), _HELLO, host="a"),
    case("9112 7.1.2", "credentials in the trailer", _trailer(b"Authorization: Basic YTpi"), _HELLO, without=(b"authorization",)),
    case("9112 7.1.2", "no colon in the trailer", _trailer(b"nonsense"), 400),
    case("9112 7.1.2", "no name in the trailer", _trailer(b": y"), 400),
    case("9112 7.1.2", "a space before the trailer's colon", _trailer(b"X : y"), 400),
    case("9112 7.1.2", "a folded trailer", _trailer(b"X: y", b" z"), 400),
    case("9112 7.1.2", "a NUL in the trailer", _trailer(b"X: \x00"), 400),
    case("9112 7.1.2", "a CR in the trailer", _trailer(b"X: y\rz"), 400),
    case("9112 7.1.2", "LF in the trailer", chunked(b"0\r\nX: y\n\r\n"), 400),
    case("9112 7.1.2", "a request in the trailer", _trailer(b"GET / HTTP/1.1"), 400),
    case("9112 7.1.2", "a trailer too large", _trailer(*500 * (b"X: " + b"y" * 40,)), 431),
    case("9112 7.1.2", "a trailer line without end", chunked(b"0\r\nX: " + b"y" * MAX_TRAILER_BYTES), 400),
)  # fmt: skip
