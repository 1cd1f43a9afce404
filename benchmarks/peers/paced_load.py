"""``python -m benchmarks.peers.paced_load``: send requests at a fixed rate, or as fast as responses come.

The task comes from stdin. A process of its own with sockets and epoll only. A request that finds its turn late because
an earlier one was slow is timed from its turn, not from its sending: otherwise a stall would hide the requests that it
delayed.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Sequence

_PATIENCE_S = 60.0
_RECEIVE = 1 << 16


class Broken(Exception):
    """No response, or one that cannot be read."""


def status_and_length(held: bytes) -> tuple[int, int]:
    """Status and bytes of the whole response; zeros until its head is complete.

    :raise Broken: it has no Content-Length, so its end is unknown.
    """
    end = held.find(b"\r\n\r\n")
    if end < 0:
        return 0, 0
    head = held[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise Broken(repr(held[:300]))
    length = int(head[at + 17 :].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]), end + 4 + length


class Connection:
    """A connection with at most one request in flight.

    :param context: for TLS; None for plain HTTP.
    """

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        made = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(made, server_hostname="localhost") if context else made
        self.socket.setblocking(False)
        self.due = 0.0
        self.status = 0
        self._held = b""

    def ask(self, request: bytes, due: float) -> None:
        """Send a request, which is shorter than any socket's buffer."""
        self._held, self.status, self.due = b"", 0, due
        if self.socket.send(request) != len(request):
            raise Broken("a request went out in pieces")

    def answered(self) -> bool:
        """Read what has arrived; return whether the response is complete.

        :raise Broken: the connection ended before it.
        """
        while True:
            try:
                piece = self.socket.recv(_RECEIVE)
            except (ssl.SSLWantReadError, BlockingIOError):
                break
            if not piece:
                raise Broken(f"the connection ended after {self._held[:100]!r}")
            self._held += piece
        self.status, length = status_and_length(self._held)
        return bool(length) and len(self._held) >= length


def unverified() -> ssl.SSLContext:
    """A context for a server whose certificate does not matter here."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def pace(port: int, tls: bool, requests: Sequence[bytes], rate: float, connections: int) -> list[float]:
    """Send each request once.

    :param rate: requests a second; 0: each connection sends its next as soon as it has its response.
    :return: seconds from each request's turn to its whole response.
    :raise Broken: a response other than 200, or none.
    """
    context = unverified() if tls else None
    idle = [Connection(port, context) for _ in range(connections)]
    poll, by_number = select.epoll(), {each.socket.fileno(): each for each in idle}
    for each in idle:
        poll.register(each.socket, select.EPOLLIN)
    times, sent, began = list[float](), 0, time.monotonic()
    latest = began + _PATIENCE_S + (len(requests) / rate if rate else 600.0)
    while len(times) < len(requests):
        now = time.monotonic()
        if now > latest:
            raise Broken(f"{len(times)} responses of {len(requests)} requests")
        due = began + sent / rate if rate else now
        if sent < len(requests) and idle and due <= now:
            idle.pop().ask(requests[sent], due)
            sent += 1
            continue
        wait = max(0.0, due - now) if sent < len(requests) and idle else 1.0
        for number, _ in poll.poll(wait):
            connection = by_number[number]
            if connection.answered():
                if connection.status != 200:
                    raise Broken(f"status {connection.status}")
                times.append(time.monotonic() - connection.due)
                idle.append(connection)
    return times


def main() -> None:
    """Read the task from stdin (JSON), write the times to stdout."""
    given = json.load(sys.stdin)
    requests = [request.encode() for request in given["requests"]]
    began = time.monotonic()
    times = pace(given["port"], given["tls"], requests, given["rate"], given["connections"])
    json.dump({"times": times, "seconds": time.monotonic() - began}, sys.stdout)


if __name__ == "__main__":
    main()
