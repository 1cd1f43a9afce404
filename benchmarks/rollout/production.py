"""``python -m benchmarks.rollout.production FOLDER NAME VERSION``: replace a production instance by another version.

It stands for an operator's own command: it ends the process that runs and starts the other version in its place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_STOP_S = 45.0


def start(folder: Path, name: str, version: str) -> None:
    """Start an instance by its options file ``NAME.toml``; note its process id in ``NAME.pid``."""
    with (folder / f"{name}.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.rollout.version", version, "none", str(folder / f"{name}.toml")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
    (folder / f"{name}.pid").write_text(str(running.pid))


def stop(folder: Path, name: str) -> None:
    """End an instance, if it runs."""
    file = folder / f"{name}.pid"
    if not file.exists():
        return
    pid = int(file.read_text())
    latest = time.monotonic() + _STOP_S
    number = signal.SIGTERM
    while _is_there(pid):
        os.kill(pid, number)
        if time.monotonic() > latest:
            number = signal.SIGKILL
        time.sleep(0.1)
    file.unlink()


def _is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended is collected if it is a child of this process."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def main(arguments: list[str]) -> None:
    """Replace one instance."""
    folder, name, version = Path(arguments[0]), arguments[1], arguments[2]
    stop(folder, name)
    start(folder, name, version)


if __name__ == "__main__":
    main(sys.argv[1:])
