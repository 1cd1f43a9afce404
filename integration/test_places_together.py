"""HOSP never gets more concurrent requests than one machine may send, however many workers and machines there are."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest_twisted
from attrs import define, field
from twisted.internet import reactor, task
from twisted.internet.defer import gatherResults

from .http_client import ask, control
from .machines import machine
from .processes import Hosp, Processes, Proxy
from .redis_server import Redis

PLACES = 5
CLIENTS = 10


@define
class Load:
    """Clients that bypass the cache (``no-cache``), in turn on each machine."""

    machines: list[Proxy]
    statuses: Counter[int] = field(factory=Counter)
    asked: int = 0

    async def one(self) -> None:
        self.asked += 1
        asked = self.machines[self.asked % len(self.machines)]
        answer = await ask(
            asked.plain_url,
            "GET",
            f"/patients/{self.asked % 100 + 1}",
            user=f"staff{self.asked % 12 + 1}",
            headers={"Cache-Control": "no-cache"},
        )
        self.statuses[answer.status] += 1

    async def during(self, what: Callable[[], Awaitable[None]]) -> None:
        """Continue until something has ended, and for two rounds more."""
        going = cast(Any, _deferred(what()))
        rounds = 2
        while rounds:
            await gatherResults([_deferred(self.one()) for _ in range(CLIENTS)])
            rounds -= bool(going.called)
        await going


def _deferred(awaited: Awaitable[None]) -> Any:
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(cast(Any, awaited))


async def most_at_once(hosp: Hosp) -> int:
    return int((await control(hosp.control_url, "GET", "/stats"))["max_working"])


@pytest_twisted.ensureDeferred
async def test_the_sum_of_all_workers_stays_within_the_limit(processes: Processes, tmp_path: Path) -> None:
    """Under load, while Redis is paused and resumed, and while it is killed and comes back empty."""
    redis = Redis()
    await redis.start()
    try:
        hosp = await processes.hosp("--delay", "uniform:0.05:0.15")
        options = f"[gate]\nconcurrency = {PLACES}\n"
        load = Load([await machine(processes, tmp_path, redis, hosp.url, options=options) for _ in range(2)])

        async def nothing() -> None:
            pass

        async def pause() -> None:
            redis.signal(signal.SIGSTOP)
            await task.deferLater(cast(Any, reactor), 1.5, lambda: None)
            redis.signal(signal.SIGCONT)

        async def kill() -> None:
            redis.kill()
            await task.deferLater(cast(Any, reactor), 1.0, lambda: None)
            await redis.start()

        for what in (nothing, pause, kill):
            await load.during(what)
            assert await most_at_once(hosp) <= PLACES, what.__name__
        assert set(load.statuses) <= {200, 503}, load.statuses
        assert load.statuses[200] > load.statuses[503]
        # The limit was effective: the clients wanted more.
        assert await most_at_once(hosp) > PLACES // 2
    finally:
        redis.end()
