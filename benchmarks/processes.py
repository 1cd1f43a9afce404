"""Start the processes of a measurement on free loopback ports, and end each by its own id."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from integration.ports import free_port

_START_S = 30.0
_STOP_S = 45.0
_TWISTD = str(Path(sys.executable).parent / "twistd")


class NotStarted(Exception):
    """A process did not start; the message holds the end of its output."""


@contextlib.contextmanager
def process(name: str, arguments: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``twistd`` in the foreground; its output goes to ``folder/name.log``."""
    with (folder / f"{name}.log").open("wb") as log:
        command = [_TWISTD, "-n", "--pidfile=", *arguments]
        running = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@frozen
class Standin:
    """A running stand-in."""

    url: str
    control: str

    def read(self, path: str) -> Any:
        """GET a path of the control port; returns the JSON."""
        return get_json(self.control, path)


@frozen
class Proxy:
    """A running proxy."""

    url: str
    admin: str
    certificate: Path
    pid: int

    def metric(self, name: str) -> float | None:
        """Value of one gauge or counter without labels; None if it does not exist."""
        return self.metrics().get(name)

    def metrics(self) -> dict[str, float]:
        """All metrics, by name and labels as written."""
        lines = get(self.admin, "/metrics").decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


@contextlib.contextmanager
def standin(folder: Path, options: Sequence[str]) -> Iterator[Standin]:
    """Run a fresh stand-in with these options, on a free port."""
    ports = folder / "standin-ports.json"
    where = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--port-file", str(ports)]
    with process("standin", ["hosp-standin", *where, *options], folder) as running:
        _until(ports.exists, running, folder / "standin.log")
        bound = json.loads(ports.read_text())
        yield Standin(f"http://127.0.0.1:{bound['listen']}", f"127.0.0.1:{bound['control']}")


@contextlib.contextmanager
def proxy(folder: Path, upstream: str, options: str = "") -> Iterator[Proxy]:
    """Run the proxy with default options.

    :param options: further lines for its options file.
    """
    port, admin, state = free_port(), f"127.0.0.1:{free_port()}", folder / "state"
    file = folder / "hospproxy.toml"
    file.write_text(
        f'state_dir = "{state}"\n{options}\n[upstream]\nurl = "{upstream}"\n[admin]\nurl = "http://{admin}"\n'
        f'[[listeners]]\nurl = "https://127.0.0.1:{port}"\n'
    )
    with process("hospproxy", ["hospproxy", "--config", str(file)], folder) as running:
        _until(lambda: is_open(port), running, folder / "hospproxy.log")
        yield Proxy(f"https://127.0.0.1:{port}", admin, state / "self-signed.crt", running.pid)


def get(authority: str, path: str) -> bytes:
    """Body of a plain HTTP GET.

    :raise OSError: no response, or not a 200.
    """
    connection = http.client.HTTPConnection(authority, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{authority}{path}: {answer.status}")
    return body


def get_json(authority: str, path: str) -> Any:
    """Like `get`, parsed as JSON."""
    return json.loads(get(authority, path))


def post_json(authority: str, path: str, document: Any) -> None:
    """POST a document.

    :raise OSError: no response, or not a 200.
    """
    connection = http.client.HTTPConnection(authority, timeout=30)
    try:
        connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{authority}{path}: {answer.status}")


def is_open(port: int) -> bool:
    """Whether a process listens on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(ready: Any, running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not ready():
        if running.poll() is not None or time.monotonic() > deadline:
            raise NotStarted(log.read_text(errors="replace")[-3000:])
        time.sleep(0.05)
