# ruff: noqa: E501 - a table: one case a line
"""Where a body ends (RFC 9112 §6), and what the client expects (RFC 9110 §10.1.1)."""

from __future__ import annotations

from .case import BODY_LIMIT, case, get, post, request

_FIVE = b"Content-Length: 5"
_CHUNKED = b"Transfer-Encoding: chunked"
_WHOLE = b"5\r\nhello\r\n0\r\n\r\n"


def _length(value: bytes, body: bytes = b"hello") -> bytes:
    return post(body, b"Content-Length: " + value)


def _coding(value: bytes, body: bytes = _WHOLE) -> bytes:
    return post(body, b"Transfer-Encoding: " + value)


CASES = (
    case("9112 6.2", "a body", _length(b"5"), "POST / | hello"),
    case("9112 6.2", "an empty body", _length(b"0", b""), "POST / |"),
    case("9112 6.3", "no body", post(b""), "POST /"),
    case("9112 6.2", "a body on GET", request(b"GET", b"/", _FIVE) + b"hello", "GET / | hello"),
    case("9112 6.2", "a length on GET without a body", get(b"/", b"Content-Length: 0"), "GET / |"),
    case("9112 6.2", "a body on HEAD", request(b"HEAD", b"/", _FIVE) + b"hello", "HEAD / | hello"),
    case("9112 6.2", "a body on DELETE", request(b"DELETE", b"/", _FIVE) + b"hello", "DELETE / | hello"),
    case("9112 6.2", "a body on OPTIONS", request(b"OPTIONS", b"*", _FIVE) + b"hello", "OPTIONS * | hello"),
    case("9112 6.2", "a body longer than the request in it", post(get(b"/no"), b"Content-Length: 32"), 408),
    case("9112 6.2", "HTTP/1.0 with a body", post(b"hello", _FIVE, version=b"1.0"), "POST / | hello"),
    case("9112 6.2", "white space around the length", _length(b" \t5\t "), "POST / | hello"),
    case("9112 6.2", "leading noughts", _length(b"0005"), "POST / | hello"),
    case("9110 8.6", "a negative length", _length(b"-5"), 400),
    case("9110 8.6", "a plus sign", _length(b"+5"), 400),
    case("9110 8.6", "a fraction", _length(b"5.0"), 400),
    case("9110 8.6", "an exponent", _length(b"1e3"), 400),
    case("9110 8.6", "hexadecimal", _length(b"0x5"), 400),
    case("9110 8.6", "an underscore in it", _length(b"1_0"), 400),
    case("9110 8.6", "two numbers", _length(b"5 5"), 400),
    case("9110 8.6", "a list of equals", _length(b"5, 5"), 400),
    case("9110 8.6", "a list", _length(b"5,6"), 400),
    case("9110 8.6", "a parameter", _length(b"5;"), 400),
    case("9110 8.6", "no number", _length(b""), 400),
    case("9110 8.6", "a word", _length(b"five"), 400),
    case("9110 8.6", "quotes", _length(b'"5"'), 400),
    case("9110 8.6", "digits beyond ASCII", _length("٥".encode()), 400),
    case("9110 8.6", "superscript digits", _length(b"\xb2"), 400),
    case("9110 8.6", "two equal lengths", post(b"hello", _FIVE, _FIVE), 400),
    case("9110 8.6", "two lengths", post(b"hello", _FIVE, b"Content-Length: 6"), 400),
    case("9110 8.6", "18 digits", _length(b"9" * 18), 413),
    case("9110 8.6", "19 digits", _length(b"1" + b"0" * 18), 400),
    case("9110 8.6", "2^64", _length(b"18446744073709551616"), 400),
    case("9110 8.6", "2^64 + 5", _length(b"18446744073709551621"), 400),
    case("9110 8.6", "2^32 + 5", _length(b"4294967301"), 413),
    case("9110 8.6", "a thousand digits", _length(b"1" * 1000), 400),
    case("9110 15.5.14", "the largest body", _length(b"%d" % BODY_LIMIT, b"a" * BODY_LIMIT), "POST / | " + "a" * BODY_LIMIT),
    case("9110 15.5.14", "one byte too many", _length(b"%d" % (BODY_LIMIT + 1), b"a" * (BODY_LIMIT + 1)), 413),
    case("9112 8", "a body cut short", _length(b"6"), 408),
    case("9112 8", "a body that never comes", _length(b"5", b""), 408),
    case("9112 6.2", "more than was announced", _length(b"4"), "POST / | hell", 408),
    case("9112 6.2", "a request hidden behind a body", _length(b"5") + get(b"/2"), "POST / | hello", "GET /2"),
    case("9112 6.3", "a body without a length", post(b"hello"), "POST /", 408),
    case("9112 6.3", "a body without a length, of lines", post(b"a=b\r\n"), "POST /", 400),
    case("9112 6.1", "chunks", _coding(b"chunked"), "POST / | hello"),
    case("9112 6.1", "chunks on GET", request(b"GET", b"/", _CHUNKED) + _WHOLE, "GET / | hello"),
    case("9112 6.1", "chunked in capitals", _coding(b"ChunKed"), "POST / | hello"),
    case("9112 6.1", "white space around chunked", _coding(b"\t chunked  "), "POST / | hello"),
    # A tab there is allowed by the grammar, but llhttp will have none of it, and no client sends it.
    case("9112 6.1", "a tab behind chunked", _coding(b"chunked\t"), 400),
    case("9112 6.1", "a length and chunks", post(_WHOLE, _FIVE, _CHUNKED), 400),
    case("9112 6.1", "chunks and a length", post(_WHOLE, _CHUNKED, _FIVE), 400),
    case("9112 6.1", "length 0 and chunks", post(_WHOLE, b"Content-Length: 0", _CHUNKED), 400),
    case("9112 6.1", "HTTP/1.0 with chunks", post(_WHOLE, _CHUNKED, version=b"1.0"), 400),
    case("9112 6.1", "HTTP/1.0 with both", post(_WHOLE, _FIVE, _CHUNKED, version=b"1.0"), 400),
    case("9112 6.1", "chunked twice in one", _coding(b"chunked, chunked"), 400),
    case("9112 6.1", "chunked on two lines", post(_WHOLE, _CHUNKED, _CHUNKED), 400),
    case("9112 6.1", "codings on two lines", post(_WHOLE, b"Transfer-Encoding: gzip", _CHUNKED), 400),
    case("9112 6.1", "gzip, chunked", _coding(b"gzip, chunked"), 501),
    case("9112 6.3", "chunked, gzip", _coding(b"chunked, gzip"), 400),
    case("9112 6.3", "chunked, identity", _coding(b"chunked, identity"), 400),
    case("9112 6.3", "gzip", _coding(b"gzip"), 400),
    case("9112 6.3", "identity", _coding(b"identity", b""), 400),
    case("9112 6.3", "an empty coding", _coding(b""), 400),
    case("9112 6.3", "a comma first", _coding(b", chunked"), 400),
    case("9112 6.3", "a comma last", _coding(b"chunked,"), 400),
    case("9112 7", "a parameter", _coding(b"chunked;q=1"), 400),
    case("9112 7", "quotes", _coding(b'"chunked"'), 400),
    case("9112 7", "xchunked", _coding(b"xchunked"), 400),
    case("9112 7", "chunkedx", _coding(b"chunkedx"), 400),
    case("9112 7", "chunked and a word", _coding(b"chunked x"), 400),
    case("9112 7", "a vertical tab before", _coding(b"\x0bchunked"), 400),
    case("9112 7", "a vertical tab behind", _coding(b"chunked\x0b"), 400),
    case("9112 7", "a NUL behind", _coding(b"chunked\x00"), 400),
    case("9112 7", "a no-break space before", _coding(b"\xa0chunked"), 400),
    case("9112 5.1", "a space before the colon of Transfer-Encoding", post(_WHOLE, b"Transfer-Encoding : chunked"), 400),
    case("9112 5.1", "another name", post(_WHOLE, b"Transfer_Encoding: chunked"), "POST /", 400),
    case("9112 5.1", "another name for the length", post(b"", b"Content_Length: 5") + get(b"/2"), "POST /", "GET /2"),
    case("9110 10.1.1", "Expect", post(b"hello", _FIVE, b"Expect: 100-continue"), "POST / | hello"),
    case("9110 10.1.1", "Expect in capitals", post(b"hello", _FIVE, b"Expect: 100-Continue"), "POST / | hello"),
    case("9110 10.1.1", "Expect and chunks", post(_WHOLE, _CHUNKED, b"Expect: 100-continue"), "POST / | hello"),
    case("9110 10.1.1", "Expect and no body", get(b"/", b"Expect: 100-continue"), "GET /", without=(b"expect",)),
    case("9110 10.1.1", "Expect and an empty body", post(b"", b"Content-Length: 0", b"Expect: 100-continue"), "POST / |"),
    case("9110 10.1.1", "Expect and a body too large", post(b"", b"Content-Length: 99999999", b"Expect: 100-continue"), 413),
    case("9110 10.1.1", "another expectation", post(b"hello", _FIVE, b"Expect: tea"), 417),
    case("9110 10.1.1", "an empty expectation", post(b"hello", _FIVE, b"Expect:"), 417),
    case("9110 10.1.1", "more than one", post(b"hello", _FIVE, b"Expect: 100-continue, tea"), 417),
    case("9110 10.1.1", "twice", post(b"hello", _FIVE, *2 * (b"Expect: 100-continue",)), 400),
    case("9110 10.1.1", "HTTP/1.0", post(b"hello", _FIVE, b"Expect: 100-continue", version=b"1.0"), "POST / | hello"),
    case("9110 10.1.1", "HTTP/1.0, another one", post(b"hello", _FIVE, b"Expect: tea", version=b"1.0"), "POST / | hello"),
)  # fmt: skip
