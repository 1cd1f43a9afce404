"""The most that may be forwarded of a stream of bytes, by a reader that is independent of arrival.

It is written from the grammars of RFC 9110 and 9112 over whole streams, with none of the proxy's code and none of its
parser. Where the RFCs leave a choice it takes the narrow one, except for what the documentation says is accepted. It
knows no limits and no time limits. So arrival may accept less than this, but never more and never differently.
"""

from __future__ import annotations

import re

from attrs import frozen

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(
    rb"(" + _TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*"
)
_PCHAR = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]^`|]|%[0-9A-Fa-f]{2})"
_ORIGIN = re.compile(rb"(/" + _PCHAR + rb"*)(?:\?((?:" + _PCHAR + rb"|\?)*))?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)(/" + _PCHAR + rb"*)?(?:\?((?:" + _PCHAR + rb"|\?)*))?")
_HOST = re.compile(rb"(?:[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_QUOTED = rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t -~])*"'
_EXTENSION = rb"[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)(?:" + _EXTENSION + rb")*")
_SINGLE = {b"host", b"content-length", b"transfer-encoding", b"authorization", b"content-type", b"expect"}


@frozen
class Allowed:
    """One request that may be forwarded.

    :param fields: names lower-cased; what is forwarded must be among them.
    """

    method: str
    path: bytes
    query: bytes | None
    body: bytes | None
    fields: tuple[tuple[bytes, bytes], ...]


class _Stop(Exception):
    """From here on nothing may be forwarded."""


def allowed(stream: bytes) -> list[Allowed]:
    """The longest series of requests that a connection's bytes may be taken for."""
    found: list[Allowed] = []
    goes_on = True
    while goes_on:
        try:
            request, stream, goes_on = _one(stream)
        except _Stop:
            break
        found.append(request)
    return found


def _one(stream: bytes) -> tuple[Allowed, bytes, bool]:
    for _ in range(2):
        stream = stream.removeprefix(b"\r\n")
    head, end, rest = stream.partition(b"\r\n\r\n")
    if not end:
        raise _Stop
    first, *lines = head.split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    matches = [_FIELD.fullmatch(each) for each in lines]
    if line is None or None in matches:
        raise _Stop
    fields = [(each[1].lower(), each[2]) for each in matches if each is not None]
    for name in _SINGLE:
        if sum(1 for given, _ in fields if given == name) > 1:
            raise _Stop
    method, target, minor = line[1].decode(), line[2], line[3]
    values = dict(fields)
    path, query = _target(method, target, values)
    if b"host" not in values and minor == b"1":
        raise _Stop
    if b"host" in values and _HOST.fullmatch(values[b"host"]) is None:
        raise _Stop
    body, rest = _body(values, minor, rest)
    return Allowed(method, path, query, body, tuple(fields)), rest, _goes_on(fields, minor)


def _target(method: str, target: bytes, values: dict[bytes, bytes]) -> tuple[bytes, bytes | None]:
    if target == b"*":
        if method != "OPTIONS":
            raise _Stop
        return b"*", None
    if match := _ORIGIN.fullmatch(target):
        return match[1], match[2]
    match = _ABSOLUTE.fullmatch(target)
    if match is None or _HOST.fullmatch(match[1]) is None:
        raise _Stop
    if b"host" in values and values[b"host"].rstrip(b":").lower() != match[1].rstrip(b":").lower():
        raise _Stop
    star = method == "OPTIONS" and match[2] is None and match[3] is None
    return (b"*" if star else match[2] or b"/"), match[3]


def _body(values: dict[bytes, bytes], minor: bytes, rest: bytes) -> tuple[bytes | None, bytes]:
    if b"transfer-encoding" in values:
        known = values[b"transfer-encoding"].lower() == b"chunked"
        if not known or minor == b"0" or b"content-length" in values:
            raise _Stop
        return _chunks(rest)
    if b"content-length" not in values:
        return None, rest
    length = values[b"content-length"]
    if re.fullmatch(rb"[0-9]+", length) is None or len(rest) < int(length):
        raise _Stop
    return rest[: int(length)], rest[int(length) :]


def _chunks(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        match = _CHUNK.fullmatch(line)
        if not end or match is None:
            raise _Stop
        size = int(match[1], 16)
        if size == 0:
            break
        if rest[size : size + 2] != b"\r\n":
            raise _Stop
        body, rest = body + rest[:size], rest[size + 2 :]
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end or (line and re.fullmatch(_TOKEN + rb":[\t -~\x80-\xff]*", line) is None):
            raise _Stop
        if not line:
            return body, rest


def _goes_on(fields: list[tuple[bytes, bytes]], minor: bytes) -> bool:
    options = {
        part.strip(b" \t").lower()
        for name, value in fields
        if name == b"connection"
        for part in value.split(b",")
    }
    return b"close" not in options and (minor == b"1" or b"keep-alive" in options)
