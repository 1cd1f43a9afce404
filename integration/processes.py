"""Real processes for tests: started on free loopback ports, waited for, ended by their own id, their logs kept.

    async def test_it(processes: Processes) -> None:
        hosp = await processes.hosp("--delay", "none", "--places", "0")
        proxy = await processes.proxy(hosp.url, options="[cache]\nenabled = false\n")
        ...                       # proxy.url, proxy.plain_url, proxy.admin_url, hosp.control_url
        assert await proxy.stop() == 0

The fixture ``processes`` (conftest.py) ends every process that a test leaves running, and shows the logs of a test
that failed. Nothing here blocks the reactor: a test may run a stand-in of its own in the same process.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import define, field
from twisted.internet import defer, error, protocol, task
from twisted.internet.interfaces import IProcessTransport
from twisted.python.failure import Failure

from .fork_client import SERVER
from .journal_files import content, journal_files
from .ports import free_port
from .redis_server import Redis

START_S = 60.0
STOP_S = 40.0  # the proxy's own drain is 30 s by default
_POLL_S = 0.02
_LOG_BYTES = 4 << 20


def twistd_command() -> list[str]:
    """``twistd`` of the environment that runs the tests, in the foreground and without a pid file."""
    return [sys.executable, str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile="]


class ProcessFailed(AssertionError):
    """A process that exited, did not get ready or did not stop; the message holds the end of its log."""


@define(eq=False)
class Running(protocol.ProcessProtocol):
    """A started process.

    :param name: names it in messages.
    :param status: its exit status once it has ended; a negative number is the signal that ended it.
    """

    name: str
    status: int | None = None
    _waiting: list[defer.Deferred[None]] = field(factory=list, init=False)
    _log: bytearray = field(factory=bytearray, init=False)
    _transport: IProcessTransport | None = field(default=None, init=False)

    @property
    def log(self) -> str:
        """What it has written to stdout and stderr, the last 4 MiB."""
        return self._log.decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """Its process id, while it runs."""
        assert self._transport is not None and self._transport.pid is not None, f"{self.name} has ended"
        return cast(int, self._transport.pid)

    def signal(self, name: str) -> None:
        """Send it a signal: "TERM", "INT", "HUP", "KILL" …; does nothing if it has ended."""
        if self.status is None and self._transport is not None:
            with contextlib.suppress(error.ProcessExitedAlready):
                self._transport.signalProcess(name)

    async def exit_status(self, timeout_s: float = STOP_S) -> int:
        """Wait until it exits by itself.

        :raise ProcessFailed: it still runs after `timeout_s`.
        """
        from twisted.internet import reactor

        if self.status is None:
            waiting: defer.Deferred[None] = defer.Deferred()
            self._waiting.append(waiting)
            try:
                await waiting.addTimeout(timeout_s, cast(Any, reactor))
            except defer.TimeoutError:
                raise ProcessFailed(
                    f"{self.name} still runs after {timeout_s} s:\n{self.log[-4000:]}"
                ) from None
        assert self.status is not None
        return self.status

    async def until_said(self, words: str, timeout_s: float = START_S) -> str:
        """Wait until its log holds `words`, and return the log.

        :raise ProcessFailed: it exited, or `timeout_s` passed, without them.
        """
        from twisted.internet import reactor

        clock = cast(Any, reactor)
        latest = clock.seconds() + timeout_s
        while words not in self.log:
            if self.status is not None or clock.seconds() > latest:
                raise ProcessFailed(f"{self.name} never said {words!r}:\n{self.log[-4000:]}")
            await task.deferLater(clock, _POLL_S, lambda: None)
        return self.log

    async def stop(self, signal: str = "TERM", timeout_s: float = STOP_S) -> int:
        """Ask it to stop, wait for it, and return its exit status.

        :raise ProcessFailed: it did not stop in time, and was killed.
        """
        self.signal(signal)
        try:
            return await self.exit_status(timeout_s)
        except ProcessFailed:
            self.signal("KILL")
            await self.exit_status(10.0)
            raise

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep its output (ProcessProtocol)."""
        self._log += data
        del self._log[:-_LOG_BYTES]

    def processEnded(self, reason: Failure) -> None:
        """It has exited and its output is read (ProcessProtocol)."""
        ended = reason.value
        assert isinstance(ended, error.ProcessDone | error.ProcessTerminated)
        self.status = -ended.signal if ended.signal else int(ended.exitCode or 0)
        for waiting in self._waiting:
            if not waiting.called:
                waiting.callback(None)

    def makeConnection(self, transport: IProcessTransport) -> None:
        """It has been started (ProcessProtocol)."""
        self._transport = transport


@define(eq=False)
class Hosp(Running):
    """A stand-in HOSP in a process of its own (``twistd hosp-standin``)."""

    port: int = 0
    control_port: int = 0

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def control_url(self) -> str:
        """Base URL of its journal and its faults."""
        return f"http://127.0.0.1:{self.control_port}"


@define(eq=False)
class Proxy(Running):
    """hospproxy in a process of its own."""

    port: int = 0
    plain_port: int = 0
    admin_port: int = 0
    state: Path = Path()
    config: Path = Path()

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT``; its certificate is self-signed unless the test names one."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def plain_url(self) -> str:
        """URL of the plain listener, for tests that are not about TLS."""
        return f"http://127.0.0.1:{self.plain_port}"

    @property
    def admin_url(self) -> str:
        """``/live``, ``/ready``, ``/metrics``."""
        return f"https://127.0.0.1:{self.admin_port}"

    def records(self, besides: tuple[str, ...] = ("begin", "digest", "admin")) -> list[dict[str, Any]]:
        """Every whole line of the audit journal, in order, except the journal's own records and those of its start.

        :param besides: kinds that are left out.
        """
        found: list[dict[str, Any]] = []
        for path in journal_files(self.state / "audit"):
            found += [json.loads(line) for line in content(path).splitlines() if line.endswith(b"}")]
        return [record for record in found if record["kind"] not in besides]


class Processes:
    """Starts processes for one test and ends them.

    :param folder: of this test; each process gets a folder of its own in it.
    :param forks: whether proxies and stand-ins are forked from a process that has imported everything, which saves
        the second that the imports take. Otherwise each is started as an operator starts it.
    """

    def __init__(self, folder: Path, *, forks: bool = True) -> None:
        self.folder = folder
        # A fork would not be measured.
        self.forks = forks and not any(name.startswith("COVERAGE_PROCESS") for name in os.environ)
        self.started: list[Running] = []
        self._redis: list[Redis] = []

    async def redis(self, *options: str) -> Redis:
        """A Redis of its own; see redis_server.py."""
        redis = Redis(*options)
        self._redis.append(redis)
        await redis.start()
        return redis

    def start(
        self,
        running: Running,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start a command.

        :param env: added to the environment of the tests (through which coverage reaches its subprocesses).
        """
        from twisted.internet import reactor

        self.started.append(running)
        cast(Any, reactor).spawnProcess(
            running,
            command[0],
            list(command),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            path=str(cwd or self.folder),
            childFDs={0: open_nothing(), 1: "r", 2: "r"},
        )

    def twistd(self, running: Running, *arguments: str) -> None:
        """Start ``twistd`` with these arguments, forked if this test forks."""
        if not self.forks:
            self.start(running, [*twistd_command(), *arguments])
            return
        self.started.append(running)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        SERVER.start(running, [*twistd_command()[1:], *arguments], environment, self.folder)

    async def run(self, name: str, *command: str, timeout_s: float = 60.0, **more: Any) -> Running:
        """Start a command and wait until it exits; its ``status`` and ``log`` are then available."""
        running = Running(name)
        self.start(running, command, **more)
        await running.exit_status(timeout_s)
        return running

    async def hosp(self, *options: str, port: int | None = None) -> Hosp:
        """A stand-in HOSP that responds at once unless `options` (of ``twistd hosp-standin``) say otherwise."""
        hosp = Hosp("hosp-standin", port=port or free_port(), control_port=free_port())
        places = ["--listen", f"127.0.0.1:{hosp.port}", "--control", f"127.0.0.1:{hosp.control_port}"]
        quick = ["--delay", "none", "--places", "0"]
        self.twistd(hosp, "hosp-standin", *places, *quick, *options)
        await self.until_open(hosp, hosp.port, hosp.control_port)
        return hosp

    async def proxy(
        self,
        upstream: str,
        *,
        options: str = "",
        top: str = "",
        listener: str = "",
        state: Path | None = None,
        port: int | None = None,
        admin_port: int | None = None,
        within: Sequence[str] = (),
    ) -> Proxy:
        """hospproxy in front of `upstream`: TLS with a self-signed certificate, a plain port that serves, admin.

        :param options: tables (TOML) at the end of its file, other than ``[[listeners]]``, ``[upstream]``,
            ``[admin]``.
        :param top: keys at the top of its file.
        :param listener: keys of the ``https://`` listener.
        :param state: a folder that was used before; a fresh one otherwise.
        :param within: a command that runs the command line after it, to limit it.
        """
        number = len(self.started)
        ports = {"plain_port": free_port(), "admin_port": admin_port or free_port()}
        proxy = Proxy("hospproxy", port=port or free_port(), **ports)
        proxy.state = state or self.folder / f"state-{number}"
        proxy.config = file = self.folder / f"hospproxy-{number}.toml"
        file.write_text(proxy_options(proxy, upstream, top, options, listener))
        if within:
            self.start(proxy, [*within, *twistd_command(), "hospproxy", "--config", str(file)])
        else:
            self.twistd(proxy, "hospproxy", "--config", str(file))
        await self.until_open(proxy, proxy.port, proxy.plain_port, proxy.admin_port)
        return proxy

    async def until_open(self, running: Running, *ports: int, timeout_s: float = START_S) -> None:
        """Wait until a process accepts connections on all of `ports`.

        :raise ProcessFailed: it exited, or `timeout_s` passed.
        """
        from twisted.internet import reactor

        clock = cast(Any, reactor)
        latest = clock.seconds() + timeout_s
        for port in ports:
            while not is_open(port):
                if running.status is not None:
                    raise ProcessFailed(f"{running.name} ended with {running.status}:\n{running.log[-4000:]}")
                if clock.seconds() > latest:
                    raise ProcessFailed(f"{running.name} opened no port {port}:\n{running.log[-4000:]}")
                await task.deferLater(clock, _POLL_S, lambda: None)

    async def end_all(self) -> None:
        """End what still runs, the latest first.

        :raise ProcessFailed: a process had to be killed.
        """
        failed = []
        for running in reversed(self.started):
            if running.status is None:
                try:
                    await running.stop()
                except ProcessFailed as problem:
                    failed.append(str(problem))
        for redis in self._redis:
            redis.end()
        if failed:
            raise ProcessFailed("\n".join(failed))


def proxy_options(proxy: Proxy, upstream: str, top: str = "", options: str = "", listener: str = "") -> str:
    """The options file of a proxy with its ports."""
    return f"""
state_dir = {json.dumps(str(proxy.state))}
{top}
[upstream]
url = {json.dumps(upstream)}
[[listeners]]
url = "https://127.0.0.1:{proxy.port}"
{listener}
[[listeners]]
url = "http://127.0.0.1:{proxy.plain_port}"
plain = "serve"
[admin]
url = "https://127.0.0.1:{proxy.admin_port}"
{options}
"""


def is_open(port: int) -> bool:
    """Whether a process accepts connections on a loopback port; returns at once."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def open_nothing() -> int:
    """A descriptor that yields no data: a child must not read the terminal of the tests."""
    return _NOTHING


_NOTHING = os.open(os.devnull, os.O_RDONLY)
