"""``kill -9`` of workers and whole machines; clients retry at the other one. Each note must exist exactly once."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from ..chaos.clients import Answer, Clients, Notes, Write
from ..chaos.kill import FAULTS
from ..chaos.table import Table
from .site import Machine, Plan, Town, send, town

_HOSP = ("--delay", "uniform:0.02:0.3", "--places", "0")
_INSIST_S = 200.0
_PAUSE_S = 0.3


@define(eq=False)
class Anywhere:
    """Clients that go to the next machine if one fails."""

    machines: Sequence[Clients]
    chance: random.Random

    async def insist(self, write: Write, until: float) -> Answer:
        """Request a note until the response is definite.

        :param until: monotonic seconds at which it gives up.
        """
        at = self.chance.randrange(len(self.machines))
        while True:
            answer = await self.machines[at].write(write)
            definite = answer.succeeded or (400 <= answer.status < 500 and answer.denies)
            if definite or time.monotonic() > until:
                return answer
            at = (at + 1) % len(self.machines)
            await asyncio.sleep(_PAUSE_S)


@define(eq=False)
class _Work:
    """The load while workers and machines are killed."""

    clients: Anywhere
    notes: Notes
    chance: random.Random
    tasks: list[asyncio.Task[Any]] = field(factory=list)
    over: bool = False

    async def go_on(self, rate: float) -> None:
        """Write new notes at a rate until the kills are over, half of them with a key."""
        while not self.over:
            write = self.notes.make(key=self.chance.random() < 0.5)
            self.tasks.append(asyncio.create_task(self.clients.insist(write, time.monotonic() + _INSIST_S)))
            await asyncio.sleep(self.chance.expovariate(rate))

    async def finish(self) -> int:
        """Wait for work in flight; return how much never got a definite response."""
        _done, left = await asyncio.wait(self.tasks, timeout=_INSIST_S)
        for task in left:
            task.cancel()
        await asyncio.gather(*self.tasks)
        return len(left)


async def run(folder: Path, seed: int, plan: Plan, *, kills: int, pairs: int, late_s: float = 20.0) -> Table:
    """Kill, retry, and compare what clients were told with HOSP's journal.

    :param pairs: of equal notes, both of which are wanted.
    :param late_s: the most by which HOSP stores a note after its connection broke.
    """
    table, chance = Table("machines killed"), random.Random(f"{seed} notes")
    async with town(folder, plan, *_HOSP, "--seed", str(seed)) as place:
        await place.hosp.tell("/faults", **FAULTS, late_commit_max_s=late_s)
        clients = [Clients(machine.url, str(machine.certificate)) for machine in place.machines]
        try:
            work = _Work(Anywhere(clients, chance), Notes(chance), chance)
            killed = await _kills(place, work, kills, random.Random(f"{seed} moments"))
            stuck = await work.finish()
            await place.hosp.tell("/faults")
            twins = Notes(random.Random(f"{seed} twins"))
            await _twins(clients, twins, pairs)
        finally:
            for each in clients:
                await each.close()
        await _tell(table, place, work, killed, stuck, plan)
        await _tell_twins(table, place, twins, pairs)
    return table


async def _kills(place: Town, work: _Work, number: int, moments: random.Random) -> Counter[str]:
    done = Counter[str]()
    going = asyncio.create_task(work.go_on(rate=6.0))
    try:
        for turn in range(number):
            await asyncio.sleep(moments.uniform(0.2, 2.2))
            machine = moments.choice(place.machines)
            # Every third time kill the whole machine.
            done[await (_machine(machine) if turn % 3 == 1 else _worker(machine, moments))] += 1
    finally:
        work.over = True
        await going
    return done


async def _machine(machine: Machine) -> str:
    await machine.kill()
    await machine.start()
    return "machine"


async def _worker(machine: Machine, moments: random.Random) -> str:
    there = machine.workers()
    if there == [machine.daemon.pid]:
        return await _machine(machine)
    send(moments.choice(there), signal.SIGKILL)
    return "worker"


async def _twins(clients: Sequence[Clients], notes: Notes, pairs: int) -> None:
    """Write half of the pairs at once, half one after the other; each twin through another machine."""
    places = asyncio.Semaphore(10)

    async def pair(number: int) -> None:
        one = notes.make()
        other = Write(one.who, one.marker, one.patient)
        notes.made.append(other)
        first, second = clients[number % len(clients)], clients[(number + 1) % len(clients)]
        async with places:
            if number % 2:
                await asyncio.gather(first.write(one), second.write(other))
            else:
                await first.write(one)
                await second.write(other)

    await asyncio.gather(*(pair(number) for number in range(pairs)))


async def _tell(table: Table, place: Town, work: _Work, killed: Counter[str], stuck: int, plan: Plan) -> None:
    table.tell("killed", ", ".join(f"{what} × {count}" for what, count in sorted(killed.items())))
    await table.judge(place.hosp, work.notes.made, unsettled=0)
    repeated = [write for write in work.notes.made if len(write.told) > 1]
    table.tell("asked for again, with a key", f"{len(repeated)}, {sum(bool(w.key) for w in repeated)}")
    words = Counter(
        "unknown" if each.unknown else str(each.status)
        for write in repeated
        for each in write.told
        if not each.succeeded
    )
    table.tell(
        "what they were told before", ", ".join(f"{word} × {n}" for word, n in words.most_common()) or "-"
    )
    table.none("never got a definite answer", stuck)
    stored = Counter(each["fields"]["body"] for each in await place.hosp.journal("stored", "notes"))
    table.none("not there exactly once", sum(stored[write.marker] != 1 for write in work.notes.made))
    most = int((await place.hosp.read("/stats"))["max_working"])
    fits = most <= plan.concurrency
    table.want("most requests at HOSP at one time", most, f"≤ {plan.concurrency}", fits)


async def _tell_twins(table: Table, place: Town, twins: Notes, pairs: int) -> None:
    stored = Counter(each["fields"]["body"] for each in await place.hosp.journal("stored", "notes"))
    number = sum(stored[marker] for marker in {write.marker for write in twins.made})
    table.want("notes of twins", number, str(2 * pairs), number == 2 * pairs)
    table.none("twins not answered with 201", sum(write.told[-1].status != 201 for write in twins.made))
    told = [write.told[-1].document["id"] for write in twins.made if write.told[-1].succeeded]
    table.none("twins told one id", len(told) - len(set(told)))
