"""``kill -9`` at seeded moments; clients repeat what got no definite response. Each write must exist exactly once."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from .clients import Answer, Clients, Notes, Person, ids, staff
from .processes import ProxiedHosp, proxied_hosp
from .table import Table
from .verdict import times

SCREENING_TITLE = "Screening result"
_HOSP = ("--delay", "uniform:0.02:0.3", "--places", "5")
FAULTS = {
    "error_after": 0.06,
    "error_before": 0.03,
    "reset_after": 0.04,
    "truncated": 0.02,
    "late_commit": 0.03,
    "only_methods": ["POST"],
}
_INSIST_S = 150.0
_SETTLE_S = 60.0


@define(eq=False)
class Screening:
    """One logical screening; no two share both author and patient."""

    who: Person
    patient: int
    told: list[Answer] = field(factory=list)


@define(eq=False)
class _Work:
    """The load while the proxy is killed."""

    clients: Clients
    notes: Notes
    chance: random.Random
    pairs: list[tuple[Person, int]]
    screenings: list[Screening] = field(factory=list)
    tasks: list[asyncio.Task[Any]] = field(factory=list)
    over: bool = False

    async def begin(self, rate: float, share: float) -> None:
        """Start new work at a rate until the kills are over, even if older work is stuck.

        :param share: share of screenings in it.
        """
        while not self.over:
            if self.pairs and self.chance.random() < share:
                work = self._screen(Screening(*self.pairs.pop()))
            else:
                work = self._write()
            self.tasks.append(asyncio.create_task(work))
            await asyncio.sleep(self.chance.expovariate(rate))

    async def _write(self) -> None:
        write = self.notes.make(key=self.chance.random() < 0.5)
        await self.clients.insist(write, time.monotonic() + 1000.0)

    async def _screen(self, screening: Screening) -> None:
        self.screenings.append(screening)
        path = f"/patients/{screening.patient}/screen"
        document = {"images": [f"image of {screening.patient}", "another"]}
        while not any(each.succeeded for each in screening.told):
            screening.told.append(await self.clients.ask("POST", path, screening.who, document))
            await asyncio.sleep(0.3)


async def run(folder: Path, seed: int, *, short: bool) -> Table:
    """50 kills (short: 5)."""
    kills, table, chance = 5 if short else 50, Table("kill", timed=not short), random.Random(f"{seed} kill")
    pairs = [(who, patient) for who in staff() for patient in ids("patients")]
    chance.shuffle(pairs)
    async with proxied_hosp(folder, *_HOSP, "--seed", str(seed)) as proxied:
        await proxied.hosp.tell("/faults", **FAULTS)
        async with Clients(proxied.proxy.url, str(proxied.proxy.certificate)) as clients:
            work = _Work(clients, Notes(chance), chance, pairs[:400])
            starts = await _kills(proxied, work, kills, random.Random(f"{seed} moments"))
            stuck = await _finish(work)
        await settle(proxied)
        await _tell(table, proxied, work, starts, stuck)
    return table


async def _kills(proxied: ProxiedHosp, work: _Work, number: int, moments: random.Random) -> list[float]:
    starts = []
    going = asyncio.create_task(work.begin(rate=6.0, share=0.25))
    try:
        for _ in range(number):
            await asyncio.sleep(moments.uniform(0.2, 2.2))
            await proxied.proxy.kill()
            began = time.monotonic()
            await proxied.proxy.start()
            starts.append(time.monotonic() - began)
    finally:
        work.over = True
    await going
    return starts


async def _finish(work: _Work) -> int:
    """Wait for work in flight; return how much never got a definite response."""
    _done, left = await asyncio.wait(work.tasks, timeout=_INSIST_S)
    for task in left:
        task.cancel()
    await asyncio.gather(*work.tasks, return_exceptions=True)
    for task in work.tasks:
        if not task.cancelled() and task.exception() is not None:
            raise RuntimeError("a client failed") from task.exception()
    return len(left)


async def settle(proxied: ProxiedHosp) -> None:
    """Wait, for a bounded time, until every screening result is stored as a note."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        if not await proxied.proxy.metric("hospproxy_screening_pending"):
            return
        await asyncio.sleep(0.25)


async def _tell(table: Table, proxied: ProxiedHosp, work: _Work, starts: Sequence[float], stuck: int) -> None:
    table.want("kills", len(starts), "all", bool(starts))
    table.tell("p50 / p95 / p99 / longest start, s", times(starts))
    await table.judge(proxied.hosp, work.notes.made, unsettled=0)
    repeated = [write for write in work.notes.made if len(write.told) > 1]
    table.tell("writes asked for again, with a key", f"{len(repeated)}, {sum(bool(w.key) for w in repeated)}")
    words = Counter(
        "unknown" if each.unknown else each.status
        for write in repeated
        for each in write.told
        if not each.succeeded
    )
    table.tell(
        "what they were told before", ", ".join(f"{word} × {count}" for word, count in words.most_common())
    )
    table.none("never got a definite answer", stuck)
    stored = await proxied.hosp.journal("stored", "notes")
    screened = await proxied.hosp.journal("screened")
    _tell_screenings(table, work.screenings, [each["fields"] for each in stored], screened)


def _tell_screenings(
    table: Table,
    screenings: Sequence[Screening],
    stored: Sequence[dict[str, Any]],
    screened: Sequence[dict[str, Any]],
) -> None:
    notes = Counter((n["patient_id"], n["staff_id"]) for n in stored if n["title"] == SCREENING_TITLE)
    results = Counter((int(each["path"].split("/")[2]), each["staff_id"]) for each in screened)
    bodies = Counter(note["body"] for note in stored if note["title"] == SCREENING_TITLE)
    mine = [(each.patient, each.who.id) for each in screenings]
    lost_answers = sum(bool(each.told) and not each.told[-1].succeeded for each in screenings)
    table.tell("screenings, never answered", f"{len(mine)}, {lost_answers}")
    answered = [(each.patient, each.who.id) for each in screenings if each.told and each.told[-1].succeeded]
    table.none("screenings answered and without a note", sum(not notes[pair] for pair in answered))
    # One result, one note: every reference is in exactly one note.
    table.none("screening results with two notes", sum(count - 1 for count in bodies.values()))
    table.none("more notes than results", sum(max(0, notes[pair] - results[pair]) for pair in mine))
    table.tell(
        "repeated screenings that made two results and two notes",
        sum(max(0, notes[pair] - 1) for pair in mine),
    )
    table.none(
        "screening notes of nobody", sum(count for pair, count in notes.items() if pair not in set(mine))
    )
