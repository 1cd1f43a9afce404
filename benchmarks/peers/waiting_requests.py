"""Thousands of requests that wait for a slow upstream at one time: memory for each, and how many are refused."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time

from integration.ports import free_port

from ..processes import NotStarted
from .figures import Failed, quantile
from .measurement import settle
from .origin import PEOPLE, credentials, fetch
from .process_tree import memory_bytes, processor_s
from .processes import on_cores, pinned, run
from .setups import OURS, PLACES, ROOT, TLS, Peer, Site, certificate
from .trials import Effort, Found, in_turn, note, say

_ARRIVE_S = 60.0
_LEAVE_S = 60.0


def waiting(effort: Effort) -> Found:
    """Plain and over TLS; each peer is started anew for each round."""
    found: Found = {}
    pair = certificate(effort.place("certificate"))
    names = [f"{name}, plain" for name in effort.among(list(PLACES))]
    names += [f"{name}, TLS" for name in effort.among([OURS, "nginx", "HAProxy"])]
    assert set(TLS) >= {OURS, "nginx", "HAProxy"}
    for row in in_turn(effort.rounds, names):
        name, _, kind = row.rpartition(", ")
        folder, port, control = effort.place(name), free_port(), free_port()
        command = [sys.executable, "-m", "benchmarks.peers.holding_upstream", str(port), str(control)]
        here = {"PYTHONPATH": str(ROOT)}
        try:
            with (
                run("holder", command, folder, ports=[port, control], cores=pinned("load"), environment=here),
                PLACES[name](Site(folder, port, *pair)) as peer,
            ):
                note(found, row, **_one(peer, control, kind == "TLS", effort.waiting))
        except (NotStarted, Failed, OSError) as problem:
            say(f"  {row}: {str(problem)[-500:]}")
    return found


def _one(peer: Peer, control: int, tls: bool, count: int) -> dict[str, float]:
    port = peer.tls if tls else peer.plain
    assert port is not None and peer.plain is not None
    people = [credentials(number) for number in range(1, PEOPLE + 1)]
    for number in range(1, PEOPLE + 1):
        if fetch(peer.plain, "/staffs/me", number)[0] != 200:
            raise Failed("it does not pass on what does not wait")
    settle(peer.roots)
    idle, spent = memory_bytes(peer.roots), processor_s(peer.roots)
    task = {"port": port, "tls": tls, "count": count, "credentials": people, "seconds": _LEAVE_S}
    crowd = subprocess.Popen(
        on_cores([sys.executable, "-m", "benchmarks.peers.connection_load"], pinned("load")),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert crowd.stdin is not None and crowd.stdout is not None
        crowd.stdin.write(json.dumps(task) + "\n")
        crowd.stdin.flush()
        if crowd.stdout.readline() != "waiting\n":
            raise Failed("the clients did not come in")
        arrived = _arrived(control, count)
        memory = memory_bytes(peer.roots) - idle
        _told(control, "release")
        crowd.stdin.write("\n")
        crowd.stdin.flush()
        counted = json.loads(crowd.stdout.readline())
    finally:
        crowd.kill()
        crowd.wait()
    settle(peer.roots)
    times = counted["times"]
    if counted["other"]:
        say(f"    {counted['other']}")
    return {
        "kib": memory / 1024 / count,
        "upstream": arrived,
        "refused": count - len(times),
        "p99": quantile(times, 0.99) * 1e3,
        "us": (processor_s(peer.roots) - spent) / count * 1e6,
    }


def _arrived(control: int, count: int) -> int:
    """How many requests reached the upstream, once no more come."""
    latest, before, same = time.monotonic() + _ARRIVE_S, -1, 0
    while time.monotonic() < latest and same < 6:
        now = _told(control, "count")
        if now >= count:
            return now
        same = same + 1 if now == before else 0
        before = now
        time.sleep(0.5)
    return before


def _told(control: int, command: str) -> int:
    with socket.create_connection(("127.0.0.1", control), timeout=30) as made:
        made.sendall(command.encode() + b"\n")
        return int(made.makefile().readline())
