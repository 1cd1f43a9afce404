"""HOSP accepts and never responds: memory stays flat, clients get a response by their deadline, other routes work."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..processes import get
from .clients import Answer, Clients, Notes, Person, ids, paced, staff
from .processes import ProxiedHosp, proxied_hosp
from .table import Table
from .verdict import times

_HOSP = ("--delay", "uniform:0.02:0.1", "--places", "0")
_STALLS = {"stall": 1.0, "only_paths": ["/patients", "/patients/*", "/notes"]}
_DEADLINE_S = 28.0
_GRACE_S = 1.0
_QUICK_S = 1.0
_RISEN_BYTES = 32 << 20
"""What a few hundred waiting clients may take: mostly their connections."""
_FLAT_BYTES = 4 << 20
"""How much more it may be later, when as many clients leave as come."""


async def run(folder: Path, seed: int, *, short: bool) -> Table:
    """130 s at 10 requests a second for the stalled routes (short: 12 s)."""
    seconds, table = 12.0 if short else 130.0, Table("stall", timed=not short)
    chance = random.Random(f"{seed} stall")
    notes = Notes(chance)
    async with proxied_hosp(folder, *_HOSP, "--seed", str(seed)) as proxied:
        async with Clients(proxied.proxy.url, str(proxied.proxy.certificate)) as clients:
            await _warm(clients)
            before = proxied.proxy.daemon.memory_bytes()
            await proxied.hosp.tell("/faults", **_STALLS)
            stalled, others, live, memory = await _stalled(proxied, clients, notes, chance, seconds)
            await proxied.hosp.tell("/faults")
        await table.judge(proxied.hosp, notes.made)
    _tell(table, stalled, others, live, [each - before for each in memory])
    return table


async def _warm(clients: Clients) -> None:
    for _ in range(2):
        await asyncio.gather(
            *(clients.ask("GET", path, who) for who in staff() for path in _other_paths(who))
        )


def _other_paths(who: Person) -> list[str]:
    return ["/hospitals", "/staffs/me", f"/hospitals/{who.hospital}"]


async def _stalled(
    proxied: ProxiedHosp, clients: Clients, notes: Notes, chance: random.Random, seconds: float
) -> tuple[list[Answer], list[Answer], list[float], list[int]]:
    """Send requests to routes that stall and to routes that do not, and watch the process."""
    stalled: list[Answer] = []
    others: list[Answer] = []
    live: list[float] = []
    memory: list[int] = []

    async def stalls() -> None:
        if chance.random() < 0.2:
            stalled.append(await clients.write(notes.make()))
        else:
            path = f"/patients/{chance.choice(ids('patients'))}"
            stalled.append(await clients.ask("GET", path, chance.choice(staff())))

    async def goes_on() -> None:
        who = chance.choice(staff())
        others.append(await clients.ask("GET", chance.choice(_other_paths(who)), who))

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.to_thread(get, proxied.proxy.admin, "/live")
            live.append(time.monotonic() - began)
            memory.append(proxied.proxy.daemon.memory_bytes())
            await asyncio.sleep(1.0)

    watching = asyncio.create_task(watch())
    try:
        await asyncio.gather(
            paced(lambda _: 10.0, seconds, stalls), paced(lambda _: 2.0, seconds + 10.0, goes_on)
        )
    finally:
        watching.cancel()
    return stalled, others, live, memory


def _tell(
    table: Table,
    stalled: Sequence[Answer],
    others: Sequence[Answer],
    live: Sequence[float],
    grown: Sequence[int],
) -> None:
    late = sum(each.seconds > _DEADLINE_S + _GRACE_S for each in stalled)
    table.tell("requests that stall", len(stalled))
    words = Counter("unknown" if each.unknown else each.status for each in stalled)
    table.tell("what they were told", ", ".join(f"{word} × {count}" for word, count in words.most_common()))
    table.tell("p50 / p95 / p99 / longest, s", times([each.seconds for each in stalled]))
    table.none("not answered at all", sum(each.status == 0 for each in stalled))
    table.in_time("answered after the deadline", late, "0", late == 0)
    on = sum(each.succeeded for each in others)
    table.want("other routes, read before, answered", f"{on} of {len(others)}", "all", on == len(others))
    table.tell("other routes: p50 / p95 / p99 / longest, s", times([each.seconds for each in others]))
    table.in_time(
        "/live, longest, s", f"{max(live, default=0.0):.2f}", "≤ 1", max(live, default=0.0) <= _QUICK_S
    )
    first, then = _halves(grown)
    table.want("memory risen, MiB", f"{first / 2**20:.1f}", f"≤ {_RISEN_BYTES >> 20}", first <= _RISEN_BYTES)
    more = then - first
    table.want(
        "memory risen after the third deadline, MiB",
        f"{more / 2**20:.1f}",
        f"≤ {_FLAT_BYTES >> 20}",
        more <= _FLAT_BYTES,
    )


def _halves(grown: Sequence[int]) -> tuple[int, int]:
    """The most memory until the third deadline, and after it; there is about one figure for each second.

    Until then the heap finds its size. Measured: it grows for 80 s by 22 MiB, and then for 70 s by 0.6.
    """
    edge = round(3 * _DEADLINE_S + 4.0)
    first = max(grown[:edge], default=0)
    return first, max(grown[edge:], default=first)
