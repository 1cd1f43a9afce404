"""A proxy whose options file is edited while it runs, and three ways to have it applied."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from hospproxy.control.client import ask
from hospproxy.control.messages import ControlError
from integration.ports import free_port

from ..processes import is_open, process
from .choices import Choice

PATIENCE_S = 60.0


@frozen
class Reloaded:
    """What became of a reload.

    :param said: what the one who asked was told, or the log.
    """

    applied: bool
    said: str


class Site:
    """The proxy.

    :ivar tls: port of the listener with TLS.
    :ivar plain: port of the listener without.
    """

    def __init__(self, folder: Path, upstream: str) -> None:
        self.state = folder / "state"
        self.tls, self.plain, self.admin = free_port(), free_port(), free_port()
        self._folder = folder
        self._upstream = upstream
        self._file = folder / "hospproxy.toml"
        self._pid = 0

    @contextmanager
    def running(self, choice: Choice) -> Iterator[None]:
        """Run the proxy, beginning with this set of options."""
        self.write(choice)
        with process("hospproxy", ["hospproxy", "--config", str(self._file)], self._folder) as running:
            self._pid = running.pid
            self.until(
                lambda: "hospproxy admin on" in self.log() and is_open(self.plain), "it does not start"
            )
            yield

    def write(self, choice: Choice, more: str = "") -> None:
        """Edit the options file.

        :param more: lines at its end.
        """
        self._file.write_text(
            f'state_dir = "{self.state}"\n{choice.top}\n[upstream]\nurl = "{self._upstream}"\n'
            f'[admin]\nurl = "http://127.0.0.1:{self.admin}"\n'
            f'[[listeners]]\nurl = "https://127.0.0.1:{self.tls}"\n'
            f'[[listeners]]\nurl = "http://127.0.0.1:{self.plain}"\nplain = "serve"\n'
            f"{choice.sections}{more}"
        )

    @property
    def ways(self) -> tuple[tuple[str, Callable[[], Reloaded]], ...]:
        """Every way to reload."""
        return (
            ("SIGHUP", self._hangup),
            ("hospproxyctl reload", lambda: self._command("reload")),
            ("POST /reload", self._post),
        )

    def undo(self) -> Reloaded:
        """Go back to the options before, as ``hospproxyctl undo`` does."""
        return self._command("undo")

    def log(self) -> str:
        return (self._folder / "hospproxy.log").read_text(errors="replace")

    def until(self, true: Callable[[], bool], problem: str) -> None:
        """Wait for something.

        :raise AssertionError: it did not come in time.
        """
        latest = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > latest:
                raise AssertionError(f"{problem}:\n{self.log()[-3000:]}")
            time.sleep(0.005)

    def _hangup(self) -> Reloaded:
        before = len(self.log())

        def said() -> str:
            return self.log()[before:]

        os.kill(self._pid, signal.SIGHUP)
        self.until(lambda: "(generation " in said() or "options not reloaded" in said(), "no reload")
        return Reloaded("(generation " in said(), said())

    def _command(self, name: str) -> Reloaded:
        try:
            return Reloaded(True, json.dumps(ask(self.state, name, {}, lambda _line: None)))
        except ControlError as error:
            return Reloaded(False, "\n".join(error.lines))

    def _post(self) -> Reloaded:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE_S)
        try:
            connection.request("POST", "/reload", "{}", {"Content-Type": "application/json"})
            response = connection.getresponse()
            document = json.loads(response.read())
        finally:
            connection.close()
        return Reloaded(response.status == 200, "\n".join(document.get("lines", [str(document)])))
