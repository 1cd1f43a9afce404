"""A machine was down while the other wrote: what it serves in an outage of HOSP does not contradict those writes."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from .asking import Answer, ask, control
from .processes import Hosp, Processes, Proxy
from .redis_server import Redis
from .test_outage import QUICK
from .test_shared_machines import TIMES, until


class House:
    """Two machines, and a HOSP that can be away."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.processes = processes
        self.redis = Redis()
        self.key = folder / "shared.key"
        self.key.write_bytes(b"k" * 32)
        self.key.chmod(0o600)
        self.hosp: Hosp

    async def start(self) -> House:
        await self.redis.start()
        self.hosp = await self.processes.hosp("--delay", "none", "--places", "0")
        self.one, self.two = [await self.machine() for _ in range(2)]
        return self

    async def machine(self, like: Proxy | None = None) -> Proxy:
        """:param like: an ended machine; its port is reused, because cached responses contain addresses with it."""
        options = QUICK + self.redis.section(TIMES)
        top = f'master_key_file = "{self.key}"'
        state, port = (None, None) if like is None else (like.state, like.port)
        return await self.processes.proxy(self.hosp.url, top=top, options=options, state=state, port=port)

    async def ask(
        self, proxy: Proxy, method: str, path: str, *document: object, user: str = "staff1"
    ) -> Answer:
        return await ask(proxy.url, method, path, *document, user=user)

    async def offline(self) -> None:
        await control(self.hosp.control_url, "POST", "/offline", {"offline": True})


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def house(processes: Processes, tmp_path: Path) -> AsyncIterator[House]:
    made = House(processes, tmp_path)
    yield await made.start()
    await processes.end_all()
    made.redis.end()


async def away_and_back(
    house: House, *, writes: bool = True, flush: bool = False, pause: bool = False
) -> None:
    """The second machine has cached responses and is down while the first one writes; then HOSP goes away."""
    for user in ("staff1", "staff2", "staff3"):
        for path in ("/notes/1", "/hospitals"):
            assert (await house.ask(house.two, "GET", path, user=user)).status == 200
    assert await house.two.stop() == 0
    if writes:
        mine = await house.ask(house.one, "PATCH", "/notes/1", {"title": "mine"}, user="staff2")
        assert mine.status == 200
        changed = await house.ask(house.one, "PATCH", "/staffs/1", {"password": "new password"})
        assert changed.status == 200
    if flush:
        house.redis.ask("FLUSHALL")
    if pause:
        house.redis.signal(signal.SIGSTOP)
    house.two = await house.machine(house.two)
    if not pause:

        async def joined() -> bool:
            there: bool = house.redis.ask("HLEN", "{hospproxy}:members").strip() == "2"
            return there

        await until(joined)
    await house.offline()


async def shown(house: House, path: str, user: str) -> Answer:
    return await house.ask(house.two, "GET", path, user=user)


@pytest_twisted.ensureDeferred
async def test_what_was_revoked_and_hidden_meanwhile_is_given_to_nobody(house: House) -> None:
    await away_and_back(house)

    async def ready() -> bool:
        return (await shown(house, "/hospitals", "staff3")).status == 200

    await until(ready)  # it has dropped only the entries that those writes invalidate
    other = await shown(house, "/notes/1", "staff3")
    assert (other.status, "stale-if-error" in (other.field("cache-status") or "")) == (200, True)
    assert (await shown(house, "/notes/1", "staff2")).status == 503, "it would not show his own change"
    for path in ("/notes/1", "/hospitals"):
        assert (await shown(house, path, "staff1")).status in (401, 502, 503), "the old password"


@pytest_twisted.ensureDeferred
async def test_where_it_cannot_be_known_what_was_said_nothing_is_given(house: House) -> None:
    await away_and_back(house, flush=True)
    for user in ("staff1", "staff2", "staff3"):
        assert (await shown(house, "/notes/1", user)).status in (502, 503), user


@pytest_twisted.ensureDeferred
async def test_nor_while_redis_is_away(house: House) -> None:
    await away_and_back(house, writes=False, pause=True)
    assert (await shown(house, "/notes/1", "staff3")).status in (502, 503)
    house.redis.signal(signal.SIGCONT)

    async def again() -> bool:
        return (await shown(house, "/notes/1", "staff3")).status == 200

    await until(again)
