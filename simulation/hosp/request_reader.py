"""Parses requests off a connection to HOSP: HTTP/1.1, plain bytes."""

from __future__ import annotations

from attrs import frozen


class Nonsense(Exception):
    """These bytes are not a request."""


@frozen
class Incoming:
    """A whole request. `headers` have names in lower case; values of repeated headers are joined."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def keeps(self) -> bool:
        """Whether the connection stays open after the response."""
        return self.headers.get("connection", "").lower() != "close"


class RequestReader:
    """Takes bytes as they come and returns whole requests."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def begun(self) -> bool:
        """Whether a part of a request is buffered."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[Incoming]:
        """Add bytes; return the requests that are complete now.

        :raise Nonsense: they are not HTTP.
        """
        self._held += data
        found = []
        while (request := self._next()) is not None:
            found.append(request)
        return found

    def _next(self) -> Incoming | None:
        head, separator, rest = self._held.partition(b"\r\n\r\n")
        if not separator:
            return None
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise Nonsense(lines[0][:80])
        headers = fields_of(lines[1:])
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body_and_rest = dechunked(rest)
        else:
            length = int(headers.get("content-length", "0"))
            body_and_rest = (rest[:length], rest[length:]) if len(rest) >= length else None
        if body_and_rest is None:
            return None
        body, self._held = body_and_rest
        return Incoming(parts[0], parts[1], headers, body)


def fields_of(lines: list[str]) -> dict[str, str]:
    """Header fields with names in lower case."""
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def dechunked(raw: bytes) -> tuple[bytes, bytes] | None:
    """The body in chunked bytes and the remaining bytes; None until it is complete."""
    body, rest = b"", raw
    while True:
        line, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return None
        size = int(line.partition(b";")[0] or b"0", 16)
        if len(rest) < size + 2:
            return None
        if size == 0:
            # Trailers, if any, end with an empty line.
            if rest.startswith(b"\r\n"):
                return body, rest[2:]
            _, separator, after = rest.partition(b"\r\n\r\n")
            return (body, after) if separator else None
        body, rest = body + rest[:size], rest[size + 2 :]
