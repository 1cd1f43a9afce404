"""The receiver of audit records: an HTTP server that a sink posts batches to. It fails now and then, until a moment."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from .history import Delivered, History
from .hosp.request_reader import Incoming, RequestReader

PORT = 80
SINK = "http"
_TAKES_S = (0.001, 0.05)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


def digest(line: bytes) -> str:
    """The hash by which a record is known: that of its line."""
    return sha256(line).hexdigest()


class Receiver:
    """Stores each batch, and notes its records in the history.

    :param machines: names of machines by address.
    :param stream: returns the random stream of a name.
    :param until: it fails before this moment only.
    """

    def __init__(
        self,
        reactor: Any,
        address: str,
        history: History,
        machines: Mapping[str, str],
        stream: Callable[[str], random.Random],
        until: float,
    ) -> None:
        self.reactor = reactor
        self._history = history
        self._machines = machines
        self._stream = stream
        self._until = until
        self._tries: Counter[str] = Counter()
        factory = Factory()
        factory.buildProtocol = lambda peer: _Connection(self, peer.host)  # type: ignore[method-assign,assignment,union-attr]
        reactor.listenTCP(PORT, factory, interface=address)

    def take(self, request: Incoming, source: str, answer: Callable[[bytes | None], None]) -> None:
        """Take a batch.

        :param answer: sends a response; None: resets the connection.
        """
        # Named by content: the same batch meets the same fate, also if other events of the world change.
        key = f"{source}|{request.headers.get('idempotency-key', '')}"
        self._tries[key] += 1
        chance = self._stream(f"receiver|{key}|{self._tries[key]}")
        takes_s, draw = chance.uniform(*_TAKES_S), chance.random()
        fails = self.reactor.seconds() < self._until
        if fails and draw < 0.05:
            self.reactor.callLater(takes_s, answer, _BUSY)
            return
        self._store(request, source)
        self.reactor.callLater(takes_s, answer, None if fails and draw < 0.15 else _OK)

    def _store(self, request: Incoming, source: str) -> None:
        now, machine = self.reactor.seconds(), self._machines[source]
        journal = request.headers["x-hospproxy-journal"]
        for line in request.body.splitlines():
            seq = json.loads(line).get("seq", 0)
            self._history.add(Delivered(now, machine, SINK, journal, seq, digest(line)))


class _Connection(Protocol):
    def __init__(self, receiver: Receiver, source: str) -> None:
        self._receiver = receiver
        self._source = source
        self._reader = RequestReader()
        self._open = True

    def dataReceived(self, data: bytes) -> None:
        for request in self._reader.feed(data):
            self._receiver.take(request, self._source, self._answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._open = False

    def _answer(self, content: bytes | None) -> None:
        if not self._open:
            return
        transport: Any = self.transport
        if content is None:
            transport.abortConnection()
        else:
            transport.write(content)
