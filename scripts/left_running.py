"""Kill the processes that a test run left running, by process id, and report them: exit status 1. Linux only.

A process belongs to the run if its environment has the run's value of HOSPPROXY_RUN. This script and the shell that
called it do not count.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

_PATIENCE_S = 5.0


def ancestors() -> set[int]:
    """Process ids of this process and its ancestors."""
    found, pid = set(), os.getpid()
    while pid > 1:
        found.add(pid)
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
    return found


def left(mark: bytes) -> dict[int, str]:
    """Process id → command of the running processes whose environment carries `mark`."""
    found, own = {}, ancestors()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) in own:
            continue
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found[int(folder.name)] = command.strip()
        except OSError:
            continue  # it has just ended, or belongs to another user
    return found


def main() -> int:
    """Return 0 if nothing was left running."""
    mark = f"HOSPPROXY_RUN={os.environ.get('HOSPPROXY_RUN', '')}".encode()
    if mark.endswith(b"="):
        return 0
    latest = time.monotonic() + _PATIENCE_S
    while (found := left(mark)) and time.monotonic() < latest:
        time.sleep(0.1)
    for pid, command in found.items():
        print(f"✗ left running and killed: {pid} {command}", file=sys.stderr)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
