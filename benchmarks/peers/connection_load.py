"""``python -m benchmarks.peers.connection_load``: open thousands of connections with one request each.

The task comes from stdin. It prints ``waiting`` once all requests are sent, reads one line, and then counts responses
until all have come, or for so many seconds; last it prints what it counted as JSON.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

from .paced_load import Broken, Connection, unverified


def enter(port: int, tls: bool, count: int, credentials: list[str]) -> tuple[list[Connection], int]:
    """Connect and send one request on each connection.

    :return: the connections, and how many were refused.
    """
    context, made, refused = unverified() if tls else None, list[Connection](), 0
    for number in range(count):
        try:
            connection = Connection(port, context)
            connection.ask(
                f"GET /patients/{number + 1} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: {credentials[number % len(credentials)]}\r\nAccept: application/json\r\n\r\n".encode(),
                0.0,
            )
            made.append(connection)
        except OSError:
            refused += 1
    return made, refused


def leave(waiting: list[Connection], seconds: float) -> tuple[list[float], dict[str, int]]:
    """Read the responses.

    :return: seconds until each 200, sorted, and how many others there were, by status or ``broken``.
    """
    poll, by_number, times, other = select.epoll(), {}, list[float](), dict[str, int]()
    for each in waiting:
        by_number[each.socket.fileno()] = each
        poll.register(each.socket, select.EPOLLIN)
    began = time.monotonic()
    while by_number and (left := began + seconds - time.monotonic()) > 0:
        for number, _ in poll.poll(left):
            each = by_number[number]
            try:
                if not each.answered():
                    continue
                if each.status == 200:
                    times.append(time.monotonic() - began)
                    kind = ""
                else:
                    kind = str(each.status)
            except (Broken, OSError):
                kind = "broken"
            if kind:
                other[kind] = other.get(kind, 0) + 1
            poll.unregister(number)
            del by_number[number]
    if by_number:
        other["unanswered"] = len(by_number)
    return sorted(times), other


def main() -> None:
    """Enter, wait for a line, leave."""
    given = json.loads(sys.stdin.readline())
    socket.setdefaulttimeout(30)
    waiting, refused = enter(given["port"], given["tls"], given["count"], given["credentials"])
    print("waiting", flush=True)
    sys.stdin.readline()
    times, other = leave(waiting, given["seconds"])
    if refused:
        other["refused"] = refused
    print(json.dumps({"times": times, "other": other}), flush=True)


if __name__ == "__main__":
    main()
