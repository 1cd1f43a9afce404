"""``python -m benchmarks.audit_cost.client``: load one proxy over kept-alive TLS connections.

It is a process of its own that costs as little as possible, because it shares the machine with what it measures. It
uses sockets and epoll, prepares its requests beforehand, and reads only the status and length of a response. Each
connection has one request in flight at a time.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Sequence

_RECEIVE = 1 << 16


class Broken(Exception):
    """A response other than 200, or none."""


class Connection:
    """A connection with one request in flight."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.socket.setblocking(False)
        self.began = 0.0
        self._held = b""
        self._wanted = 0

    def ask(self, request: bytes) -> None:
        """Send a request, which is shorter than any socket's buffer."""
        self._held, self._wanted = b"", 0
        self.began = time.monotonic()
        if self.socket.send(request) != len(request):
            raise Broken("a request went out in pieces")

    def answered(self) -> bool:
        """Read what has arrived; return whether the response is complete.

        :raise Broken: it is not the expected response.
        """
        while True:
            try:
                piece = self.socket.recv(_RECEIVE)
            except ssl.SSLWantReadError:
                return False
            if not piece:
                raise Broken(f"the connection ended after {self._held[:100]!r}")
            self._held += piece
            if not self._wanted:
                self._wanted = _length(self._held)
            if self._wanted and len(self._held) >= self._wanted:
                return True


def _length(held: bytes) -> int:
    """Bytes of the whole response; 0 until its head is complete."""
    end = held.find(b"\r\n\r\n")
    if end < 0:
        return 0
    if not held.startswith(b"HTTP/1.1 200 "):
        raise Broken(repr(held[:300]))
    at = held.index(b"content-length: ") + 16
    return end + 4 + int(held[at : held.index(b"\r", at)])


def load(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> tuple[list[float], float]:
    """Send requests for so many seconds.

    :return: seconds from each request to its whole response, and seconds in all.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    poll, by_number = select.epoll(), dict[int, Connection]()
    for _ in range(connections):
        connection = Connection(port, context)
        by_number[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    times, asked, began = list[float](), 0, time.monotonic()
    for connection in by_number.values():
        connection.ask(requests[asked % len(requests)])
        asked += 1
    end = began + seconds
    while len(times) < asked:
        for number, _ in poll.poll():
            connection = by_number[number]
            if connection.answered():
                now = time.monotonic()
                times.append(now - connection.began)
                if now < end:
                    connection.ask(requests[asked % len(requests)])
                    asked += 1
    return times, time.monotonic() - began


def main() -> None:
    """Read the task from stdin (JSON), write the results to stdout."""
    given = json.load(sys.stdin)
    requests = [request.encode() for request in given["requests"]]
    times, seconds = load(given["port"], requests, given["connections"], given["seconds"])
    json.dump({"times": times, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
