"""Half of all POSTs fail after HOSP stored them, some are stored long after: every note must exist exactly once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

from .clients import Clients, Notes, Write
from .processes import Hosp, proxied_hosp
from .table import Table
from .verdict import times

_HOSP = ("--delay", "uniform:0.01:0.08", "--places", "0")
_FAULTS = {"error_after": 0.5, "only_methods": ["POST"], "only_paths": ["/notes"]}
_LATE = {"fault": "late_commit", "method": "POST", "path": "/notes"}
_SETTLE_S = 30.0


async def run(folder: Path, seed: int, *, short: bool) -> Table:
    """1,100 notes, 52 of them stored late (short: 80 and 6)."""
    number, late = (80, 6) if short else (1100, 52)
    table, notes = Table("ambiguous", timed=not short), Notes(random.Random(f"{seed} ambiguous"))
    async with proxied_hosp(folder, *_HOSP, "--seed", str(seed)) as proxied:
        await proxied.hosp.tell("/faults", **_FAULTS)
        async with Clients(proxied.proxy.url, str(proxied.proxy.certificate)) as clients:
            waiting = iter([notes.make() for _ in range(number)])
            every = number // late
            began = time.monotonic()
            await asyncio.gather(
                *(_client(clients, proxied.hosp, waiting, notes, every) for _ in range(min(64, number // 4)))
            )
            table.tell("seconds for all", f"{time.monotonic() - began:.1f}")
        await _no_more_late(proxied.hosp)
        await table.judge(proxied.hosp, notes.made, unsettled=0)
        stats = await proxied.hosp.read("/stats")
        looks = stats["by_route"].get("GET /notes", 0)
        table.tell("looks, a write", f"{looks}, {looks / number:.2f}")
        table.tell("POSTs that HOSP got", stats["by_route"].get("POST /notes", 0))
    answers = [write.told[0] for write in notes.made]
    table.tell("p50 / p95 / p99 / longest of all, s", times([each.seconds for each in answers]))
    refused = sum(not each.succeeded for each in answers)
    table.want("not answered with 201", refused, "0", refused == 0)
    return table


async def _client(clients: Clients, hosp: Hosp, waiting: Iterator[Write], notes: Notes, every: int) -> None:
    for write in waiting:
        if notes.made.index(write) % every == 0:
            await hosp.tell("/script", faults=[_LATE])
        await clients.write(write)


async def _no_more_late(hosp: Hosp) -> None:
    deadline = time.monotonic() + _SETTLE_S
    while (await hosp.read("/stats"))["late_commits"] and time.monotonic() < deadline:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.25)
