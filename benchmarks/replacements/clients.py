"""Clients in threads: some write and read without a pause, some are idle and write at a given moment."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Callable
from itertools import count
from threading import Event, Lock, Thread

from attrs import define, field

PATIENCE_S = 60.0
_AUTH = "Basic " + base64.b64encode(b"staff1:password1").decode()
_FIELDS = {"Authorization": _AUTH, "Content-Type": "application/json"}
_NUMBERS = count(1)


@define
class Seen:
    """What the clients were told.

    :param stored: bodies of notes that were acknowledged.
    :param open: bodies of notes that were sent and not acknowledged.
    :param ids: request ids of whole responses.
    :param statuses: of responses other than 200 and 201.
    :param broken: connections that ended without a whole response.
    """

    stored: list[str] = field(factory=list)
    open: list[str] = field(factory=list)
    ids: list[str] = field(factory=list)
    statuses: list[int] = field(factory=list)
    broken: list[str] = field(factory=list)
    longest_s: float = 0.0
    _lock: Lock = field(factory=Lock)

    def told(self, status: int, request_id: str | None, body: str | None, took_s: float) -> None:
        with self._lock:
            self.longest_s = max(self.longest_s, took_s)
            if request_id is not None:
                self.ids.append(request_id)
            if status not in (200, 201):
                self.statuses.append(status)
            if body is not None:
                (self.stored if status == 201 else self.open).append(body)

    def lost(self, body: str | None, why: str) -> None:
        with self._lock:
            self.broken.append(why)
            if body is not None:
                self.open.append(body)


class Client:
    """One kept-alive connection.

    :param tls: whether the port speaks TLS.
    """

    def __init__(self, port: int, seen: Seen, *, tls: bool = True) -> None:
        self._port = port
        self._seen = seen
        self._tls = tls
        self._connection: http.client.HTTPConnection | None = None

    def get(self) -> bool:
        """Read; return whether a whole response came."""
        return self._ask("GET", "/hospitals", None)

    def post(self) -> bool:
        """Store a note with a body of its own; return whether a whole response came."""
        return self._ask("POST", "/notes", f"note {next(_NUMBERS)}")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=PATIENCE_S, context=context)

    def _ask(self, method: str, path: str, text: str | None) -> bool:
        document = None if text is None else json.dumps({"title": "Visit", "body": text, "patient_id": 7})
        began = time.monotonic()
        try:
            if self._connection is None:
                self._connection = self._opened()
            self._connection.request(method, path, document, _FIELDS)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self._seen.lost(text, f"{method} {error!r}")
            self.close()
            return False
        request_id = response.getheader("X-Request-Id")
        self._seen.told(response.status, request_id, text, time.monotonic() - began)
        if response.will_close:
            self.close()
        return True


class Busy:
    """Threads that write and read until they are stopped."""

    def __init__(
        self, port: int, seen: Seen, number: int, pause_s: float = 0.02, *, tls: bool = True
    ) -> None:
        self._over = Event()
        self._pause_s = pause_s
        self._threads = [
            Thread(target=self._run, args=(Client(port, seen, tls=tls), each), daemon=True)
            for each in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, client: Client, number: int) -> None:
        for turn in count(number):
            if self._over.wait(self._pause_s):
                break
            if turn % 4:
                client.get()
            else:
                client.post()
        client.close()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


class Idle:
    """Connections that were used once and are open since; each writes once, when it is told to."""

    def __init__(self, port: int, seen: Seen, number: int, *, tls: bool = True) -> None:
        self._clients = [Client(port, seen, tls=tls) for _ in range(number)]
        self._threads: list[Thread] = []
        for each in self._clients:
            each.get()

    def write(self, when: Callable[[int], None]) -> None:
        """Let each client write.

        :param when: called with the client's number, in its thread; returns at the moment to write.
        """

        def run(number: int, client: Client) -> None:
            when(number)
            client.post()
            client.get()
            client.close()

        self._threads = [Thread(target=run, args=pair, daemon=True) for pair in enumerate(self._clients)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
