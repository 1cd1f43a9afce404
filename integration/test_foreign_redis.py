"""A Redis that belongs to another master key: a proxy that starts there can cache next to nothing, and says so."""

from __future__ import annotations

from typing import Any

import pytest_twisted

from .http_client import ask
from .machines import QUICK
from .processes import Processes
from .worker_processes import until


@pytest_twisted.ensureDeferred
async def test_who_has_another_master_key_is_not_ready(processes: Processes) -> None:
    redis, hosp = await processes.redis(), await processes.hosp()
    first = await processes.proxy(hosp.url, options=redis.section(QUICK))

    async def answers() -> bool:
        return (await ask(first.plain_url, "GET", "/hospitals", user="staff1")).status == 200

    await until(answers)
    # A state folder of its own, and so a master key of its own.
    second = await processes.proxy(hosp.url, options=redis.section(QUICK))

    async def reasons() -> Any:
        answer = await ask(second.admin_url, "GET", "/ready")
        return answer.status == 503 and answer.json()["reasons"]

    assert await until(reasons) == {"redis": "Redis holds data made with another master key"}
    assert "give it the others' master_key_file, or another redis.prefix" in second.log
    assert (await ask(first.admin_url, "GET", "/ready")).status == 200
    assert await second.stop() == 0
