"""Machines of several workers that share a Redis, for tests: they have one master key and keep their ports."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

from benchmarks.machines.site import descendants, send

from .ports import free_port
from .processes import Processes, Proxy
from .redis_server import Redis

QUICK = "heartbeat_s = 0.2\nlease_s = 1.0\ntimeout_s = 0.3\nsettle_s = 0.5\n"
"""Further lines of ``[redis]`` with short times, so that a test does not wait for seconds."""


def key_file(folder: Path) -> str:
    """The options line that names the key of all machines; creates the key at the first call."""
    file = folder / "shared-master.key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(os.urandom(32))
    return f"master_key_file = {json.dumps(str(file))}\n"


async def machine(
    processes: Processes,
    folder: Path,
    redis: Redis,
    upstream: str,
    *,
    workers: int = 2,
    options: str = "",
    top: str = "",
    like: Proxy | None = None,
    state: Path | None = None,
) -> Proxy:
    """Start a machine.

    :param state: its state folder; None: a new one.
    :param like: an ended machine whose ports and state it takes over.
    """
    return await processes.proxy(
        upstream,
        top=f"workers = {workers}\n{key_file(folder)}{top}",
        options=redis.section(QUICK) + options,
        state=state if like is None else like.state,
        port=free_port() if like is None else like.port,
        admin_port=free_port() if like is None else like.admin_port,
    )


async def kill_whole(proxy: Proxy) -> None:
    """``kill -9`` of the supervisor and all its workers at once."""
    parent = proxy.pid
    # Stop it first, so that it does not start other workers meanwhile.
    send(parent, signal.SIGSTOP)
    for pid in (parent, *descendants(parent)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await proxy.exit_status()
