"""A real Redis for tests: on a free loopback port, its data in a folder of its own, ended by the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet import task

from .ports import free_port

_START_S = 60.0


class Redis:
    """One server.

    :ivar port: on 127.0.0.1; the same over restarts.
    :param options: further lines of its configuration ("appendonly yes", "maxmemory 1mb", "user …").
    """

    def __init__(self, *options: str) -> None:
        found = shutil.which("redis-server")
        assert found, "redis-server is not here: apt-get install redis-server"
        self._command = found
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="hospproxy-redis-"))
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def section(self, more: str = "") -> str:
        """The section of an options file that names it."""
        return f'[redis]\nenabled = true\nurl = "{self.url}"\n{more}\n'

    async def start(self, *options: str) -> None:
        """Start it and wait until it responds.

        :param options: further lines, for this start only.
        """
        from twisted.internet import reactor

        self.launch(*options)
        clock = cast(Any, reactor)
        latest = clock.seconds() + _START_S
        while not self.answers:
            self.must_run()
            assert clock.seconds() < latest, self.log[-2000:]
            await task.deferLater(clock, 0.02, lambda: None)

    def launch(self, *options: str) -> None:
        """Start it without waiting."""
        lines = [
            "bind 127.0.0.1", f"port {self.port}", f"dir {self.folder}", "daemonize no", "protected-mode yes",
            'save ""', "logfile redis.log", *self._options, *options,
        ]  # fmt: skip
        configuration = self.folder / "redis.conf"
        configuration.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen([self._command, str(configuration)], cwd=self.folder)

    @property
    def answers(self) -> bool:
        """Whether it responds, even if it asks for a password."""
        return self.ask("PING").strip() in ("PONG", "NOAUTH Authentication required.")

    @property
    def log(self) -> str:
        """What it has logged."""
        file = self.folder / "redis.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def must_run(self) -> None:
        """Check that it has not ended.

        :raise AssertionError: it has ended by itself.
        """
        assert self._process is not None and self._process.poll() is None, self.log[-2000:]

    def ask(self, *command: str) -> str:
        """Output of redis-cli for a command; blocks for some milliseconds."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), "--no-auth-warning", *command],
            capture_output=True, timeout=10, check=False,
        )  # fmt: skip
        return (done.stdout or done.stderr).decode("utf-8", "replace")

    def signal(self, number: int) -> None:
        """Send a signal: SIGSTOP pauses it, SIGCONT lets it continue."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it like a crash."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def end(self) -> None:
        """End it, and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
