"""Several gates, a Redis that is slow and sometimes away, and a HOSP that counts its requests."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Exchange
from hospproxy.http.errors import NotSent, ProxyError
from hospproxy.http.messages import Response
from hospproxy.options.gate_section import BreakerSettings, GateSettings
from hospproxy.options.redis_section import RedisSettings
from hospproxy.outward.gate.gate import Gate
from hospproxy.outward.gate.redis.base_share import BaseFile, BaseRecord, OwnBase
from hospproxy.outward.gate.redis.shared_slots import SharedSlotRules, SharedSlots
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script
from hospproxy.watch.metrics import Metrics
from tests.stages import identified

from .slots_model import Table, replied, told

CEILING = 5
PATIENCE_S = 6.0
"""A lease, a heartbeat, HOSP's slowest answer and a second."""


class World:
    """A Redis, and HOSP."""

    def __init__(self, seed: int = 0, ceiling: int = CEILING) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.random = Random(seed)
        self.table = Table()
        self.ceiling = ceiling
        self.away = False
        self.trouble = 0.0
        self.dead = False
        self.busy = self.most = self.served = 0
        self.workers: list[Worker] = []
        self.files: dict[int, KeptInMemory] = {}

    def worker(self, slot: int | None = None) -> Worker:
        """Start a worker; with a slot number it gets the files of the last worker in that slot."""
        file = None if slot is None else self.files.setdefault(slot, KeptInMemory())
        worker = Worker(self, f"m.w{len(self.workers)}", file)
        self.workers.append(worker)
        return worker

    def loses_all(self) -> None:
        self.table.epoch, self.table.all = f"{int(self.table.epoch, 16) - 1:016x}", {}

    def running(self) -> set[str]:
        return {worker.member.decode().partition(".")[2] for worker in self.workers if not worker.killed}

    def close(self) -> None:
        """Leave nothing for the garbage collector, which would report it in another test."""
        for worker in self.workers:
            worker.closed = True
        while pending := [one for worker in self.workers for one in worker.pending]:
            pending[0].cancel()

    def advance(self, seconds: float, step: float = 0.01) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    async def hosp(self, exchange: Exchange) -> Response:
        """HOSP, which must never have more requests in flight than its limit."""
        if self.dead:
            await deferLater(self.clock, 0.3, lambda: None)
            raise NotSent("gone")
        self.busy += 1
        self.most = max(self.most, self.busy)
        lasts_s = self.random.uniform(0.2, 2.0)
        self.clock.callLater(lasts_s, self.over)  # also if no client waits any more
        await deferLater(self.clock, lasts_s, lambda: None)
        return Response(200)

    def over(self) -> None:
        self.busy -= 1
        self.served += 1


class KeptInMemory(BaseFile):
    """A file that outlives a worker, and a disk that may be full."""

    def __init__(self) -> None:
        self.content: BaseRecord | None = None
        self.full = False

    def read(self) -> Deferred[BaseRecord | None]:
        return succeed(self.content)

    def write(self, kept: BaseRecord, before: bytes) -> Deferred[None]:
        if self.full:
            return fail(OSError(28, "full"))
        if self.content is None or self.content.member in (kept.member, before):
            self.content = kept
        return succeed(None)

    def stop(self) -> None:
        pass


class Worker:
    """A gate and its link to Redis; also its ``Common``."""

    vault: Any = None

    def __init__(self, world: World, name: str, file: BaseFile | None = None) -> None:
        self.world, self.member = world, name.encode()
        self.cut = self.killed = False
        self.loses = lambda args: False
        self.exchanges = 0
        self.opened = self.asked = self.hopeless = 0
        self.closed = False
        self.pending: list[Deferred[Response]] = []
        self.outcomes: list[object] = []
        world.table.members.add(name)
        self.meter = Metrics(strict=True)
        redis = RedisSettings(settle_s=1.0)
        rules = SharedSlotRules(
            ceiling=world.ceiling, redis=redis, linger_s=5.0, turn_s=1.0, patience_s=PATIENCE_S
        )
        self.base = OwnBase(world.ceiling, file, lambda owner: owner not in world.running())
        self.places = SharedSlots(self, rules, world.clock, self.meter, self.base)
        settings = GateSettings(concurrency=world.ceiling, max_queue=1000)
        breaker = BreakerSettings(failures=3)
        self.gate = Gate(world.clock, settings, breaker, self.meter, self.opening, self.places)
        self.places.start()

    def kill(self) -> None:
        """Kill the worker; HOSP continues its requests. A sibling reports it as dead."""
        self.killed = self.closed = True
        self.places._stopped = True
        if self.places._timer is not None:
            self.places._timer.cancel()
            self.places._timer = None
        self.gate._let_in = lambda: None  # type: ignore[method-assign]
        self.places._user = None
        for each in [*self.pending]:
            each.cancel()
        self.world.clock.callLater(2.0, self.world.table.members.discard, self.member.decode())

    def opening(self, gate: Gate) -> None:
        self.opened += 1

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        return kind.encode()

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str]
    ) -> list[Any]:
        world = self.world
        self.exchanges += 1
        chance = world.random.random()
        await deferLater(world.clock, world.random.uniform(0.0005, 0.05 if world.trouble else 0.002), int)
        if self.killed or self.cut or world.away or chance < world.trouble / 2:
            raise Away("the question was lost")
        world.table.now = round(world.clock.seconds() * 1000)
        wakes = world.table.wakes
        answer = world.table.exchange(told(args))
        if world.table.wakes > wakes:
            world.clock.callLater(0.001, self.wake)
        await deferLater(world.clock, 0.001, int)
        if chance < world.trouble or self.loses(told(args)):
            raise Away("the answer was lost")
        return replied(answer)

    def wake(self) -> None:
        for other in self.world.workers:
            if not other.cut:
                other.places.woken()

    def ask(self, number: int = 1, patience_s: float = 28.0, own: str = "") -> None:
        now = self.world.clock.seconds()
        self.asked += number
        self.hopeless += number * self.places.hopeless
        for _ in range(number):
            exchange = identified(deadline=now + patience_s, own=own)
            asked = Deferred.fromCoroutine(self.gate.process(exchange, self.world.hosp))
            self.pending.append(asked)
            asked.addBoth(self.over, asked)

    def over(self, outcome: object, asked: Deferred[Response]) -> None:
        self.pending.remove(asked)
        value = getattr(outcome, "value", outcome)
        assert self.closed or isinstance(value, (Response, ProxyError)), value
        self.outcomes.append(value)


def served(worker: Worker) -> int:
    return sum(isinstance(one, Response) for one in worker.outcomes)


class WorldCase(SynchronousTestCase):
    def made(self, seed: int = 0, ceiling: int = CEILING) -> World:
        world = World(seed, ceiling)
        self.addCleanup(world.close)
        return world
