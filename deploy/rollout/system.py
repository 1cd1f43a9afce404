"""What a rollout takes from the system: processes, commands, HTTP, sockets, clocks."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from .plan import Command

MOST_BYTES = 16 << 20
"""Longest response that is read."""
_MARK = "HOSPPROXY_ROLLOUT_INSTANCE"
_PAUSE_S = 0.05
_LAST_BYTES = 2000


class CommandFailed(Exception):
    """A command failed or took too long; the message says which, and the end of its output."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response.

    :param fields: header names in lower case.
    :param tls: the version of TLS; "" without TLS.
    """

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    tls: str = ""


class System(Protocol):
    """Everything with an effect. Tests hand in another one."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def wall(self) -> float:
        """Return seconds since the epoch, for people who read the journal."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def run(self, command: Command) -> str:
        """Run a command to its end, and return its output.

        :raise CommandFailed: it did not exit with 0 in time.
        """

    def finish_command(self, most_s: float) -> None:
        """Wait for a command that a rollout program left behind when it was killed; end it after so many seconds."""

    def fetch(
        self,
        url: str,
        timeout_s: float,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        ca_file: str | None = "",
    ) -> Reply:
        """Send a request.

        :param ca_file: certificates to trust; "": those of the system; None: any certificate.
        :raise OSError: no whole response in time.
        """

    def ask_socket(self, address: str, line: str, timeout_s: float) -> str:
        """Send a line to a path or HOST:PORT, and return all that is replied.

        :raise OSError: no connection, or no end of the reply in time.
        """

    def find(self, name: str) -> int | None:
        """Return the process id of an instance that runs; None if it does not run."""

    def start(self, name: str, words: Sequence[str]) -> int:
        """Start an instance in a session of its own; return its process id.

        :raise CommandFailed: there is no such command.
        """

    def stop(self, name: str, stop_s: float) -> bool:
        """End an instance if it runs: SIGTERM, then SIGKILL for its session. Return whether SIGTERM was enough."""

    def log(self, name: str) -> bytes:
        """Return the output of an instance since it was started."""


class RealSystem:
    """The system.

    Processes carry a mark in their environment. So a rollout that goes on after a crash finds what it has started,
    also what was started in the moment of the crash, and never takes another process for one of its own.

    :param folder: for logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def run(self, command: Command) -> str:
        name = " ".join(command.words)
        # The shell notes its process id, which stays that of the command: so it is known even if this program is
        # killed at this moment. A session of its own: a command that hangs is ended with all that it has started.
        noted = ("/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._command_file))
        # A file, because a command whose pipe nobody reads any more ends in the middle of an upgrade.
        with (self._folder / "command.log").open("w+b") as log:
            try:
                running = subprocess.Popen(
                    (*noted, *command.words), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    start_new_session=True, env={**os.environ, _MARK: self._mark("command")},
                )  # fmt: skip
            except OSError as problem:
                raise CommandFailed(f"{name}: {problem}") from None
            try:
                running.wait(command.timeout_s)
            except subprocess.TimeoutExpired:
                raise CommandFailed(f"{name}: not done after {command.timeout_s:g} s") from None
            finally:
                if running.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(running.pid, signal.SIGKILL)
                    running.wait()
            log.seek(0)
            text = log.read(MOST_BYTES).decode("utf-8", "replace")
        if running.returncode:
            raise CommandFailed(f"{name}: exit status {running.returncode}: {text[-_LAST_BYTES:].strip()}")
        return text

    def finish_command(self, most_s: float) -> None:
        latest = time.monotonic() + most_s
        while (pid := self._left_behind()) is not None:
            if time.monotonic() > latest:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            time.sleep(_PAUSE_S)

    def _left_behind(self) -> int | None:
        try:
            pid = int(self._command_file.read_text())
            entry = Path(f"/proc/{pid}")
            marked = f"{_MARK}={self._mark('command')}".encode() in (entry / "environ").read_bytes().split(
                b"\0"
            )
            return pid if marked and _leads(entry) else None
        except (OSError, ValueError):
            return None

    @property
    def _command_file(self) -> Path:
        return self._folder / "command.pid"

    def fetch(
        self,
        url: str,
        timeout_s: float,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        ca_file: str | None = "",
    ) -> Reply:
        parts = urlsplit(url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.netloc, timeout=timeout_s, context=_context(ca_file)
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
        latest = time.monotonic() + timeout_s
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body or None, dict(headers or {}))
            version = connection.sock.version() if isinstance(connection.sock, ssl.SSLSocket) else ""
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, fields, _body(response, latest), version or "")
        except (http.client.HTTPException, ValueError) as problem:
            raise OSError(f"no HTTP response: {problem!r}") from None
        finally:
            connection.close()

    def ask_socket(self, address: str, line: str, timeout_s: float) -> str:
        latest = time.monotonic() + timeout_s
        with contextlib.closing(_connected(address, timeout_s)) as open_socket:
            open_socket.sendall(line.encode() + b"\n")
            found = bytearray()
            while piece := open_socket.recv(1 << 16):
                found += piece
                if len(found) > MOST_BYTES or time.monotonic() > latest:
                    raise OSError("the reply does not end")
        return found.decode("utf-8", "replace")

    def find(self, name: str) -> int | None:
        child = self._children.get(name)
        if child is not None:
            if child.poll() is None:
                return child.pid
            del self._children[name]
        mark = f"{_MARK}={self._mark(name)}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError, ValueError):
                    # Children inherit the mark; the leader of the session is the process that was started.
                    if mark in (entry / "environ").read_bytes().split(b"\0") and _leads(entry):
                        return int(entry.name)
        return None

    def start(self, name: str, words: Sequence[str]) -> int:
        with self._log(name).open("wb") as log:
            try:
                running = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                    env={**os.environ, _MARK: self._mark(name)},
                )  # fmt: skip
            except OSError as problem:
                raise CommandFailed(f"{' '.join(words)}: {problem}") from None
        self._children[name] = running
        return running.pid

    def stop(self, name: str, stop_s: float) -> bool:
        pid = self.find(name)
        if pid is None:
            return True
        _send(pid, signal.SIGTERM)
        latest = time.monotonic() + stop_s
        while self.find(name) is not None:
            if time.monotonic() > latest:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                while self.find(name) is not None:
                    time.sleep(_PAUSE_S)
                return False
            time.sleep(_PAUSE_S)
        return True

    def log(self, name: str) -> bytes:
        try:
            with self._log(name).open("rb") as file:
                return file.read(MOST_BYTES)
        except FileNotFoundError:
            return b""

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _mark(self, name: str) -> str:
        return f"{self._folder.resolve()}:{name}"


def _leads(entry: Path) -> bool:
    """Whether a process leads its session and has not ended."""
    fields = (entry / "stat").read_text().rpartition(")")[2].split()
    return fields[0] not in "ZX" and fields[3] == entry.name


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    context = ssl.create_default_context()
    if ca_file is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _body(response: http.client.HTTPResponse, latest: float) -> bytes:
    """Read a body within a total time. A socket timeout limits each read only, so a slow sender could hold it open."""
    found = bytearray()
    while piece := response.read1(1 << 16):
        found += piece
        if len(found) > MOST_BYTES or time.monotonic() > latest:
            raise OSError("the response does not end")
    if response.length:
        raise OSError(f"{response.length} bytes of the response are missing")
    return bytes(found)


def _connected(address: str, timeout_s: float) -> socket.socket:
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        return socket.create_connection((host.strip("[]"), int(port)), timeout_s)
    found = socket.socket(socket.AF_UNIX)
    try:
        found.settimeout(timeout_s)
        found.connect(address)
    except OSError:
        found.close()
        raise
    return found
