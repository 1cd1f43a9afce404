"""Inspects the workers of a running proxy: their processes, and whether they are alive."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from inspect import isawaitable
from pathlib import Path
from typing import Any, cast

from twisted.internet import task

from .ports import free_port
from .processes import Processes, Proxy, proxy_options, twistd_command

NOTE = {"title": "Visit", "body": "The cat is called Secretissima.", "patient_id": 7}
WITH_REDIS = """[redis]
enabled = true
url = "redis://127.0.0.1:{port}"
heartbeat_s = 0.1
timeout_s = 0.3
lease_s = 1.0
settle_s = 1.0
"""


async def until(what: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until a function returns something true; return it.

    :param what: called again and again; it may be a coroutine function.
    :raise AssertionError: not true in time.
    """
    from twisted.internet import reactor

    clock = cast(Any, reactor)
    latest = clock.seconds() + timeout_s
    while True:
        found = what()
        if isawaitable(found):
            found = await found
        if found:
            return found
        assert clock.seconds() < latest, "it never was so"
        await task.deferLater(clock, 0.02, lambda: None)


def workers_of(proxy: Proxy) -> dict[int, int]:
    """Process id of each worker slot, as the log last reported."""
    found = re.findall(r"worker (\d+) is serving \(pid=(\d+)\)", proxy.log)
    return {int(slot): int(pid) for slot, pid in found}


def alive(pids: Collection[int]) -> list[int]:
    """Process ids that still run; a zombie does not count."""
    running = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            running.append(pid)
    return running


async def start_workers(processes: Processes, upstream: str, options: str = "", top: str = "") -> Proxy:
    """A proxy with two workers, both of which serve."""
    redis = WITH_REDIS.format(port=(await processes.redis()).port)
    proxy = await processes.proxy(upstream, top=f"workers = 2\n{top}", options=redis + options)
    await proxy.until_said("hospproxy admin on")
    return proxy


def begin(processes: Processes, folder: Path, *flags: str, top: str = "", **env: str) -> Proxy:
    """Start twistd with two workers and do not wait. There is no Redis."""
    proxy = Proxy("hospproxy", port=free_port(), plain_port=free_port(), admin_port=free_port())
    proxy.state = folder / "state"
    file = folder / "workers.toml"
    redis = WITH_REDIS.format(port=free_port())
    file.write_text(proxy_options(proxy, "http://127.0.0.1:1", f"workers = 2\n{top}", redis))
    processes.start(proxy, [*twistd_command(), *flags, "hospproxy", "--config", str(file)], env=env)
    return proxy


def environment_of(pid: int) -> bytes:
    """Environment with which a process was started."""
    return Path(f"/proc/{pid}/environ").read_bytes() if os.geteuid() == 0 else b""
