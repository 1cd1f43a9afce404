"""A small world for the model test: workers on their own clocks, a register behind them, a network that fails."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.options.redis_section import RedisSettings
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script
from hospproxy.sharing.member import SharingMember
from hospproxy.sharing.news import EntriesInvalidated, EverythingStale, News
from tests.process_end import Coroutines

from .model_redis import ModelRedis
from .small_redis import SmallVault

TIMING = RedisSettings(heartbeat_s=0.1, lease_s=0.5, timeout_s=0.2, settle_s=2.0, vanished_s=10_000.0)
STEP_S = 0.01


class Names:
    def sealed(self, vault: Any) -> bytes:
        return b"names"

    def key(self, prefix: str, kind: str, data: bytes | None = None) -> bytes:
        return kind.encode() + (data or b"")


class World:
    """Time, the register, Redis, and the workers.

    :ivar answered: the newest value whose writer has been told that it is stored.
    :ivar stale: reads from the cache that were older than a write acknowledged before they began.
    """

    def __init__(self, seed: int, workers: int = 3) -> None:
        self.random = Random(seed)
        self.now = 1000.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self.value = 0
        self.answered = 0
        self.stale: list[str] = []
        self.hits = self.misses = self.writes = 0
        self.redis = ModelRedis(lambda: self.now)
        self.redis_up = True
        self.redis_paused = False
        self.buffer: list[Callable[[], object]] = []
        self.gone: set[str] = set()
        self.workers = [self.new_worker(number) for number in range(workers)]

    def new_worker(self, machine: int) -> Worker:
        return Worker(self, machine, f"{next(self._numbers)}-x")

    def after(self, delay_s: float, do: Callable[[], object]) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._numbers), do))

    def step(self) -> None:
        """Advance by a hundredth of a second."""
        until = self.now + STEP_S
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = until
        for worker in self.workers:
            worker.live()

    def to_redis(self, do: Callable[[], object]) -> None:
        """Send a command to Redis, which runs it at once, or when it is resumed."""
        if self.redis_paused:
            self.buffer.append(do)
        elif self.redis_up:
            do()
        self._spread()

    def go_on(self) -> None:
        """Resume Redis: it runs what is in its buffers."""
        self.redis_paused = False
        buffer, self.buffer = self.buffer, []
        for do in buffer:
            do()
        self._spread()

    def _spread(self) -> None:
        published, self.redis.published = self.redis.published, []
        for payload in published:
            for worker in self.workers:
                if worker.link.is_up and not worker.link.cut and self.random.random() < 0.8:
                    link, connection = worker.link, worker.link.connection
                    self.after(
                        self.random.uniform(0, 0.02), lambda to=link, c=connection, p=payload: to.hear(c, p)
                    )

    def kill_redis(self) -> None:
        self.redis_up, self.redis_paused, self.buffer = False, False, []
        for worker in self.workers:
            worker.later(worker.link.lost)

    def start_redis(self) -> None:
        self.redis.begin()
        self.redis_up = True


class ModelLink:
    """One worker's link to Redis. A sent command is carried out even if nobody waits for its reply any more."""

    def __init__(self, world: World, worker: Worker) -> None:
        self._world = world
        self._worker = worker
        self.cut = False
        self.is_up = False
        self.connection = 0
        self._callbacks: dict[str, Any] = {}
        self._waiting: list[Deferred[Any]] = []
        self._running = False

    def on_up(self, callback: Any) -> None:
        self._callbacks["up"] = callback

    def on_down(self, callback: Any) -> None:
        self._callbacks["down"] = callback

    def on_message(self, callback: Any) -> None:
        self._callbacks["message"] = callback

    def subscribe(self, channel: bytes) -> None:
        pass

    def start(self) -> None:
        self._running = True
        self._try()

    def stop(self) -> None:
        self._running = False
        self.lost()

    def _try(self) -> None:
        if not self._running:
            return
        world, worker = self._world, self._worker
        if not self.is_up and not self.cut and world.redis_up and not world.redis_paused:
            run_id = world.redis.run_id
            world.after(self._delay(), lambda: worker.later(lambda: self._connected(run_id)))
        worker.clock.callLater(0.05 + world.random.random() * 0.1, self._try)

    def _connected(self, run_id: bytes) -> None:
        world = self._world
        if self.is_up or self.cut or not world.redis_up or world.redis.run_id != run_id or not self._running:
            return
        self.connection += 1
        self.is_up = True
        self._callbacks["up"](run_id)

    def lost(self) -> None:
        if not self.is_up:
            return
        self.is_up = False
        self._callbacks["down"]()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.errback(Away("lost"))

    def hear(self, connection: int, payload: bytes) -> None:
        def now() -> None:
            if self.is_up and self.connection == connection:
                self._callbacks["message"](payload)

        self._worker.later(now)

    def _delay(self) -> float:
        slow = self._world.random.random() < 0.03
        return self._world.random.uniform(0.1, 0.4) if slow else self._world.random.uniform(0.0005, 0.01)

    async def evaluate(self, script: Script, keys: Sequence[bytes], args: Sequence[Any]) -> list[Any]:
        if not self.is_up:
            raise Away("away")
        world, worker, connection = self._world, self._worker, self.connection
        waiting: Deferred[Any] = Deferred()
        self._waiting.append(waiting)
        run_id = world.redis.run_id

        def arrived() -> None:
            if world.redis.run_id != run_id:
                return  # that connection ended with its process
            try:
                reply = world.redis.evaluate(script.name, list(args))
            except MemoryError:
                reply = None
            if not self.cut:
                world.after(self._delay(), lambda: worker.later(lambda: came(reply)))

        def came(reply: Any) -> None:
            if waiting in self._waiting and self.connection == connection:
                self._waiting.remove(waiting)
                if reply is None:
                    waiting.errback(Away("full"))
                else:
                    waiting.callback(reply)

        if not self.cut:
            world.after(self._delay(), lambda: world.to_redis(arrived))
        late = worker.clock.callLater(TIMING.timeout_s, self.lost)
        try:
            found: list[Any] = await waiting
            return found
        finally:
            if late.active():
                late.cancel()


class Worker:
    """One process: its clock stops while it is paused, and jumps when it continues."""

    def __init__(self, world: World, machine: int, owner: str, read: tuple[bytes, int] | None = None) -> None:
        self.world = world
        self.machine, self.owner = machine, owner
        self.clock = Clock()
        self.clock.rightNow = world.random.uniform(0, 1e6)
        self._speed = world.random.uniform(0.998, 1.002)
        self._seen = world.now
        self.paused = self.dead = False
        self.coroutines = Coroutines()
        self._inbox: list[Callable[[], object]] = []
        self.link = ModelLink(world, self)
        self.shared = SharingMember(
            self.link, SmallVault(), lambda _vault, _sealed: Names(), self.clock, TIMING, NullMeter(),
            lambda n: world.random.randbytes(n),
        )  # fmt: skip
        self.shared.listen(self._heard)
        self.kept: int | None = None
        self.was_member = False
        self.fills: list[Fill] = []
        self.coroutines.run(
            self.shared.start, f"m{machine}.{owner}".encode(), lambda name: name in world.gone, read
        )

    def later(self, do: Callable[[], object]) -> None:
        """Run a function in this process, when it runs."""
        self._inbox.append(do)

    def live(self) -> None:
        """Run until now."""
        if not self.paused and not self.dead:
            self.coroutines.run(self._live)

    def _live(self) -> None:
        inbox, self._inbox = self._inbox, []
        self._look_at_the_clock()
        # Messages that arrived meanwhile and timers that are due, in any order.
        self.world.random.shuffle(inbox)
        if self.world.random.random() < 0.5:
            self.clock.advance(0)
        for do in inbox:
            do()
        self.clock.advance(0)
        self.was_member = self.was_member or self.shared._joined

    def _look_at_the_clock(self) -> None:
        passed, self._seen = self.world.now - self._seen, self.world.now
        self.clock.rightNow += passed * self._speed

    def die(self) -> None:
        """Kill the process; its lock becomes free."""
        self.dead = True
        self.link.is_up = self.link._running = False
        self.world.gone.add(self.owner)
        self.coroutines.close()

    def _heard(self, news: News) -> Deferred[None] | None:
        if isinstance(news, EntriesInvalidated | EverythingStale):
            self._strike()
        if self.world.random.random() < 0.5:
            return None
        if self.world.random.random() < 0.1:
            return fail(OSError("the disk"))
        done: Deferred[None] = Deferred()  # the disk
        self.clock.callLater(self.world.random.choice((0.001, 0.02, 0.15)), _fire, done)
        return done

    def _strike(self) -> None:
        self.kept = None
        for fill in self.fills:
            fill.doomed = True

    # What clients do

    def read(self) -> None:
        """A client reads."""
        must, world = self.world.answered, self.world
        self._look_at_the_clock()
        if self.shared.may_serve:
            if self.kept is not None:
                world.hits += 1
                self._check(self.kept, must, "memory")
                return
            joinable = next((fill for fill in self.fills if not fill.doomed), None)
            if joinable is not None:
                joinable.waiting.append(must)
                return
        world.misses += 1
        for fill in self.fills:
            fill.doomed = True
        self.fills.append(Fill(self))

    def _check(self, value: int, must: int, where: str) -> None:
        if value < must:
            self.world.stale.append(f"{self.owner} at {self.world.now:.2f}: {value} < {must} from {where}")

    def write(self) -> None:
        """A client writes."""
        world = self.world
        self._look_at_the_clock()
        if not self.was_member:
            return  # a worker that nobody could know: see docs/adr/0024
        world.writes += 1
        delay = world.random.uniform(0.01, 0.3)

        def stored() -> None:
            world.value += 1
            value = world.value
            world.after(world.random.uniform(0.001, 0.2), lambda: self.later(lambda: ended(value)))

        def ended(value: int) -> None:
            self._strike()
            told = Deferred.fromCoroutine(
                self.shared.announce(EntriesInvalidated(("t",), resource=str(value)))
            )
            told.addCallback(lambda _: answered(value))

        def answered(value: int) -> None:
            world.answered = max(world.answered, value)

        world.after(delay, stored)


class Fill:
    """A fetch in progress."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.doomed = False
        self.waiting: list[int] = []
        world = worker.world
        self.value = -1
        world.after(world.random.uniform(0.005, 0.2), self._read)

    def _read(self) -> None:
        world = self.worker.world
        self.value = world.value
        world.after(world.random.uniform(0.005, 0.4), lambda: self.worker.later(self._end))

    def _end(self) -> None:
        worker = self.worker
        worker.fills.remove(self)
        for must in self.waiting:
            worker._check(self.value, must, "a fetch that was joined")
        if not self.doomed:
            worker.kept = self.value


def _fire(done: Deferred[None]) -> None:
    if not done.called:
        done.callback(None)


def settled(world: World) -> bool:
    """Whether every living worker may serve."""
    return all(worker.shared.may_serve for worker in world.workers)
