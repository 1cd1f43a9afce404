# ruff: noqa: E501 - a table: one case a line
"""Header fields: syntax (RFC 9112 §5, RFC 9110 §5) and number."""

from __future__ import annotations

from .case import LIMITS, case, get, raw

_SPARE = LIMITS.max_head_bytes - len(get(b"/", b"X: "))
_MANY = tuple(b"X%d: y" % number for number in range(LIMITS.max_fields - 1))

CASES = (
    case("9112 5", "no colon", get(b"/", b"nonsense"), 400),
    case("9112 5", "no name", get(b"/", b": y"), 400),
    case("9112 5", "a colon alone", get(b"/", b":"), 400),
    case("9112 5.1", "a space before the colon", get(b"/", b"X : y"), 400),
    case("9112 5.1", "a tab before the colon", get(b"/", b"X\t: y"), 400),
    case("9112 5.1", "a space in the name", get(b"/", b"X Y: z"), 400),
    case("9112 5.1", "no space after the colon", get(b"/", b"X:y"), "GET /", having=((b"x", b"y"),)),
    case("9112 5.1", "white space around the value", get(b"/", b"X: \t y \t "), "GET /", having=((b"x", b"y"),)),
    case("9112 5.1", "white space inside the value", get(b"/", b"X: a \t b"), "GET /", having=((b"x", b"a \t b"),)),
    case("9112 5.1", "no value", get(b"/", b"X:"), "GET /", having=((b"x", b""),)),
    case("9112 5.1", "a value of white space", get(b"/", b"X: \t "), "GET /", having=((b"x", b""),)),
    case("9112 5.2", "folded by a space", get(b"/", b"X: a", b" b"), 400),
    case("9112 5.2", "folded by a tab", get(b"/", b"X: a", b"\tb"), 400),
    case("9112 5.2", "folded into nothing", get(b"/", b"X: a", b" "), 400),
    case("9112 5.2", "a folded Transfer-Encoding", get(b"/", b"Transfer-Encoding:", b" chunked"), 400),
    case("9110 5.1", "a bracket in the name", get(b"/", b"X(Y: z"), 400),
    case("9110 5.1", "a quote in the name", get(b"/", b'X"Y: z'), 400),
    case("9110 5.1", "a NUL in the name", get(b"/", b"X\x00Y: z"), 400),
    case("9110 5.1", "a name beyond ASCII", get(b"/", b"X\xc3\xa4: z"), 400),
    case("9110 5.1", "every character a name may hold", get(b"/", b"!#$%&'*+-.^_`|~0aZ: y"), "GET /"),
    case("9110 5.5", "a NUL in the value", get(b"/", b"X: a\x00b"), 400),
    case("9110 5.5", "a bell in the value", get(b"/", b"X: a\x07b"), 400),
    case("9110 5.5", "an escape in the value", get(b"/", b"X: a\x1bb"), 400),
    case("9110 5.5", "a vertical tab in the value", get(b"/", b"X: a\x0bb"), 400),
    case("9110 5.5", "a DEL in the value", get(b"/", b"X: a\x7fb"), 400),
    case("9110 5.5", "a value beyond ASCII", get(b"/", b"X: \xc3\xa4"), "GET /", having=((b"x", b"\xc3\xa4"),)),
    case("9110 5.3", "two Authorizations", get(b"/", b"Authorization: Basic YTpi", b"Authorization: Basic Yzpk"), 400),
    case("9110 5.3", "two equal Authorizations", get(b"/", *2 * (b"Authorization: Basic YTpi",)), 400),
    case("9110 5.3", "two Content-Types", get(b"/", b"Content-Type: text/html", b"Content-Type: a/b"), 400),
    case("9110 5.3", "two User-Agents", get(b"/", b"User-Agent: a", b"User-Agent: b"), 400),
    case("9110 5.3", "two Ranges", get(b"/", b"Range: bytes=0-1", b"Range: bytes=2-3"), 400),
    case("9110 5.3", "two Accepts", get(b"/", b"Accept: a/b", b"Accept: c/d"), "GET /"),
    case("9110 5.3", "two Cookies", get(b"/", b"Cookie: a=b", b"Cookie: c=d"), "GET /"),
    case("9110 5.3", "two X-Request-Ids", get(b"/", b"X-Request-Id: a", b"X-Request-Id: b"), "GET /"),
    case("9110 5.4", "as many fields as may be", get(b"/", *_MANY), "GET /"),
    case("9110 5.4", "one field too many", get(b"/", *_MANY, b"X: y"), 431),
    case("9110 5.4", "a thousand fields", get(b"/", *1000 * (b"X: y",)), 431),
    case("9110 5.4", "the largest head", get(b"/", b"X: " + b"y" * _SPARE), "GET /"),
    case("9110 5.4", "a head one byte too large", get(b"/", b"X: " + b"y" * (_SPARE + 1)), 431),
    case("9110 5.4", "a head much too large", get(b"/", b"X: " + b"y" * 70000), 431),
    case("9110 5.4", "a field without end", get()[:-2] + b"X: " + b"y" * 20000, 431),
    case("9110 5.4", "a name without end", get()[:-2] + b"y" * 20000, 431),
    case("9110 5.4", "fields without end", get()[:-2] + b"X: y\r\n" * 4000, 431),
    case("9110 5.4", "LF in a head too large", get(b"/", b"X: y\nZ: " + b"y" * 20000), 400),
    case("9110 5.4", "a value of spaces only", get(b"/", b"X:" + b" " * (_SPARE + 1)), "GET /"),
    case("9110 5.4", "a value of tabs and one letter", get(b"/", b"X: " + b"\t" * (_SPARE - 1) + b"y"), "GET /"),
    case("9110 5.4", "a Host of spaces", get(host=b" " * (_SPARE + 3) + b"a"), "GET /", host="a"),
    case("9110 5.4", "commas only", get(b"/", b"Connection: " + b"," * 16000), "GET /"),
    case("9110 7.6.1", "a field that Connection names", get(b"/", b"Connection: x-y", b"X-Y: z"), "GET /", without=(b"x-y",)),
    case(
        "9110 7.6.1", "Connection names in capitals, twice",
        get(b"/", b"Connection: X-Y", b"x-y: z", b"Connection: , ,x-z", b"X-Z: z"), "GET /", without=(b"x-y", b"x-z"),
    ),
    case(
        "9110 7.6.1", "fields that end here",
        get(b"/", b"Keep-Alive: 5", b"Proxy-Connection: close", b"TE: trailers", b"Trailer: X", b"Upgrade: h2c"),
        "GET /", without=(b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"connection"),
    ),
    case(
        "9110 11.7", "credentials for a proxy", get(b"/", b"Proxy-Authorization: Basic YTpi"), "GET /",
        without=(b"proxy-authorization",),
    ),
    case(
        "7239 8", "what only proxies may say",
        get(b"/", b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: http", b"X-Real-Ip: 192.0.2.1", b"Forwarded: for=b"),
        "GET /", without=(b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"forwarded"),
    ),
    case("9112 5", "the request line again", raw(b"GET / HTTP/1.1", b"Host: a", b"GET /2 HTTP/1.1"), 400),
)  # fmt: skip
