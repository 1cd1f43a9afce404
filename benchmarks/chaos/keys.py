"""Five clients send one Idempotency-Key at once, across restarts; pairs send equal writes that must both be stored."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

from .clients import Answer, Clients, Notes, Write
from .processes import proxied_hosp
from .table import Table

_HOSP = ("--delay", "uniform:0.05:0.4", "--places", "5")
_FAULTS = {"error_after": 0.15, "reset_after": 0.1, "only_methods": ["POST"], "only_paths": ["/notes"]}
_TOGETHER = 5
_INSIST_S = 90.0


async def run(folder: Path, seed: int, *, short: bool) -> Table:
    """60 keys, 100 pairs of twins (short: 12 and 20)."""
    keys, pairs = (12, 20) if short else (60, 100)
    table, chance = Table("keys", timed=not short), random.Random(f"{seed} keys")
    keyed, twins = Notes(chance), Notes(chance)
    async with proxied_hosp(folder, *_HOSP, "--seed", str(seed)) as proxied:
        await proxied.hosp.tell("/faults", **_FAULTS)
        async with Clients(proxied.proxy.url, str(proxied.proxy.certificate)) as clients:
            first = [keyed.make(key=True) for _ in range(keys)]
            asking = asyncio.create_task(_all(clients, first))
            await asyncio.sleep(0.8)
            await proxied.proxy.kill()
            await proxied.proxy.start()
            told = await asking
            await _twins(clients, twins, pairs)
            await proxied.proxy.stop()
            await proxied.proxy.start()
            again = await asyncio.gather(*(clients.write(write) for write in first))
            others = await asyncio.gather(*(_other_payload(clients, write) for write in first))
        await table.judge(proxied.hosp, [*keyed.made, *twins.made], unsettled=0)
        stored = await proxied.hosp.journal("stored", "notes")
    _tell_keys(table, first, told, again, others)
    _tell_twins(table, twins.made, Counter(each["fields"]["body"] for each in stored), pairs)
    return table


async def _all(clients: Clients, writes: list[Write]) -> list[Answer]:
    found = await asyncio.gather(*(_five(clients, write) for write in writes))
    return [answer for answers in found for answer in answers]


async def _five(clients: Clients, write: Write) -> list[Answer]:
    """Five clients with one key repeat one logical write, each until it has a definite response."""
    until = time.monotonic() + _INSIST_S
    return list(await asyncio.gather(*(clients.insist(write, until) for _ in range(_TOGETHER))))


async def _other_payload(clients: Clients, write: Write) -> Answer:
    document = {"title": "Visit", "body": write.marker + ", changed", "patient_id": write.patient}
    return await clients.ask("POST", "/notes", write.who, document, {"Idempotency-Key": f'"{write.key}"'})


async def _twins(clients: Clients, notes: Notes, pairs: int) -> None:
    """Write half of the pairs at once, half one after the other."""
    places = asyncio.Semaphore(20)

    async def pair(number: int) -> None:
        one = notes.make()
        other = Write(one.who, one.marker, one.patient)
        notes.made.append(other)
        async with places:
            if number % 2:
                await asyncio.gather(clients.write(one), clients.write(other))
            else:
                await clients.write(one)
                await clients.write(other)

    await asyncio.gather(*(pair(number) for number in range(pairs)))


def _tell_keys(
    table: Table, writes: list[Write], told: list[Answer], again: list[Answer], others: list[Answer]
) -> None:
    table.tell("keys, clients at once for each", f"{len(writes)}, {_TOGETHER}")
    statuses = Counter(answer.status for write in writes for answer in write.told)
    table.tell("statuses", ", ".join(f"{status} × {count}" for status, count in statuses.most_common()))
    table.none("clients without a 201 in the end", sum(answer.status != 201 for answer in told))
    two_ids = sum(
        len({answer.document["id"] for answer in write.told if answer.status == 201}) != 1 for write in writes
    )
    table.none("keys answered with two ids", two_ids)
    table.none("not replayed after a restart", sum(answer.status != 201 for answer in again))
    table.none("other payload not refused with 422", sum(answer.status != 422 for answer in others))


def _tell_twins(table: Table, writes: list[Write], copies: Counter[str], pairs: int) -> None:
    number = sum(copies[marker] for marker in {write.marker for write in writes})
    failed = sum(not write.told[-1].succeeded for write in writes)
    table.want("notes of twins", number, str(2 * pairs), number == 2 * pairs)
    table.none("twins not answered with 201", failed)
    answered = [write.told[-1].document["id"] for write in writes if write.told[-1].succeeded]
    table.none("twins told one id", len(answered) - len(set(answered)))
