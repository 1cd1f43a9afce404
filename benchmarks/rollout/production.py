"""The production instances: each is started once. After that, versions take over from one another."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from .version import command

_STOP_S = 45.0


class Production:
    """Processes that are known by the options file on their command line.

    :param folder: holds ``NAME.toml``, and gets ``NAME.log``.
    """

    def __init__(self, folder: Path, versions: Path) -> None:
        self._folder = folder
        self._versions = versions
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, version: str) -> None:
        """Start an instance."""
        with (self._folder / f"{name}.log").open("ab") as log:
            self._started.append(
                subprocess.Popen(
                    command(self._versions, version, self._folder / f"{name}.toml"),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder,
                    start_new_session=True,
                )
            )  # fmt: skip

    def stop(self) -> None:
        """End all processes of this site: production, and what a killed rollout may have left."""
        for number, wait_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, 5.0)):
            for pid in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            latest = time.monotonic() + wait_s
            while self._processes() and time.monotonic() < latest:
                for each in self._started:
                    each.poll()
                time.sleep(0.1)

    def _processes(self) -> list[int]:
        found, mark = [], f"{self._folder}/".encode()
        for each in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (each / "cmdline").read_bytes().split(b"\0") if each.name.isdecimal() else []
                if any(word.startswith(mark) and word.endswith(b".toml") for word in words):
                    found.append(int(each.name))
        return found
