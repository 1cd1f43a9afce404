"""Two machines behind HAProxy as in docs/scale.md: restarted one after the other, and one of them killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from .http_client import journal
from .machines import kill_whole
from .processes import Processes
from .redis_server import Redis
from .scaled_site import NAMES, PASSWORD, Client, Scale, access
from .test_fates import until

CLIENTS = 3


@pytest_twisted.async_yield_fixture
async def scale(processes: Processes, tmp_path: Path) -> AsyncIterator[Scale]:
    """HAProxy, machines, Redis and HOSP, all running."""
    redis = Redis(*access())
    await redis.start()
    try:
        hosp = await processes.hosp("--delay", "uniform:0.01:0.05")
        made = Scale(processes, tmp_path, hosp, redis)
        await made.build()
        yield made
        await processes.end_all()
        made.forget()
    finally:
        redis.end()


@pytest_twisted.ensureDeferred
async def test_who_may_do_what_in_redis() -> None:
    """deploy/scale/redis.conf permits what the scripts and the link need, under the prefix, and nothing else."""
    redis = Redis(*access())
    await redis.start()

    def says(*command: str) -> str:
        return redis.ask("--user", "hospproxy", "--pass", PASSWORD, *command).strip()

    try:
        script = "redis.call('XADD', KEYS[1], '*', 'd', '1'); return redis.call('TIME')[1] ~= ''"
        assert says("EVAL", script, "1", "{hospproxy}:log") == "1"
        assert says("PUBLISH", "{hospproxy}:wake", "x") == "0"
        assert "run_id" in says("INFO", "server")
        assert says("PING") == "PONG"
        for refused in (
            ("SET", "other", "1"),
            ("EVAL", "return redis.call('SET', KEYS[1], '1')", "1", "{another}:head"),
            ("PUBLISH", "other", "x"),
            ("FLUSHALL",),
            ("KEYS", "*"),
            ("CONFIG", "GET", "*"),
            ("ACL", "LIST"),
        ):
            assert "NOPERM" in says(*refused), refused
        assert "NOAUTH" in redis.ask("GET", "{hospproxy}:head")
    finally:
        redis.end()


def go(scale: Scale, *, insists: bool) -> tuple[list[Client], Any]:
    """Run clients during a test, and check the result when they have ended."""
    clients = [Client(scale.front, number, insists) for number in range(CLIENTS)]
    return clients, gatherResults([deferToThread(client.run) for client in clients], consumeErrors=True)


async def served(clients: list[Client], more: int) -> None:
    """Wait until each client has made so many more requests."""
    goals = [client.done + more for client in clients]

    async def reached() -> bool:
        return all(client.done >= goal for client, goal in zip(clients, goals, strict=True))

    await until(reached, "the clients go on", 90.0)


async def is_up(scale: Scale, name: str, status: str = "UP") -> None:
    async def there() -> bool:
        try:
            return scale.column(name, "status").startswith(status)
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # HAProxy has not opened its socket yet

    await until(there, f"{name} is {status}", 90.0)


async def restarted(scale: Scale, name: str) -> None:
    """Restart a machine as docs/scale.md says: drain it in HAProxy, stop it, start it, enable it."""
    scale.tell(f"set server hosp/{name} state drain")

    async def idle() -> bool:
        return scale.column(name, "scur") == "0"

    await until(idle, f"nobody is on {name}", 90.0)
    assert await scale.machines[name].stop() == 0
    await scale.start(name)
    scale.tell(f"set server hosp/{name} state ready")
    await is_up(scale, name)


@pytest.mark.alone
@pytest_twisted.ensureDeferred
async def test_rolling_restart_without_a_failed_request(scale: Scale) -> None:
    for name in NAMES:
        await is_up(scale, name)
    clients, ended = go(scale, insists=False)
    await served(clients, 5)
    for name in NAMES:
        before = int(scale.column(name, "stot"))
        await restarted(scale, name)
        await served(clients, 5)
        assert int(scale.column(name, "stot")) > before, f"{name} takes part"
    for client in clients:
        client.over.set()
    await ended
    assert sum((client.failed for client in clients), Counter()) == Counter()
    await each_once(scale, clients)


@pytest_twisted.ensureDeferred
async def test_a_machine_that_is_killed(scale: Scale) -> None:
    """Its clients retry and reach the other machine; every note is stored once."""
    for name in NAMES:
        await is_up(scale, name)
    clients, ended = go(scale, insists=True)
    await served(clients, 5)
    await kill_whole(scale.machines["one"])
    await is_up(scale, "one", "DOWN")
    # A write that was in flight there goes first: it is taken over once the lease of the dead machine has run out.
    await served(clients, 1)
    failures = [client.failed.total() for client in clients]
    await served(clients, 5)
    for client, before in zip(clients, failures, strict=True):
        assert client.failed.total() == before, client.failed
    await scale.start("one")
    await is_up(scale, "one")
    await served(clients, 5)
    for client in clients:
        client.over.set()
    await ended
    await each_once(scale, clients)


async def each_once(scale: Scale, clients: list[Client]) -> None:
    """Check that HOSP has every acknowledged note once, and no other."""
    stored = Counter(
        entry["fields"]["body"] for entry in await journal(scale.hosp.control_url, "stored", "notes")
    )
    wanted = Counter(text for client in clients for text in client.stored)
    assert wanted and stored == wanted
