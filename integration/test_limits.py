"""Arrival's limits in a running proxy: slow clients, and the system's limit on open files."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from .processes import START_S, Processes

ROOT = Path(__file__).parent.parent
OPEN_FILES = 128
LIMITED = ("/bin/sh", "-c", f'ulimit -n {OPEN_FILES}; exec "$@"', "sh")


@pytest_twisted.ensureDeferred
async def test_slow_clients_are_sent_away_and_others_are_served(processes: Processes) -> None:
    ran = await processes.run(
        "slow", sys.executable, "-m", "benchmarks.slow", "--short", cwd=ROOT, timeout_s=180.0
    )
    assert ran.status == 0, ran.log
    assert "MISSED" not in ran.log
    for kind in ("slow heads", "slow bodies", "slow readers", "all"):
        assert f"{kind} " in ran.log, ran.log


def _connect(port: int, count: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(count)]


def _until_closed(opened: list[socket.socket], count: int) -> int:
    """Wait, at most START_S, until the peer has closed so many connections; return how many it has."""
    watching = select.poll()
    for each in opened:
        watching.register(each, select.POLLIN)
    closed: set[int] = set()
    latest = time.monotonic() + START_S
    while len(closed) < count and time.monotonic() < latest:
        for number, _ in watching.poll(1000):
            closed.add(number)
            watching.unregister(number)
    return len(closed)


@pytest.mark.alone
@pytest_twisted.ensureDeferred
async def test_a_flood_leaves_descriptors_for_the_record_and_hosp(processes: Processes) -> None:
    """Half of a small ulimit is for connections; the rest suffices to serve and record them, and to reach HOSP."""
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, within=LIMITED)
    assert f"ulimit -n = {OPEN_FILES}; using {OPEN_FILES // 2}, raise ulimit -n" in proxy.log
    first = socket.create_connection(("127.0.0.1", proxy.plain_port), timeout=30)
    flood = await deferToThread(_connect, proxy.plain_port, 2 * OPEN_FILES)
    with contextlib.ExitStack() as stack:
        for each in (first, *flood):
            stack.enter_context(each)
        # The flood is cut off at the proxy's limit …
        beyond = len(flood) + 1 - OPEN_FILES // 2
        assert await deferToThread(_until_closed, flood, beyond) >= beyond
        assert len(os.listdir(f"/proc/{proxy.pid}/fd")) < OPEN_FILES
        # … and earlier clients are served, from HOSP, with a record.
        first.sendall(
            b"GET /hospitals HTTP/1.1\r\nHost: a\r\nAuthorization: Basic c3RhZmYxOnBhc3N3b3JkMQ==\r\n\r\n"
        )
        answer = await deferToThread(first.recv, 4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert [each["status"] for each in proxy.records() if each.get("own") is None][:1] == [200]
    assert "arrival.max_connections = 64 was reached by 127.0.0.1" in proxy.log
    assert "Could not accept" not in proxy.log and "EMFILE" not in proxy.log
