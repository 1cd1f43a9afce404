"""Clients that write, clients that read, and accounts whose passwords end."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field, frozen

from ..machines.http_client import Answer, Wire, basic
from ..machines.site import Machine, Town, holder_of
from .checker import Life, Seen, floors, judge, versions

PATIENTS = (3, 5, 8, 13)
READERS = (1, 2, 3)
"""Members of staff who read. They are few, so that one worker rereads what another has cached for the same person."""
_ENDED_KEPT = 40
"""Deleted records of a patient that are still searched for in lists."""


@define(eq=False)
class World:
    """State that all clients share.

    :param many: how many records exist at one time.
    :param wanted: operations after which the trial is over.
    """

    town: Town
    chance: random.Random
    many: int
    wanted: int
    seen: Seen = field(factory=Seen)
    lives: dict[int, list[Life]] = field(factory=lambda: {patient: [] for patient in PATIENTS})
    latest: deque[Life] = field(factory=lambda: deque(maxlen=4))
    over: bool = False
    down: set[str] = field(factory=set)
    made: int = 0
    revoked: int = 0
    knocks: int = 0

    def alive(self) -> list[Life]:
        """Records that may be written."""
        return [life for lives in self.lives.values() for life in lives if life.writable]

    def readable(self) -> list[Life]:
        """Records whose id is known, including recently deleted ones."""
        return [life for lives in self.lives.values() for life in lives if life.id]

    def up(self) -> Machine:
        """A machine that is not being started."""
        there = [machine for machine in self.town.machines if machine.name not in self.down]
        return self.chance.choice(there or self.town.machines)

    def make(self) -> Life:
        """A record that is about to be created."""
        self.made += 1
        patient = self.chance.choice(PATIENTS)
        life = Life(self.made, self.chance.randrange(1, 13), patient, busy=True)
        lives = self.lives[patient]
        lives.append(life)
        ended = [each for each in lives if each.gone or each.left]
        for each in ended[:-_ENDED_KEPT]:
            lives.remove(each)
        return life

    def fail(self, what: str, answer: Answer) -> None:
        """Count a response that was neither a success nor expected."""
        if answer.status == 0:
            self.seen.broken[what.split()[0]] += 1
        elif answer.refused:
            self.seen.refusals[answer.why[:60]] += 1
        else:
            self.seen.errors[f"{what} {answer.status} {answer.why[:60]}"] += 1


def staff(number: int) -> str:
    """Authorization of a member of the seed's staff."""
    return basic(f"staff{number}", f"password{number}")


async def write_on(world: World, pause_s: float) -> None:
    """Write until the trial is over, each write through a random machine.

    :param pause_s: between two writes, on average.
    """
    wires = {machine.name: Wire(machine.port) for machine in world.town.machines}
    while not world.over:
        machine = world.up()
        await _write(world, wires[machine.name])
        await asyncio.sleep(world.chance.expovariate(1 / pause_s))
    for wire in wires.values():
        wire.close()


async def _write(world: World, wire: Wire) -> None:
    alive = world.alive()
    if len(alive) < world.many:
        life, what = world.make(), "POST"
    else:
        life, what = world.chance.choice(alive), "PATCH" if world.chance.random() < 0.85 else "DELETE"
    life.busy = True
    world.latest.append(life)
    document: dict[str, Any] | None = {"body": life.text}
    if what == "POST":
        document = {"title": "Trial", "patient_id": life.patient, **(document or {})}
    elif what == "DELETE":
        document, life.ended = None, life.sent
    path = "/notes" if what == "POST" else f"/notes/{life.id}"
    answer = await wire.ask(what, path, staff(life.author), document)
    _written(world, life, what, answer)


def _written(world: World, life: Life, what: str, answer: Answer) -> None:
    """Note the outcome of the one write of this record that was in flight."""
    world.seen.writes += 1
    life.busy = False
    if answer.succeeded:
        world.seen.written += 1
        if what == "POST":
            life.id = int(answer.document["id"])
        life.answered = life.sent
        world.latest.append(life)
        return
    world.fail(f"write {what}", answer)
    if answer.refused:
        # Nothing was sent, so the record is unchanged.
        life.ended = None
        life.left = what == "POST"
    else:
        life.left = True


@frozen
class Reader:
    """A client that reads.

    :param machine: the machine that it uses throughout.
    :param person: number of the member of staff.
    :param keeps: whether the connection is kept for many requests; otherwise each has a new one.
    """

    machine: Machine
    person: int
    keeps: bool


async def read_on(world: World, reader: Reader) -> None:
    """Read until the trial is over; half of the reads are of what was written last."""
    wire, worker, left, chance = Wire(reader.machine.port), "", 0, world.chance
    while not world.over:
        if left <= 0:
            wire.close()
            left, worker = chance.randrange(20, 200) if reader.keeps else 1, ""
        left -= 1
        lives = world.readable()
        if not lives:
            await asyncio.sleep(0.05)
            continue
        life = chance.choice(world.latest) if world.latest and chance.random() < 0.5 else chance.choice(lives)
        answered = await _read(world, reader, wire, life, worker)
        if not answered:
            await asyncio.sleep(0.1)
            left = 0
        elif reader.keeps and not worker:
            pid = holder_of(wire.own_port, reader.machine.workers())
            worker = f"{reader.machine.name} {pid}" if pid else ""


async def _read(world: World, reader: Reader, wire: Wire, life: Life, worker: str) -> bool:
    """:return: whether a response came."""
    single = life.id and world.chance.random() < 0.6
    path = f"/notes/{life.id}" if single else f"/notes?patient_id={life.patient}"
    before = floors([life] if single else world.lives[life.patient])
    answer = await wire.ask("GET", path, staff(reader.person))
    world.seen.reads += 1
    if answer.status == 200 or (single and answer.status == 404):
        shown = versions(answer.document) if answer.status == 200 else {}
        worker = worker or f"{reader.machine.name} (new connections)"
        status = answer.fields.get("cache-status", "")
        example = f"{reader.machine.name} GET {path} showed {shown}, wanted {_words(before)}"
        world.seen.read(status, judge(shown, before), worker, example)
    else:
        world.fail("read GET", answer)
    return bool(answer.status)


def _words(before: Any) -> str:
    return ", ".join(f"{life.number}: {floor} of {life.sent}" for life, floor in before.items())


async def revoke_on(world: World, pause_s: float) -> None:
    """Use accounts on all machines and end them on one: afterwards the old password must get nothing on any.

    :param pause_s: between two accounts.
    """
    while not world.over:
        world.made += 1
        name, password = f"trial-{world.made}", f"{world.chance.getrandbits(48):012x}"
        row = await world.town.hosp.tell(
            "/change", resource="staffs", create={"name": name, "hospital_id": 1, "password": password}
        )
        await _knock_all(world, basic(name, password))
        wire = Wire(world.up().port)
        answer = await wire.ask(
            "PATCH", f"/staffs/{row['id']}", basic(name, password), {"password": password + "-new"}
        )
        wire.close()
        world.seen.writes += 1
        if answer.succeeded:
            world.seen.written += 1
            world.revoked += 1
            for old in await _knock_all(world, basic(name, password)):
                if old.succeeded:
                    world.seen.wrong["revoked"] += 1
                    world.seen.examples.append(f"revoked: {old.fields.get('cache-status')}")
        else:
            world.fail("write PATCH /staffs", answer)
        await asyncio.sleep(pause_s)


async def _knock_all(world: World, authorization: str) -> list[Answer]:
    """Open several connections to each machine, so that each worker is likely to get one."""
    wires = [Wire(machine.port) for machine in world.town.machines for _ in range(3)]
    answers = await asyncio.gather(*(wire.ask("GET", "/staffs/me", authorization) for wire in wires))
    for wire in wires:
        wire.close()
    world.knocks += len(wires)
    world.seen.reads += len(wires)
    for answer in answers:
        if not answer.succeeded and answer.status != 401:
            world.fail("read GET /staffs/me", answer)
    return list(answers)


async def until_over(
    world: World, seconds: float, *going: Coroutine[Any, Any, None], stop: Callable[[], bool]
) -> float:
    """Run all coroutines until enough operations were done.

    :param seconds: the most that it takes.
    :param stop: whether it may end earlier.
    :return: seconds that it took.
    """
    tasks = [asyncio.create_task(each) for each in going]
    began = time.monotonic()
    try:
        while time.monotonic() - began < seconds and not stop():
            await asyncio.sleep(0.1)
            for task in tasks:
                if task.done() and not task.cancelled() and task.exception():
                    task.result()
        world.over = True
        took = time.monotonic() - began
        await asyncio.gather(*tasks)
        return took
    finally:
        world.over = True
        for task in tasks:
            task.cancel()
