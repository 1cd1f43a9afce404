"""A machine was down while the other wrote: what it serves in an outage of HOSP does not contradict those writes."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from .http_client import Answer, ask, control
from .processes import Hosp, Processes, Proxy
from .redis_server import Redis
from .test_outage import QUICK
from .test_shared_machines import TIMES, until


class Rig:
    """Two machines, and a HOSP that can be away."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.processes = processes
        self.redis = Redis()
        self.key = folder / "shared.key"
        self.key.write_bytes(b"k" * 32)
        self.key.chmod(0o600)
        self.hosp: Hosp

    async def start(self) -> Rig:
        await self.redis.start()
        self.hosp = await self.processes.hosp("--delay", "none", "--places", "0")
        self.one, self.two = [await self.machine() for _ in range(2)]
        return self

    async def machine(self, like: Proxy | None = None) -> Proxy:
        """:param like: an ended machine; its port is reused, because cached responses contain addresses with it."""
        options = QUICK + self.redis.section(TIMES)
        # A read that gets no slot while Redis is away waits until its deadline.
        top = f'master_key_file = "{self.key}"\ndeadline_s = 8.0'
        state, port = (None, None) if like is None else (like.state, like.port)
        return await self.processes.proxy(self.hosp.url, top=top, options=options, state=state, port=port)

    async def ask(
        self, proxy: Proxy, method: str, path: str, *document: object, user: str = "staff1"
    ) -> Answer:
        return await ask(proxy.url, method, path, *document, user=user)

    async def offline(self) -> None:
        await control(self.hosp.control_url, "POST", "/offline", {"offline": True})


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def rig(processes: Processes, tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(processes, tmp_path)
    yield await made.start()
    await processes.end_all()
    made.redis.end()


async def away_and_back(rig: Rig, *, writes: bool = True, flush: bool = False, pause: bool = False) -> None:
    """The second machine has cached responses and is down while the first one writes; then HOSP goes away."""
    for user in ("staff1", "staff2", "staff3"):
        for path in ("/notes/1", "/hospitals"):
            assert (await rig.ask(rig.two, "GET", path, user=user)).status == 200
    assert await rig.two.stop() == 0
    if writes:
        mine = await rig.ask(rig.one, "PATCH", "/notes/1", {"title": "mine"}, user="staff2")
        assert mine.status == 200
        changed = await rig.ask(rig.one, "PATCH", "/staffs/1", {"password": "new password"})
        assert changed.status == 200
    if flush:
        rig.redis.ask("FLUSHALL")
    if pause:
        rig.redis.signal(signal.SIGSTOP)
    rig.two = await rig.machine(rig.two)
    if not pause:

        async def joined() -> bool:
            there: bool = rig.redis.ask("HLEN", "{hospproxy}:members").strip() == "2"
            return there

        await until(joined)
    await rig.offline()


async def shown(rig: Rig, path: str, user: str) -> Answer:
    return await rig.ask(rig.two, "GET", path, user=user)


@pytest_twisted.ensureDeferred
async def test_what_was_revoked_and_hidden_meanwhile_is_given_to_nobody(rig: Rig) -> None:
    await away_and_back(rig)

    async def ready() -> bool:
        return (await shown(rig, "/hospitals", "staff3")).status == 200

    await until(ready)  # it has dropped only the entries that those writes invalidate
    other = await shown(rig, "/notes/1", "staff3")
    assert (other.status, "stale-if-error" in (other.field("cache-status") or "")) == (200, True)
    assert (await shown(rig, "/notes/1", "staff2")).status == 503, "it would not show his own change"
    for path in ("/notes/1", "/hospitals"):
        assert (await shown(rig, path, "staff1")).status in (401, 502, 503), "the old password"


@pytest_twisted.ensureDeferred
async def test_where_it_cannot_be_known_what_was_said_nothing_is_given(rig: Rig) -> None:
    await away_and_back(rig, flush=True)
    for user in ("staff1", "staff2", "staff3"):
        assert (await shown(rig, "/notes/1", user)).status in (502, 503), user


@pytest_twisted.ensureDeferred
async def test_nor_while_redis_is_away(rig: Rig) -> None:
    await away_and_back(rig, writes=False, pause=True)
    assert (await shown(rig, "/notes/1", "staff3")).status in (502, 503)
    rig.redis.signal(signal.SIGCONT)

    async def again() -> bool:
        return (await shown(rig, "/notes/1", "staff3")).status == 200

    await until(again)
