"""Load a peer, count the processor time of its tree until it is quiet again, and check that it did what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

from ..processes import get
from .figures import Failed, Load, quantile, read_wrk
from .origin import LISTS, Origin, fetch, mixed, request
from .process_tree import busy, processor_s
from .processes import on_cores, pinned
from .setups import ROOT, Peer

_QUIET_S = 0.5
_QUIET_SHARE = 0.04
_SETTLE_S = 90.0
_LOOKS = 5
_STORED_TRIES = 5


@frozen
class Run:
    """One peer under load.

    :param processor_s: of its whole process tree, from the first request until it is quiet again.
    """

    load: Load
    processor_s: float

    @property
    def cost_us(self) -> float:
        """Processor time for one request, in microseconds."""
        return self.processor_s / self.load.requests * 1e6


def settle(roots: Sequence[int]) -> None:
    """Wait until a tree is quiet: for a second it uses less than 4 % of a core, and hardly a thread wants to run.

    What is left to do after the responses (records that go into an index) is a part of their price. On a machine with
    other load, processor time alone does not tell a process that is done from one that gets no core.
    """
    latest, quiet, before = time.monotonic() + _SETTLE_S, 0, processor_s(roots)
    while quiet < 2 and time.monotonic() < latest:
        began, seen = time.monotonic(), 0
        for _ in range(_LOOKS):
            time.sleep(_QUIET_S / _LOOKS)
            seen += busy(roots)
        now, passed = processor_s(roots), time.monotonic() - began
        quiet = quiet + 1 if seen <= 1 and now - before < _QUIET_SHARE * passed else 0
        before = now


def measured(roots: Sequence[int], load: Callable[[], Load]) -> Run:
    """Run a load, and count what it cost."""
    before = processor_s(roots)
    done = load()
    settle(roots)
    return Run(done, processor_s(roots) - before)


def write_requests(folder: Path, requests: Sequence[bytes]) -> Path:
    """A file of requests for hits.lua."""
    file = folder / f"requests-{len(list(folder.glob('requests-*')))}"
    file.write_bytes(b"".join(each + b"%%\n" for each in requests))
    return file


def wrk(port: int, tls: bool, requests: Path, connections: int, seconds: float) -> Load:
    """Run wrk with one thread.

    :raise Failed: it reports a failed request.
    """
    url = f"http{'s' if tls else ''}://127.0.0.1:{port}/"
    script = Path(__file__).with_name("hits.lua")
    command = [
        "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds:g}s", "--timeout", "30s", "-s", str(script), url,
        str(requests),
    ]  # fmt: skip
    done = subprocess.run(on_cores(command, pinned("load")), capture_output=True, text=True, check=False)
    return read_wrk(done.stdout + done.stderr)


def paced(port: int, tls: bool, requests: Sequence[bytes], rate: float = 0.0, connections: int = 32) -> Load:
    """Run `pacer` in a process of its own.

    :raise Failed: a response was missing or not a 200.
    """
    task = {
        "port": port, "tls": tls, "rate": rate, "connections": connections,
        "requests": [each.decode() for each in requests],
    }  # fmt: skip
    command = on_cores([sys.executable, "-m", "benchmarks.peers.paced_load"], pinned("load"))
    done = subprocess.run(
        command, input=json.dumps(task), capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        raise Failed(done.stderr.strip().rpartition("\n")[2])
    told = json.loads(done.stdout)
    times = sorted(told["times"])
    return Load(len(times), told["seconds"], quantile(times, 0.5), quantile(times, 0.99))


def warm(peer: Peer, tls: bool, requests: Sequence[bytes]) -> None:
    """Send each request twice, so that a cache holds it and credentials are accepted.

    Over four connections: gunicorn has a thread wait for the first request of each.
    """
    for _ in range(2):
        paced(_port(peer, tls), tls, requests, connections=4)


def check(peer: Peer, origin: Origin, caching: bool) -> None:
    """Check bodies against the upstream's, that each account is kept apart, and how often the upstream is asked.

    :raise Failed: the peer does not do what is to be measured.
    """
    for port, tls in ((peer.plain, False), (peer.tls, True)):
        if port is None:
            continue
        for path in (*LISTS, "/patients/3"):
            for staff in (1, 2):
                _check_one(port, tls, origin, path, staff, caching)
        status, _ = fetch(port, "/hospitals", 1, {"Authorization": "Basic c3RhZmYxOndyb25n"}, tls)
        if status != 401:
            raise Failed(f"wrong credentials got {status}")


def _check_one(port: int, tls: bool, origin: Origin, path: str, staff: int, caching: bool) -> None:
    fetch(port, path, staff, tls=tls)
    for attempt in range(_STORED_TRIES):
        before = origin.requests()
        status, body = fetch(port, path, staff, tls=tls)
        asked = origin.requests() - before - 1
        if (status, body) != (200, origin.body(path)):
            raise Failed(f"{path}: status {status}, body {body[:60]!r}")
        if asked == (0 if caching else 1):
            return
        time.sleep(0.05 * attempt)  # a response may be complete before its cache has stored it
    raise Failed(f"{path}: the upstream was asked {asked} times")


def check_asked(before: int, after: int, requests: int, caching: bool) -> None:
    """Compare how often the upstream was asked during a load.

    :raise Failed: a hit was passed on, or a request that should be passed on was not.
    """
    asked = after - before - 1
    if caching and asked > max(5, requests // 1000):
        raise Failed(f"{asked} of {requests} hits reached the upstream")
    if not caching and asked < requests:
        raise Failed(f"only {asked} of {requests} requests reached the upstream")


def recorded(peer: Peer) -> float:
    """Audit records of requests that hospproxy has written; 0 for a peer without an admin listener."""
    if not peer.admin:
        return 0.0
    lines = get(f"127.0.0.1:{peer.admin}", "/metrics").decode().splitlines()
    wanted = [line for line in lines if line.startswith('hospproxy_records_total{kind="request"')]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


def check_recorded(peer: Peer, before: float, requests: int) -> None:
    """Check that hospproxy wrote a record of every response of a load.

    :raise Failed: it wrote fewer.
    """
    made = recorded(peer) - before
    if peer.admin and made < requests:
        raise Failed(f"{made:.0f} audit records of {requests} responses")


def hits() -> list[bytes]:
    """The mixed requests, whole."""
    return [request(path, staff) for path, staff in mixed()]


def _port(peer: Peer, tls: bool) -> int:
    port = peer.tls if tls else peer.plain
    assert port is not None
    return port
