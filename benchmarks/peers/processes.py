"""Start the processes of a peer, each in a session of its own, on chosen cores; end them by their ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ..processes import NotStarted, is_open
from .process_tree import all_processes, tree

_START_S = 300.0
_STOP_S = 30.0


def pinned(who: Literal["peer", "load", "both"]) -> frozenset[int]:
    """The cores of the peer that is measured, or of load generator and upstream; all, on a machine with one core."""
    cores = sorted(os.sched_getaffinity(0))
    if who == "both" or len(cores) == 1:
        return frozenset(cores)
    return frozenset(cores[:1] if who == "peer" else cores[1:])


def on_cores(command: Sequence[str], cores: frozenset[int]) -> list[str]:
    """The command with its processor affinity set before it starts, so that its children inherit it."""
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]


@contextlib.contextmanager
def run(
    name: str,
    command: Sequence[str],
    folder: Path,
    *,
    ports: Sequence[int],
    cores: frozenset[int],
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run a server until the block ends; yields its process id. Its output goes to ``folder/name.log``.

    :param ports: loopback ports that it opens; the block begins once all are open.
    :raise NotStarted: it ended by itself, or the ports stay closed.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            on_cores(command, cores), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            cwd=folder, env={**os.environ, **(environment or {})}, start_new_session=True,
        )  # fmt: skip
    try:
        latest = time.monotonic() + _START_S
        while not all(is_open(port) for port in ports):
            if running.poll() is not None or time.monotonic() > latest:
                raise NotStarted(f"{name}: {log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.01)
        yield running.pid
    finally:
        end(running)


def end(running: subprocess.Popen[bytes]) -> None:
    """Stop a process politely, then kill it and what is left of its tree, each by its id."""
    family = {(each.pid, each.session) for each in tree(all_processes(), [running.pid])}
    running.terminate()
    try:
        running.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
    # The session tells a process of this family from a new one that was given its id.
    left = family & {(each.pid, each.session) for each in all_processes()}
    for pid, _ in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
