"""Two machines with one HOSP and one Redis: neither contradicts what the other has written."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from .http_client import Answer, ask
from .plain_link import reactor_now
from .processes import Processes, Proxy
from .redis_server import Redis

pytest.importorskip("hospproxy.sharing.link")
TIMES = "heartbeat_s = 0.1\nlease_s = 0.8\ntimeout_s = 0.2\nsettle_s = 0.0\n"


class Machines:
    """Two proxies that share a Redis and a master key; each has its own state folder."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.processes = processes
        self.redis = Redis()
        self.key = folder / "shared.key"
        self.key.write_bytes(b"k" * 32)
        self.key.chmod(0o600)
        self.hosp_url = ""
        self.both: list[Proxy] = []

    async def start(self) -> Machines:
        await self.redis.start()
        hosp = await self.processes.hosp("--delay", "none", "--places", "0")
        self.hosp_url = hosp.url
        for _ in range(2):
            self.both.append(await self.proxy())
        for proxy in self.both:
            await self.until_hit(proxy)
        return self

    async def proxy(self, state: Path | None = None) -> Proxy:
        return await self.processes.proxy(
            self.hosp_url,
            top=f'master_key_file = "{self.key}"',
            options=self.redis.section(TIMES),
            state=state,
        )

    async def until_hit(self, proxy: Proxy) -> None:
        """Repeat a read until it is a cache hit."""
        await until(lambda: self._is_hit(proxy))

    async def _is_hit(self, proxy: Proxy) -> bool:
        return "hospproxy; hit" in (await read(proxy)).field("cache-status")  # type: ignore[operator]

    async def end(self) -> None:
        await self.processes.end_all()
        self.redis.end()


@pytest_twisted.async_yield_fixture
async def machines(processes: Processes, tmp_path: Path) -> AsyncIterator[Machines]:
    made = Machines(processes, tmp_path)
    yield await made.start()
    await made.end()


async def until(condition: Callable[[], Any], within_s: float = 60.0) -> None:
    clock = reactor_now()
    latest = clock.seconds() + within_s
    while not await condition():
        assert clock.seconds() < latest, "it did not come about"
        await deferLater(clock, 0.05, lambda: None)


def read(proxy: Proxy) -> Deferred[Answer]:
    return ask(proxy.plain_url, "GET", "/notes/1", user="staff1")


async def write(proxy: Proxy, title: str) -> None:
    answer = await ask(proxy.plain_url, "PATCH", "/notes/1", {"title": title}, user="staff1")
    assert answer.status == 200, answer


async def shows(proxy: Proxy, title: str) -> None:
    answer = await read(proxy)
    assert answer.status == 200
    assert answer.json()["title"] == title, answer.field("cache-status")


@pytest_twisted.ensureDeferred
async def test_what_one_was_told_to_be_stored_the_other_shows_whatever_redis_does(machines: Machines) -> None:
    one, two = machines.both
    for number in range(6):
        await gatherResults([read(one), read(two)])
        writer, reader = (one, two) if number % 2 else (two, one)
        await write(writer, f"title {number}")
        await shows(reader, f"title {number}")
        await shows(writer, f"title {number}")

    machines.redis.signal(signal.SIGSTOP)
    await write(one, "paused")
    await shows(two, "paused")
    assert "no-lease" in ((await read(two)).field("cache-status") or "")
    machines.redis.signal(signal.SIGCONT)
    await machines.until_hit(two)
    await shows(two, "paused")

    machines.redis.kill()
    await write(two, "killed")
    await shows(one, "killed")
    await machines.redis.start()
    for proxy in machines.both:
        await machines.until_hit(proxy)
        await shows(proxy, "killed")

    changed = await ask(one.plain_url, "PATCH", "/staffs/1", {"password": "new password"}, user="staff1")
    assert changed.status == 200
    assert (await read(two)).status == 401
    renewed = await ask(two.plain_url, "GET", "/notes/1", user="staff1", password="new password")
    assert renewed.status == 200


@pytest_twisted.ensureDeferred
async def test_who_stops_says_goodbye_and_who_is_killed_is_buried_by_its_successor(
    machines: Machines,
) -> None:
    one, two = machines.both
    one.signal("KILL")
    await one.exit_status()
    await write(two, "alone")
    next_one = await machines.proxy(one.state)
    await shows(next_one, "alone")
    for proxy in (two, next_one):
        await machines.until_hit(proxy)
        await shows(proxy, "alone")
    assert machines.redis.ask("HLEN", "{hospproxy}:members").strip() == "2"

    await write(next_one, "last words")
    assert await next_one.stop() == 0
    assert machines.redis.ask("HLEN", "{hospproxy}:members").strip() == "1"
    await shows(two, "last words")
    await machines.until_hit(two)
