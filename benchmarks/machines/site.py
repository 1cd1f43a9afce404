"""A stand-in, a Redis and some machines on loopback.

Each machine is a proxy with its own workers, ports and state folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from attrs import define, frozen

from integration.ports import free_port

from ..chaos.processes import Daemon, Hosp
from ..processes import NotStarted, get, is_open
from .redis_link import Link
from .redis_server import Store

_READY_S = 60.0


@frozen
class Plan:
    """What to build.

    :param machines: how many.
    :param workers: of each machine.
    :param shared: whether they have a Redis.
    :param concurrency: requests that HOSP gets at one time.
    :param redis: further lines of Redis's own configuration.
    :param leases: further lines of ``[redis]``.
    :param options: further tables of each machine's options file.
    """

    machines: int = 2
    workers: int = 2
    shared: bool = True
    concurrency: int = 8
    redis: Sequence[str] = ("appendonly yes", "appendfsync everysec")
    leases: str = ""
    options: str = ""


@define(eq=False)
class Machine:
    """One proxy with its workers; it may be killed and restarted with the same ports and state."""

    name: str
    daemon: Daemon
    port: int
    secure: int
    admin: str
    state: Path
    link: Link | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.secure}"

    @property
    def certificate(self) -> Path:
        return self.state / "self-signed.crt"

    async def start(self) -> None:
        """Start it, and wait until it reports that it is ready.

        :raise NotStarted: it exited, or was not ready in time.
        """
        await self.daemon.start()
        latest = time.monotonic() + _READY_S
        while not await asyncio.to_thread(self._is_ready):
            if time.monotonic() > latest:
                raise NotStarted(self.daemon.log.read_text(errors="replace")[-3000:])
            await asyncio.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            get(self.admin, "/ready")
        except OSError:
            return False
        return True

    async def stop(self) -> None:
        """Stop it as an operator does."""
        await self.daemon.end()

    async def kill(self) -> None:
        """``kill -9`` of all its processes at once."""
        parent = self.daemon.pid
        # Stop the supervisor first: it must not start another worker while the others are being killed.
        send(parent, signal.SIGSTOP)
        for pid in (parent, *descendants(parent)):
            send(pid, signal.SIGKILL)
        await self.daemon.end(signal.SIGKILL)

    def workers(self) -> list[int]:
        """Process ids of the processes that serve; for a machine with one worker, its only process."""
        try:
            parent = self.daemon.pid
        except AssertionError:
            return []
        return descendants(parent) or [parent]

    def processes(self) -> list[int]:
        """All process ids."""
        return [self.daemon.pid, *descendants(self.daemon.pid)]

    async def metrics(self) -> dict[str, float]:
        """All metrics, by name and labels as written."""
        text = (await asyncio.to_thread(get, self.admin, "/metrics")).decode()
        samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


@define(eq=False)
class Town:
    """The stand-in, the Redis and the machines."""

    hosp: Hosp
    machines: list[Machine]
    store: Store | None
    folder: Path


@contextlib.asynccontextmanager
async def town(folder: Path, plan: Plan, *hosp_options: str) -> AsyncIterator[Town]:
    """Build and start everything; all processes are always ended.

    :param hosp_options: options of ``twistd hosp-standin``.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything goes on
    async with contextlib.AsyncExitStack() as stack:
        hosp = await _hosp(stack, folder, hosp_options)
        store = None
        if plan.shared:
            store = Store(*plan.redis)
            stack.callback(store.end)
            await store.start()
        key = secrets.token_bytes(32)
        machines = [
            await _machine(stack, folder / f"machine{number}", hosp, store, plan, key)
            for number in range(plan.machines)
        ]
        for machine in machines:
            stack.push_async_callback(_end, machine)
        await asyncio.gather(*(machine.start() for machine in machines))
        yield Town(hosp, machines, store, folder)


async def _end(machine: Machine) -> None:
    with contextlib.suppress(AssertionError):
        left = machine.processes()
        await machine.stop()
        for pid in left:
            if _is_ours(pid, machine):
                send(pid, signal.SIGKILL)


def _is_ours(pid: int, machine: Machine) -> bool:
    """Whether a process that should have ended still runs; its number may belong to another process by now."""
    try:
        return Path(f"/proc/{pid}/cwd").resolve() == machine.daemon.folder.resolve()
    except OSError:
        return False


async def _hosp(stack: contextlib.AsyncExitStack, folder: Path, options: Sequence[str]) -> Hosp:
    ports = folder / "standin-ports.json"
    where = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--port-file", str(ports)]
    hosp = Hosp(Daemon("standin", ["hosp-standin", *where, *options], folder, ports.exists))
    stack.push_async_callback(hosp.daemon.end)
    await hosp.daemon.start()
    bound = json.loads(ports.read_text())
    hosp.url, hosp.control = f"http://127.0.0.1:{bound['listen']}", f"127.0.0.1:{bound['control']}"
    return hosp


async def _machine(
    stack: contextlib.AsyncExitStack, own: Path, hosp: Hosp, store: Store | None, plan: Plan, key: bytes
) -> Machine:
    own.mkdir()  # noqa: ASYNC240 - before anything goes on
    link, name = None, own.name
    if store is not None:
        link = Link(store.port)
        await link.start()
        stack.push_async_callback(link.stop)
    secret = own / "master.key"
    secret.write_bytes(key)
    secret.chmod(0o600)
    port, secure, admin, state = free_port(), free_port(), f"127.0.0.1:{free_port()}", own / "state"
    file = own / "hospproxy.toml"
    redis = f'[redis]\nenabled = true\nurl = "redis://127.0.0.1:{link.port}"\n{plan.leases}\n' if link else ""
    file.write_text(
        f'state_dir = "{state}"\nmaster_key_file = "{secret}"\nworkers = {plan.workers}\n'
        f'[upstream]\nurl = "{hosp.url}"\n[admin]\nurl = "http://{admin}"\n'
        f'[[listeners]]\nurl = "http://127.0.0.1:{port}"\nplain = "serve"\n'
        f'[[listeners]]\nurl = "https://127.0.0.1:{secure}"\n'
        f"[gate]\nconcurrency = {plan.concurrency}\n{redis}{plan.options}"
    )
    daemon = Daemon(name, ["hospproxy", "--config", str(file)], own, lambda: is_open(port))
    return Machine(name, daemon, port, secure, admin, state, link)


def descendants(parent: int) -> list[int]:
    """Descendants of a process, the youngest last."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    below.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = list[int](), [parent]
    while waiting:
        children = sorted(below.get(waiting.pop(), []))
        found += children
        waiting += children
    return found


def holder_of(port: int, pids: Sequence[int]) -> int:
    """Which of these processes has the other end of a loopback connection; 0 if none of them.

    :param port: of this end.
    """
    inode = _inode_of(port)
    for pid in pids if inode else ():
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(entry.path) == f"socket:[{inode}]":
                        return pid
    return 0


def _inode_of(port: int) -> str:
    """Inode of the socket whose peer is 127.0.0.1 and this port."""
    peer = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[2] == peer:
            return fields[9]
    return ""


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal, if the process exists."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
