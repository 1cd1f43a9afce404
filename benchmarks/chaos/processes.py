"""The processes of a scenario on loopback: a stand-in, and a proxy in front of it that may be killed and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from integration.ports import free_port

from ..processes import NotStarted, get, get_json, is_open

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 60.0
_STOP_S = 45.0


@define(eq=False)
class Daemon:
    """One ``twistd`` service that can be restarted; its output goes to ``folder/name.log``.

    :param ready: whether it can be used now.
    """

    name: str
    arguments: Sequence[str]
    folder: Path
    ready: Callable[[], bool]
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Its process id, while it runs."""
        assert self._running is not None, f"{self.name} does not run"
        return self._running.pid

    async def start(self) -> None:
        """Start it, and wait until it is ready.

        :raise NotStarted: it exited, or was not ready in time.
        """
        twistd = str(Path(sys.executable).parent / "twistd")
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(  # noqa: ASYNC220 - waited for below
                [twistd, "-n", "--pidfile=", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path},
            )
        deadline = time.monotonic() + _START_S
        while not self.ready():
            if self._running.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(self.log.read_text(errors="replace")[-3000:])
            await asyncio.sleep(0.05)

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; kill it if it does not end in time."""
        running, self._running = self._running, None
        if running is None:
            return
        running.send_signal(how)
        deadline = time.monotonic() + _STOP_S
        try:
            while running.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - a process
                await asyncio.sleep(0.02)
        finally:
            # A scenario that was cancelled must not leave processes behind, either.
            if running.poll() is None:
                running.kill()
                running.wait()

    def memory_bytes(self) -> int:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@define(eq=False)
class Hosp:
    """The stand-in. Its control port is called in a thread, so that the clients' clock goes on."""

    daemon: Daemon
    url: str = ""
    control: str = ""

    async def read(self, path: str) -> Any:
        """GET a path of the control port; returns the JSON."""
        return await asyncio.to_thread(get_json, self.control, path)

    async def tell(self, path: str, **document: object) -> Any:
        """POST to the control port."""
        return await asyncio.to_thread(_post, f"http://{self.control}{path}", document)

    async def journal(self, kinds: str, resource: str = "") -> list[dict[str, Any]]:
        """Journal entries of some kinds.

        :raise RuntimeError: the journal has dropped entries.
        """
        found = await self.read(f"/journal?kind={kinds}" + (f"&resource={resource}" if resource else ""))
        if found["dropped"]:
            raise RuntimeError("the journal of the stand-in is not whole")
        entries: list[dict[str, Any]] = found["entries"]
        return entries


@define(eq=False)
class Proxy:
    """The proxy with default options, with one port and one state folder over all its restarts."""

    daemon: Daemon
    url: str
    admin: str
    certificate: Path

    async def start(self) -> None:
        """Start it, or start it again."""
        await self.daemon.start()

    async def kill(self) -> None:
        """``kill -9``."""
        await self.daemon.end(signal.SIGKILL)

    async def stop(self) -> None:
        """Stop it as an operator does."""
        await self.daemon.end()

    async def metric(self, name: str) -> float:
        """Value of one gauge or counter, summed over its labels."""
        text = (await asyncio.to_thread(get, self.admin, "/metrics")).decode()
        lines = [line for line in text.splitlines() if line.partition(" ")[0].partition("{")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@define(eq=False)
class ProxiedHosp:
    """A stand-in and a proxy in front of it."""

    hosp: Hosp
    proxy: Proxy


@contextlib.asynccontextmanager
async def proxied_hosp(folder: Path, *hosp_options: str, options: str = "") -> AsyncIterator[ProxiedHosp]:
    """Run a fresh stand-in and a fresh proxy in front of it; both are always ended.

    :param hosp_options: options of ``twistd hosp-standin``.
    :param options: further lines for the proxy's options file.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything goes on
    ports = folder / "standin-ports.json"
    where = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--port-file", str(ports)]
    hosp = Hosp(Daemon("standin", ["hosp-standin", *where, *hosp_options], folder, ports.exists))
    try:
        await hosp.daemon.start()
        bound = json.loads(ports.read_text())
        hosp.url, hosp.control = f"http://127.0.0.1:{bound['listen']}", f"127.0.0.1:{bound['control']}"
        proxy = _proxy(folder, hosp.url, options)
        try:
            await proxy.start()
            yield ProxiedHosp(hosp, proxy)
        finally:
            await proxy.stop()
    finally:
        await hosp.daemon.end()


def _proxy(folder: Path, upstream: str, options: str) -> Proxy:
    port, admin, state = free_port(), free_port(), folder / "state"
    file = folder / "hospproxy.toml"
    file.write_text(
        f'state_dir = "{state}"\n{options}\n[upstream]\nurl = "{upstream}"\n'
        f'[admin]\nurl = "http://127.0.0.1:{admin}"\n[[listeners]]\nurl = "https://127.0.0.1:{port}"\n'
    )
    daemon = Daemon("hospproxy", ["hospproxy", "--config", str(file)], folder, lambda: is_open(port))
    return Proxy(daemon, f"https://127.0.0.1:{port}", f"127.0.0.1:{admin}", state / "self-signed.crt")


def _post(url: str, document: object) -> Any:
    request = urllib.request.Request(url, json.dumps(document).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
