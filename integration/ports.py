"""Free TCP ports on the loopback address, for the processes that tests start."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_given: set[int] = set()
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MOST = 12_000


def _first_of_connections() -> int:
    """The lowest port that the system gives to outgoing connections."""
    return int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768


def free_port() -> int:
    """A TCP port on 127.0.0.1 that is free now and that this process has not returned before.

    The system gives it to no outgoing connection, which could take it before the process that is started listens.
    """
    above = _first_of_connections()
    chance = random.SystemRandom()  # not the seeded numbers of a test: two processes of tests must not agree
    while True:
        port = chance.randrange(max(1_024, above - _MOST), above)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
