# ruff: noqa: E501 - a table: one case a line
"""Connections: what follows on one (RFC 9112 §9), Upgrade (RFC 9110 §7.8), smuggling (RFC 9112 §11.2)."""

from __future__ import annotations

from .case import case, chunked, get, post, raw, request

_CLOSE = b"Connection: close"
_KEEP = b"Connection: keep-alive"

CASES = (
    case("9112 9.3", "two requests", get(b"/1") + get(b"/2"), "GET /1", "GET /2"),
    case("9112 9.3", "close", get(b"/1", _CLOSE) + get(b"/2"), "GET /1"),
    case("9112 9.3", "close in capitals", get(b"/1", b"Connection: CLOSE") + get(b"/2"), "GET /1"),
    case("9112 9.3", "close among others", get(b"/1", b"Connection: x, close ,y") + get(b"/2"), "GET /1"),
    case("9112 9.3", "close on a second line", get(b"/1", b"Connection: x", _CLOSE) + get(b"/2"), "GET /1"),
    case("9112 9.3", "keep-alive and close", get(b"/1", b"Connection: keep-alive, close") + get(b"/2"), "GET /1"),
    case("9112 9.3", "close with a body", post(b"hello", b"Content-Length: 5", _CLOSE) + get(b"/2"), "POST / | hello"),
    case("9112 9.3", "close with chunks", chunked(b"0\r\n\r\n", _CLOSE) + get(b"/2"), "POST / |"),
    case("9112 9.3", "close and then no HTTP", get(b"/1", _CLOSE) + b"\x00\x00", "GET /1"),
    case("9112 9.3", "closed is not close", get(b"/1", b"Connection: closed") + get(b"/2"), "GET /1", "GET /2"),
    case("9112 9.3", "HTTP/1.0", get(b"/1", version=b"1.0") + get(b"/2"), "GET /1"),
    case("9112 9.3", "HTTP/1.0 with keep-alive", get(b"/1", _KEEP, version=b"1.0") + get(b"/2"), "GET /1", "GET /2"),
    case("9112 9.3", "HTTP/1.0 with both", get(b"/1", _KEEP, _CLOSE, version=b"1.0") + get(b"/2"), "GET /1"),
    case("9112 9.3", "HTTP/1.0 with Proxy-Connection", get(b"/1", b"Proxy-Connection: keep-alive", version=b"1.0") + get(b"/2"), "GET /1"),
    case("9112 9.3.2", "five requests", b"".join(get(b"/%d" % n) for n in range(5)), *(f"GET /{n}" for n in range(5))),
    case("9112 9.3.2", "methods by turns", get(b"/1") + request(b"HEAD", b"/2") + request(b"DELETE", b"/3"), "GET /1", "HEAD /2", "DELETE /3"),
    case("9112 9.3.2", "a bad second one", get(b"/1") + raw(b"GET /2 HTTP/1.1") + get(b"/3"), "GET /1", 400),
    case("9112 9.3.2", "a bad first one", raw(b"GET /1 HTTP/1.1") + get(b"/2"), 400),
    case("9112 9.3.2", "half a second one", get(b"/1") + b"GET /2 HT", "GET /1", 408),
    case("9112 9.3.2", "no HTTP behind the first", get(b"/1") + b"\xff\xfe", "GET /1", 400),
    case("9112 9.3.2", "a HEAD that is refused", raw(b"HEAD / HTTP/1.1"), 400),
    case("9112 9.3.2", "a body refused, then a request", post(b"hello", b"Content-Length: 99999999") + get(b"/2"), 413),
    case("9112 9.3.2", "a chunk refused, then a request", chunked(b"zz\r\n") + get(b"/2"), 400),
    case("9112 9.8", "many empty lines between two", get(b"/1") + b"\r\n" * 3 + get(b"/2"), "GET /1", 400),
    case("9110 7.8", "Upgrade to h2c", get(b"/", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"), "GET /", without=(b"upgrade", b"http2-settings")),
    case("9110 7.8", "Upgrade to websocket", get(b"/1", b"Connection: Upgrade", b"Upgrade: websocket") + get(b"/2"), "GET /1", "GET /2"),
    case("9110 7.8", "Upgrade with a body", post(b"hello", b"Content-Length: 5", b"Connection: upgrade", b"Upgrade: x") + get(b"/2"), "POST / | hello", "GET /2"),
    case("9110 7.8", "Upgrade with a body that is a request", post(get(b"/no"), b"Content-Length: %d" % len(get(b"/no")), b"Connection: upgrade", b"Upgrade: x"), "POST / | GET /no HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("9110 7.8", "Upgrade with chunks", chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Connection: upgrade", b"Upgrade: x"), "POST / | hello"),
    case("9110 7.8", "Upgrade in HTTP/1.0", get(b"/", b"Connection: upgrade", b"Upgrade: x", version=b"1.0"), "GET /"),
    case("9110 7.8", "Upgrade without Connection", get(b"/", b"Upgrade: websocket"), "GET /", without=(b"upgrade",)),
    case("9112 11.2", "CL.TE", post(b"0\r\n\r\nG", b"Content-Length: 6", b"Transfer-Encoding: chunked") + get(b"/2"), 400),
    case("9112 11.2", "TE.CL", post(b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", b"Content-length: 4"), 400),
    case("9112 11.2", "TE.TE", post(b"0\r\n\r\n", b"Transfer-Encoding: chunked", b"Transfer-encoding: cow"), 400),
    case("9112 11.2", "TE.TE, the other way about", post(b"0\r\n\r\n", b"Transfer-Encoding: cow", b"Transfer-encoding: chunked"), 400),
    case("9112 11.2", "a coding behind a tab", post(b"0\r\n\r\n", b"Transfer-Encoding:\tchunked"), "POST / |"),
    case("9112 11.2", "a coding behind a line end", post(b"0\r\n\r\n", b"X: x\nTransfer-Encoding: chunked"), 400),
    case("9112 11.2", "a length hidden by Connection", post(b"hello", b"Connection: content-length", b"Content-Length: 5") + get(b"/2"), "POST / | hello", "GET /2", without=(b"content-length",)),
    case("9112 11.2", "chunks hidden by Connection", chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Connection: transfer-encoding") + get(b"/2"), "POST / | hello", "GET /2"),
    case("9112 11.2", "GET with a body that is a request", request(b"GET", b"/1", b"Content-Length: %d" % len(get(b"/no"))) + get(b"/no") + get(b"/2"), "GET /1 | GET /no HTTP/1.1\r\nHost: a\r\n\r\n", "GET /2"),
    case("9112 11.1", "an answer split", get(b"/%0d%0aSet-Cookie:%20a=b"), "GET /%0d%0aSet-Cookie:%20a=b"),
)  # fmt: skip
