"""Header fields: which may appear only once, what they say about the body, and which are not forwarded."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from ..http.messages import Headers
from .line import HeadRefused

ONCE: Final = frozenset(
    {
        b"host", b"authorization", b"content-type", b"content-length", b"transfer-encoding", b"expect",
        b"content-location", b"content-range", b"date", b"from", b"if-modified-since", b"if-range",
        b"if-unmodified-since", b"max-forwards", b"proxy-authorization", b"range", b"referer", b"user-agent",
    }
)  # fmt: skip
"""Single-value fields (RFC 9110 §5.3). If one appears twice, two readers may each use a different one."""

HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"http2-settings",
    }
)  # fmt: skip
"""Hop-by-hop fields (RFC 9110 §7.6.1), in addition to those that Connection nominates."""

WITNESS: Final = frozenset(
    {
        b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-server",
        b"x-real-ip", b"x-request-id", b"forwarded", b"cloudfront-forwarded-proto",
    }
)  # fmt: skip
"""What proxies in front say about the client.

These fields stop here: what we believe of them is in ``Client``, and no later code can use them by mistake.
"""

_ENDS_HERE: Final = HOP_BY_HOP | WITNESS

_LENGTH = re.compile(rb"[0-9]{1,18}")


@frozen(slots=True)
class Framing:
    """Where the body ends, and whether the connection stays open.

    :param length: Content-Length in bytes; None without one.
    :param chunked: the body is chunked.
    :param keep_alive: another request may follow on this connection.
    :param expect_continue: the client waits for 100 (Continue) before it sends the body.
    """

    length: int | None = None
    chunked: bool = False
    keep_alive: bool = True
    expect_continue: bool = False


def combine(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Merge the lines of each field into one value, joined by commas (RFC 9110 §5.3).

    :param pairs: names lower-cased, values stripped.
    :raise HeadRefused: 400, a single-value field appears twice.
    """
    combined: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name not in combined:
            combined[name] = value
        elif name in ONCE:
            raise HeadRefused("This header field may appear only once.", field=name.decode("ascii"))
        else:
            combined[name] += b"," + value
    return combined


def read_framing(fields: dict[bytes, bytes], version: tuple[int, int]) -> Framing:
    """Return the framing that the fields declare (RFC 9112 §6, §9.3; RFC 9110 §10.1.1).

    :raise HeadRefused: 400 ambiguous, 501 an unknown transfer coding, 417 an unknown expectation.
    """
    length = chunked = None
    if b"transfer-encoding" in fields:
        chunked = _read_coding(fields, version)
    elif b"content-length" in fields:
        length = _read_length(fields[b"content-length"])
    options = _members(fields.get(b"connection", b""))
    keep_alive = b"close" not in options and (version == (1, 1) or b"keep-alive" in options)
    expects = False
    if b"expect" in fields and version == (1, 1):
        if fields[b"expect"].lower() != b"100-continue":
            raise HeadRefused("The only supported expectation is 100-continue.", status=417)
        expects = bool(length) or bool(chunked)
    return Framing(length, bool(chunked), keep_alive, expects)


def _read_length(value: bytes) -> int:
    if _LENGTH.fullmatch(value) is None:
        raise HeadRefused("Content-Length is not a number of bytes.", field="Content-Length")
    return int(value)


def _read_coding(fields: dict[bytes, bytes], version: tuple[int, int]) -> bool:
    """Accept exactly ``chunked``: with any other coding the end of the body is uncertain (RFC 9112 §6.1, §6.3)."""
    if version == (1, 0):
        raise HeadRefused("HTTP/1.0 has no Transfer-Encoding.", field="Transfer-Encoding")
    if b"content-length" in fields:
        raise HeadRefused("Content-Length and Transfer-Encoding exclude each other.", field="Content-Length")
    codings = [part.strip(b" \t").lower() for part in fields[b"transfer-encoding"].split(b",")]
    if codings == [b"chunked"]:
        return True
    if codings[-1] == b"chunked" and b"chunked" not in codings[:-1] and b"" not in codings:
        raise HeadRefused("The only supported transfer coding is chunked.", status=501)
    raise HeadRefused(
        "Transfer-Encoding must end with chunked, and name it only once.", field="Transfer-Encoding"
    )


def _members(value: bytes) -> frozenset[bytes]:
    """Return the members of a list field, lower-cased (RFC 9110 §5.6.1)."""
    if not value:
        return frozenset()
    return frozenset(part.strip(b" \t").lower() for part in value.split(b","))


def received_via(values: list[bytes], version: tuple[int, int]) -> str:
    """Return the Via value for the received request, without our own name (RFC 9110 §7.6.3).

    :param values: the Via lines of the request, in order.
    :param version: HTTP version of the request.
    """
    before = [value.decode("latin-1") for value in values if value]
    return ", ".join((*before, f"{version[0]}.{version[1]}"))


def end_to_end(pairs: list[tuple[bytes, bytes]], connection: bytes) -> Headers:
    """Return the fields that are forwarded: all but hop-by-hop fields and those of proxies in front.

    :param connection: the value of Connection, all its lines joined.
    """
    ends_here = _ENDS_HERE | _members(connection) if connection else _ENDS_HERE
    return Headers(tuple(pair for pair in pairs if pair[0] not in ends_here))
