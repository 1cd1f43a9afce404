"""One HTTP connection of a client: sends a request as bytes, reads the response as bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from ..hosp.request_reader import dechunked, fields_of

PORT = 8000


@frozen
class Answered:
    """A whole response. `body` is decoded JSON if it is JSON, text otherwise."""

    status: int
    headers: dict[str, str]
    body: Any = None


@frozen
class Lost:
    """No whole response came.

    :param why: ``reset``, ``cut`` (a part of it came) or ``refused`` (no connection).
    """

    why: str
    status: int | None = None
    headers: dict[str, str] = field(factory=dict)


def request_bytes(
    method: str, target: str, host: str, name: str, password: str, body: Any = None, key: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> bytes:  # fmt: skip
    """A request as a device sends it. An empty `name` sends no credentials."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    if name:
        token = base64.b64encode(f"{name}:{password}".encode()).decode()
        lines.append(f"Authorization: Basic {token}")
    if key is not None:
        lines.append(f'Idempotency-Key: "{key}"')
    lines += [f"{field_name}: {value}" for field_name, value in headers]
    content = b""
    if body is not None:
        content = json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


class AnswerReader:
    """Takes bytes as they come until a response is complete."""

    def __init__(self) -> None:
        self.held = b""
        self.interim = 0
        """Interim responses that came before this one."""

    @property
    def head(self) -> tuple[int, dict[str, str], bytes] | None:
        """Status, fields and the remaining bytes, once the head is complete; interim responses are skipped."""
        while True:
            head, separator, rest = self.held.partition(b"\r\n\r\n")
            if not separator:
                return None
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            if status >= 200:
                return status, fields_of(lines[1:]), rest
            self.held = rest
            self.interim += 1

    def feed(self, data: bytes, method: str) -> Answered | None:
        """Add bytes; return the response once it is complete."""
        self.held += data
        head = self.head
        if head is None:
            return None
        status, headers, rest = head
        if method == "HEAD" or status in (204, 304):
            body, self.held = b"", rest
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            whole = dechunked(rest)
            if whole is None:
                return None
            body, self.held = whole
        else:
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return None
            body, self.held = rest[:length], rest[length:]
        if self.interim:
            headers, self.interim = {**headers, ":interim": str(self.interim)}, 0
        return Answered(status, headers, _decoded(headers, body))


def _decoded(headers: dict[str, str], body: bytes) -> Any:
    if "json" in headers.get("content-type", ""):
        try:
            return json.loads(body)
        except ValueError:
            pass
    return body.decode("utf-8", "replace")


class Line(Protocol):
    """A connection to the proxy; one request at a time."""

    def __init__(self) -> None:
        self._reader = AnswerReader()
        self._waiting: Deferred[Answered | Lost] | None = None
        self._method = ""
        self._rest = b""
        self.open = False
        self.used = False

    def connectionMade(self) -> None:
        self.open = True

    def send(self, method: str, raw: bytes, *, held: bool = False) -> Deferred[Answered | Lost]:
        """Send a request; fires when its response is complete, or will not come.

        :param held: the body is sent only after a 100 (Continue).
        """
        if held:
            head, separator, self._rest = raw.partition(b"\r\n\r\n")
            raw = head + separator
        waiting: Deferred[Answered | Lost] = Deferred()
        self._waiting = waiting
        self._method, self.used = method, True
        self.transport.write(raw)  # type: ignore[union-attr]
        return waiting

    def dataReceived(self, data: bytes) -> None:
        if self._waiting is None:
            self.leave()
            return
        try:
            answer = self._reader.feed(data, self._method)
        except (ValueError, IndexError):
            self.leave()
            return
        if answer is None and self._reader.interim and self._rest:
            self.transport.write(self._rest)  # type: ignore[union-attr]
            self._rest = b""
        if answer is not None:
            if self._rest:
                # A client that has not sent its body cannot reuse this connection.
                self._rest, self.open = b"", False
                self.transport.loseConnection()  # type: ignore[union-attr]
            if answer.headers.get("connection", "").lower() == "close":
                self.open = False
                self.transport.loseConnection()  # type: ignore[union-attr]
            self._give(answer)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.open = False
        head = self._reader.head if self._reader.held else None
        if head is not None:
            self._give(Lost("cut", head[0], head[1]))
        else:
            self._give(Lost("cut" if self._reader.held else "reset"))

    def leave(self) -> None:
        """Reset the connection, like a phone that leaves the network."""
        self.open = False
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _give(self, result: Answered | Lost) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(result)


class Dialling(Factory):
    """Makes a `Line`, and reports when it is connected; fires with None if nobody listens.

    :param line: fires once.
    """

    noisy = False

    def __init__(self) -> None:
        self.line: Deferred[Line | None] = Deferred()

    def buildProtocol(self, addr: object) -> Line:
        made = Line()
        connected = made.connectionMade

        def say() -> None:
            connected()
            self.line.callback(made)

        made.connectionMade = say  # type: ignore[method-assign]
        return made

    def startedConnecting(self, connector: object) -> None:
        """Nothing to do: Twisted calls it."""

    def clientConnectionLost(self, connector: object, reason: Failure) -> None:
        """The line itself has reported it."""

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """Report that there is no connection."""
        if not self.line.called:
            self.line.callback(None)
