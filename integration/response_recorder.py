"""Clients that note every response whose head arrived whole, by X-Request-Id, while the proxy is killed.

Each sends a random mix: cached and uncached reads, writes, and requests that a proxy refuses by itself. They run in
threads and use only sockets, so that a response counts from the last byte of its head.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from attrs import define, field, frozen

from .http_client import basic, connect
from .processes import Proxy

_PATIENCE_S = 60.0


@frozen
class Noted:
    """A response.

    :param kind: kind of the request.
    :param status: never a 100.
    """

    id: str
    kind: str
    status: int


def _head(
    method: str, target: str, *fields: str, user: str | None = "staff1", password: str | None = None
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *fields]
    if user is not None:
        lines.append(f"Authorization: {basic(user, password)}")
    return "\r\n".join((*lines, "", "")).encode()


def _with_body(method: str, target: str, body: bytes, *fields: str) -> bytes:
    sizes = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return _head(method, target, *sizes, *fields) + body


def _note(chance: random.Random) -> bytes:
    words = f"Visit {chance.getrandbits(64):x}"
    return json.dumps({"title": words, "body": "Eats again.", "patient_id": chance.randint(1, 7)}).encode()


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "hit": lambda _: _head("GET", "/hospitals"),
    "another's hit": lambda c: _head("GET", "/hospitals", user=f"staff{c.randint(2, 9)}"),
    "not modified or not": lambda _: _head("GET", "/hospitals", "If-None-Match: *"),
    "miss": lambda _: _head("GET", "/hospitals/9", "Cache-Control: no-cache"),
    "search": lambda c: _head("GET", f"/notes?patient_id={c.randint(1, 140)}"),
    "head": lambda _: _head("HEAD", "/hospitals"),
    "write": lambda c: _with_body("POST", "/notes", _note(c)),
    "write after a continue": lambda c: _with_body("POST", "/notes", _note(c), "Expect: 100-continue"),
    "not as the contract says": lambda _: _with_body("POST", "/notes", b'{"title": 1}'),
    "no JSON": lambda _: _with_body("POST", "/notes", b"{"),
    "wrong password": lambda c: _head("GET", "/hospitals", password=f"guess{c.getrandbits(32)}"),
    "no credentials": lambda _: _head("GET", "/patients", user=None),
    "no such route": lambda c: _head("GET", f"/secret/{c.getrandbits(32)}"),
    "no such record": lambda _: _head("GET", "/patients/999999"),
    "no such method": lambda _: _head("PATCH", "/hospitals"),
    "options": lambda _: _head("OPTIONS", "*"),
    "trace": lambda _: _head("TRACE", "/hospitals"),
    "malformed": lambda _: b"GET /hospitals HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no HTTP": lambda _: b"\x16\x03\x01\x02\r\n\r\n",
    "no host": lambda _: b"GET /hospitals HTTP/1.1\r\n\r\n",
    "another version": lambda _: b"GET /hospitals HTTP/2.0\r\nHost: a\r\n\r\n",
    "too long a target": lambda _: _head("GET", "/" + "a" * 20_000),
    "too long a head": lambda _: _head("GET", "/hospitals", *(f"X-{n}: {'a' * 200}" for n in range(200))),
    "too large a body": lambda _: _head("POST", "/notes", "Content-Length: 999999999999"),
    "ambiguous length": lambda _: _head("POST", "/notes", "Content-Length: 3", "Transfer-Encoding: chunked"),
    "what nobody expects": lambda _: _head("POST", "/notes", "Content-Length: 3", "Expect: a miracle"),
}
"""Requests that clients send, over TLS."""


@define
class Notes:
    """What all clients of a round have noted."""

    found: list[Noted] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def add(self, noted: Noted) -> None:
        with self._lock:
            self.found.append(noted)


class Gone(Exception):
    """The connection is over, or cannot be made."""


class NotingClient:
    """Sends requests until the proxy is gone.

    :param redirecting: the port of a plain listener that redirects to https; 0 for none.
    """

    def __init__(self, proxy: Proxy, notes: Notes, seed: int, redirecting: int = 0) -> None:
        self._proxy = proxy
        self._notes = notes
        self._chance = random.Random(seed)
        self._redirecting = redirecting
        self._connection: socket.socket | None = None
        self.stopped = False

    def run(self) -> None:
        """Run in a thread until the proxy accepts no connections."""
        while not self.stopped:
            try:
                self._ask()
            except Gone:
                self._close()
                if not self._reachable():
                    return
        self._close()

    def _ask(self) -> None:
        if self._redirecting and self._chance.random() < 0.03:
            return self._ask_plainly()
        kind = self._chance.choice(list(KINDS))
        try:
            if self._connection is None:
                self._connection = connect(self._proxy.url)
                self._connection.settimeout(_PATIENCE_S)
            self._connection.sendall(KINDS[kind](self._chance))
        except OSError as error:
            raise Gone from error
        if not self._answered(self._connection, kind):
            self._close()
        return None

    def _ask_plainly(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._redirecting), timeout=_PATIENCE_S) as plain:
                plain.sendall(_head("GET", "/hospitals", user=None))
                self._answered(plain, "redirect")
        except OSError as error:
            raise Gone from error

    def _answered(self, connection: socket.socket, kind: str) -> bool:
        """Note the response; return whether the connection can be reused."""
        head, rest = _until_head(connection, b"")
        while head.startswith(b"HTTP/1.1 100 "):
            head, rest = _until_head(connection, rest)
        status, fields = int(head[9:12]), _fields(head)
        self._notes.add(Noted(fields["x-request-id"], kind, status))
        if kind != "head" and status not in (204, 304):
            _read_rest(connection, int(fields["content-length"]) - len(rest))
        return fields.get("connection") != "close"

    def _reachable(self) -> bool:
        port = urlsplit(self._proxy.url).port
        try:
            socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S).close()
        except OSError:
            return False
        return True

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _until_head(connection: socket.socket, held: bytes) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in held:
        held += _receive(connection)
    head, _, rest = held.partition(b"\r\n\r\n")
    return head, rest


def _read_rest(connection: socket.socket, missing: int) -> None:
    while missing > 0:
        missing -= len(_receive(connection))


def _receive(connection: socket.socket) -> bytes:
    try:
        data = connection.recv(65536)
    except TimeoutError:
        raise AssertionError("an answer did not come") from None
    except (OSError, ssl.SSLError) as error:
        raise Gone from error
    if not data:
        raise Gone
    return data


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
