"""HOSP is gone for two minutes: earlier reads are served again, writes get truthful responses, then all is normal."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from attrs import define, field

from .clients import Answer, Clients, Notes, Person, Write, ids, paced, staff
from .processes import ProxiedHosp, proxied_hosp
from .table import Table
from .verdict import times

_HOSP = ("--delay", "uniform:0.02:0.2", "--places", "5")
_OPENS_S = 10.0
"""Seconds of the outage after which the breaker is assumed to be open."""
_TOLD_S = 2.0
_NORMAL_S = 10.0
_CALM_S = 20.0


@define(eq=False)
class _Read:
    """One read, made before the outage.

    :param hidden: texts of the reader's own acknowledged writes that it must show.
    """

    who: Person
    path: str
    hidden: list[str] = field(factory=list)
    told: list[Answer] = field(factory=list)


async def run(folder: Path, seed: int, *, short: bool) -> Table:
    """120 s of outage (short: 20)."""
    away_s, table = 20.0 if short else 120.0, Table("outage", timed=not short)
    chance = random.Random(f"{seed} outage")
    notes = Notes(chance)
    async with proxied_hosp(folder, *_HOSP, "--seed", str(seed)) as proxied:
        async with Clients(proxied.proxy.url, str(proxied.proxy.certificate)) as clients:
            reads = await _before(clients, notes, chance)
            acknowledged = len(notes.made)
            began = time.monotonic()
            await proxied.hosp.tell("/offline", offline=True, for_s=away_s)
            await _during(clients, reads, notes, chance, began + away_s - time.monotonic() - 0.3)
            await asyncio.sleep(max(0.0, began + away_s - time.monotonic()))
            normal = await _after(clients, reads, notes, chance, _CALM_S / 2 if short else _CALM_S)
        await table.judge(proxied.hosp, notes.made)
        during = [
            write.told[0] for write in notes.made[acknowledged:] if write.told[0].began < began + away_s
        ]
        await _tell(table, proxied, reads, during, began)
    table.in_time("normal again after, s", f"{normal:.1f}", f"≤ {_NORMAL_S:.0f}", normal <= _NORMAL_S)
    return table


async def _before(clients: Clients, notes: Notes, chance: random.Random) -> list[_Read]:
    """Everybody reads, writes, and reads some of it again."""
    found: list[_Read] = []
    for person in staff():
        patients = chance.sample(ids("patients"), 4)
        paths = ["/hospitals", f"/patients?hospital_id={person.hospital}", "/staffs/me"]
        paths += [f"/notes?patient_id={patient}" for patient in patients] + [f"/patients/{patients[0]}"]
        mine = [_Read(person, path) for path in paths]
        await _ask_all(clients, mine)
        # A write invalidates two of the lists; one of these is read again, the other is not.
        for number, read in enumerate(mine[3:5]):
            write = notes.make(person, patients[number])
            if (await clients.write(write)).succeeded:
                read.hidden.append(write.marker)
            if number:
                await _ask_all(clients, [read])
        mine += await _changed(clients, notes.made[-1])
        found += [read for read in mine if any(each.succeeded for each in read.told)]
    for read in found:
        read.told.clear()
    return found


async def _changed(clients: Clients, write: Write) -> list[_Read]:
    """Read a note of one's own, then change it."""
    if not write.told[0].succeeded:
        return []
    read = _Read(write.who, f"/notes/{write.told[0].document['id']}")
    await _ask_all(clients, [read])
    title = f"Changed {write.marker}"
    if (await clients.ask("PATCH", read.path, write.who, {"title": title})).succeeded:
        read.hidden.append(title)
    return [read]


async def _ask_all(clients: Clients, reads: Sequence[_Read]) -> None:
    async def one(read: _Read) -> None:
        read.told.append(await clients.ask("GET", read.path, read.who))

    await asyncio.gather(*map(one, reads))


async def _during(
    clients: Clients, reads: Sequence[_Read], notes: Notes, chance: random.Random, seconds: float
) -> None:
    async def one() -> None:
        if chance.random() < 0.1:
            await clients.write(notes.make())
        else:
            await _ask_all(clients, [chance.choice(reads)])

    await paced(lambda _: 8.0, seconds, one)


async def _after(
    clients: Clients, reads: Sequence[_Read], notes: Notes, chance: random.Random, seconds: float
) -> float:
    """Seconds until every request succeeds, uncached ones included, and stays so.

    :param seconds: how long to try.
    """
    began, last_bad = time.monotonic(), 0.0

    async def one() -> None:
        nonlocal last_bad
        write: Write | None = notes.make() if chance.random() < 0.3 else None
        if write is not None:
            answer = await clients.write(write)
        else:
            read = chance.choice(reads)
            answer = await clients.ask("GET", read.path, read.who, headers={"Cache-Control": "no-cache"})
        if (
            not answer.succeeded
            or answer.seconds > _TOLD_S
            # For a write it means that HOSP's earlier response was sent again.
            or (write is None and "hit" in answer.headers.get("cache-status", ""))
        ):
            last_bad = max(last_bad, answer.began - began + 0.1)

    await paced(lambda _: 4.0, seconds, one)
    return last_bad


async def _tell(
    table: Table, proxied: ProxiedHosp, reads: Sequence[_Read], during: Sequence[Answer], began: float
) -> None:
    told = [(read, answer) for read in reads for answer in read.told]
    failed = [(read, answer) for read, answer in told if not answer.succeeded]
    hiding = [(read, answer) for read, answer in failed if read.hidden and answer.status == 503]
    bad = len(failed) - len(hiding)
    served = f"{(len(told) - len(failed)) / max(1, len(told)):.2%} of {len(told)}"
    table.want("reads made before, answered", served, "100 %, but for the next", bad == 0)
    share = len(hiding) / max(1, len(told))
    table.want("503, since one's own write hides it", f"{share:.2%}", "≤ 1 %", share <= 0.01)
    old = sum(not _shows(read, answer) for read, answer in told if answer.succeeded)
    table.none("older than one's own acknowledged write", old)
    table.tell("reads: p50 / p95 / p99 / longest, s", times([answer.seconds for _, answer in told]))
    late = [a for a in during if a.began > began + _OPENS_S]
    slow = sum(a.seconds > _TOLD_S for a in late)
    table.tell("writes in the outage, s", times([answer.seconds for answer in during]))
    table.in_time("writes told after more than 2 s, breaker open", f"{slow} of {len(late)}", "0", slow == 0)
    dishonest = sum(a.succeeded or a.unknown or a.status not in (502, 503, 504) for a in late)
    table.none("writes told anything but that they were not sent", dishonest)
    table.tell("requests that HOSP got", (await proxied.hosp.read("/stats"))["requests"])


def _shows(read: _Read, answer: Answer) -> bool:
    """Whether a response shows the reader's own writes."""
    text = msgspec.json.encode(answer.document).decode()
    return all(each in text for each in read.hidden)
