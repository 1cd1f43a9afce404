"""Slots at HOSP on a real Redis: the script does what its model does, and the sum never exceeds what HOSP bears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import task

from hospproxy.options.redis_section import RedisSettings
from hospproxy.outward.gate.redis.shared_slots import SharedSlotRules, SharedSlots
from hospproxy.outward.gate.slots import SlotUse
from hospproxy.sharing.lua_scripts import Script, script
from hospproxy.watch.metrics import Metrics
from tests.sharing.slots_model import Table

from .plain_common import PlainCommon
from .redis_server import Redis

CEILING = 5
NAMES = [f"machine.{letter}" for letter in "abcdef"]
LIVE, LINGER, SETTLE, VANISHED, TURN = 2000, 9000, 5000, 60_000, 5000
LONGEST = 8000
"""Longest time, in ms, that a request is in flight at HOSP."""
PATIENCE = LIVE + 500 + LONGEST + 500


@pytest_twisted.async_yield_fixture(scope="module")
async def redis() -> AsyncIterator[Redis]:
    server = Redis()
    await server.start()
    yield server
    server.end()


def timed(now: int) -> Script:
    """The script, with a given time instead of Redis's own."""
    text = script("places").text
    assert text.count("redis.call('TIME')") == 1
    return Script(
        "places", text.replace("redis.call('TIME')", f"{{{now // 1000}, {now % 1000 * 1000}}}"), "-"
    )


class Member:
    """One worker, which follows the rules of SharedPlaces.

    It uses only the slots that it has reported, and its base share after a long time without Redis.
    """

    def __init__(self, name: str, now: int, heir_of: Member | None = None) -> None:
        self.name = name
        self.owned = self.share = self.need = 0
        self.ends: list[int] = []
        self.base = heir_of.base if heir_of else 0
        self.heir_of = heir_of.name if heir_of else ""
        self.away, self.lost, self.cut_until = True, now, 0
        self.names: list[str] = []

    @property
    def busy(self) -> int:
        return len(self.ends)

    def at(self, now: int) -> None:
        """Move to a time: requests that have ended leave, and a long absence of Redis gives the base share."""
        self.ends = [end for end in self.ends if end > now]
        if self.away:
            self.owned = max(self.busy, min(self.owned, self.base))
            if now - self.lost >= PATIENCE:
                self.owned = max(self.owned, self.base)

    def work(self, now: int, random: Random) -> None:
        """Send as many requests as are needed and allowed."""
        most = min(self.owned, self.base if self.away else self.share)
        while self.busy < min(self.need, most):
            self.ends.append(now + random.randrange(1, LONGEST))

    def args(self, random: Random, leaving: bool = False) -> list[str]:
        keep = self.owned if self.away else max(self.busy, min(self.owned, self.share))
        if leaving:
            keep = self.busy
        self.owned = keep
        opinion = random.choice([CEILING, CEILING, CEILING, 2])
        state, age = random.choice([("", 0), ("", 0), ("open", 100), ("closed", 50), ("half_open", 10)])
        numbers = [keep, self.need, opinion, CEILING, LIVE, LINGER, SETTLE, VANISHED, TURN]
        alone = int(self.away and self.base > 0)
        own = [0 if leaving else self.base, 0 if leaving else alone, PATIENCE, self.heir_of]
        said = [*numbers, "wake", state, age, int(leaving), *own, *self.names]
        return [self.name, *map(str, said)]

    def heard(self, answer: list[Any] | None, now: int) -> None:
        if answer is not None:
            self.away, self.heir_of = False, ""
            self.owned, self.share, self.base = answer[0], answer[1], answer[7]
            self.names = sorted(answer[8])
        elif not self.away:
            self.away, self.lost = True, now
        self.at(now)


class World:
    """Workers that join, leave, die and lose replies."""

    def __init__(self, common: PlainCommon, seed: int) -> None:
        self.common, self.random = common, Random(seed)
        self.keys = [common.key(kind) for kind in ("places", "members", "breaker")]
        self.table = Table()
        self.table.now = 1_700_000_000_000
        self.members: dict[str, Member] = {}
        self.ghosts: list[int] = []
        """Ends of the requests that dead workers left behind at HOSP."""
        self.number = 0

    async def begin(self) -> None:
        await self.common._redis.delete([*self.keys])
        await self.epoch()

    async def epoch(self) -> None:
        self.number += 1
        self.table.epoch = f"{self.number:016x}"
        await self.common._redis.hset(self.common.key("head"), b"epoch", self.table.epoch)

    async def exchange(self, member: Member, *, lost: str = "", leaving: bool = False) -> None:
        args = member.args(self.random, leaving)
        if lost == "question" or self.table.now < member.cut_until:
            member.heard(None, self.table.now)
            return
        found = await self.common._redis.eval(
            timed(self.table.now).text,
            [self.common.key("head"), *self.keys],
            [self.table.epoch, 1 << 50, *args],
        )
        expected = self.table.exchange(args)
        said = [each.decode() if isinstance(each, bytes) else each for each in found[1:]]
        assert [*said[:6], expected[6] if not said[5] else said[6], said[7], set(said[8:])] == expected
        assert found[0] in (b"ok", "ok")
        member.heard(None if lost else expected, self.table.now)

    async def step(self) -> None:
        """Perhaps change something; then every worker exchanges slots, in any order, and some twice."""
        random = self.random
        what = random.random()
        if len(self.members) < 2 or (what < 0.05 and len(self.members) < len(NAMES)):
            await self.join(None)
        elif what < 0.1:
            await self.die(random.choice(list(self.members.values())))
        elif what < 0.13:
            await self.lose(random.choice([self.epoch, self.evicted]))
        elif what < 0.25:
            self.cut(random.choice(list(self.members.values())), 30_000)
        await self.beat()

    async def beat(self) -> None:
        random = self.random
        present = list(self.members.values())
        late = random.choice([0, 20, 100, 400, 480])
        for member in [*random.sample(present, len(present)), *random.choices(present, k=2)]:
            member.at(self.table.now)
            member.need = random.choice([member.need, 0, 1, 2, 5])
            member.work(self.table.now, random)
            await self.exchange(member, lost=random.choice(["", "", "", "", "question", "answer"]))
            member.work(self.table.now, random)
            assert self.in_use() <= CEILING
        self.table.now += late

    def cut(self, member: Member, longest: int) -> None:
        """Cut a worker off from Redis, for a time shorter than `longest` ms."""
        if not member.away:
            member.cut_until = self.table.now + self.random.randrange(longest)

    async def join(self, heir_of: Member | None) -> None:
        self.number += 1
        name = f"{self.random.choice(NAMES)}-{self.number}"
        self.members[name] = Member(name, self.table.now, heir_of)
        self.table.members.add(name)
        await self.common._redis.hset(self.keys[1], name, b"0")

    async def lose(self, change: Callable[[], Awaitable[None]]) -> None:
        """Redis loses data once all workers know of each other; half of them then stay cut off for a while."""
        for member in self.members.values():
            member.cut_until = 0
        for _ in range(4):
            await self.beat()
        holders = {name for name, member in self.members.items() if member.owned or member.base}
        if any(member.away or holders - {name, *member.names} for name, member in self.members.items()):
            return
        await change()
        for member in self.random.sample(list(self.members.values()), len(self.members) // 2):
            self.cut(member, 30_000)

    async def evicted(self) -> None:
        await self.common._redis.delete(self.keys[0])
        self.table.evict()

    async def die(self, member: Member) -> None:
        """Stop a worker cleanly, or kill it: then HOSP continues its requests, and another worker replaces it."""
        if member.away or self.table.held >= 0:
            return  # perhaps no worker would be left that knows of the others
        del self.members[member.name]
        if self.random.random() < 0.3:
            member.ends = []
            await self.exchange(member, leaving=True)
        else:
            self.ghosts += member.ends
            await self.join(member)
        if self.random.random() < 0.7:
            self.table.members.discard(member.name)
            await self.common._redis.hdel(self.keys[1], member.name)

    def in_use(self) -> int:
        """The most requests that can be in flight at HOSP."""
        dead = sum(end > self.table.now for end in self.ghosts)
        return sum(max(member.owned, member.busy) for member in self.members.values()) + dead


@pytest.mark.parametrize("seed", range(4))
@pytest_twisted.ensureDeferred
async def test_the_script_is_its_model_and_the_sum_is_never_above(redis: Redis, seed: int) -> None:
    common = await PlainCommon(prefix=f"p{seed}").connect(redis)
    world = World(common, seed)
    await world.begin()
    most = 0
    for _ in range(250):
        await world.step()
        assert sum(member.base for member in world.members.values()) <= CEILING
        most = max(most, world.in_use())
    assert most == CEILING  # otherwise the run tested nothing
    await common.close()


class Wanting:
    """A gate that uses every slot that it gets."""

    def __init__(self) -> None:
        self.want = 0
        self.places: SharedSlots

    def using(self) -> SlotUse:
        in_flight = min(self.want, self.places.usable)
        return SlotUse(in_flight, self.want - in_flight, CEILING)

    def told(self) -> None:
        pass

    def heard(self, state: object, at: float) -> None:
        pass


class Running:
    """Several workers' slots on a real Redis, on the real clock, without wake-ups."""

    def __init__(self, redis: Redis, prefix: str, patience_s: float = 40.0) -> None:
        self.redis, self.prefix, self.patience_s = redis, prefix, patience_s
        self.users: list[Wanting] = []
        self.commons: list[PlainCommon] = []
        self.meter = Metrics(strict=True)

    @property
    def owned(self) -> list[int]:
        return [user.places.owned for user in self.users]

    @property
    def bases(self) -> list[int]:
        return [user.places._base.value for user in self.users]

    async def add(self) -> None:
        name = f"m.w{len(self.users)}".encode()
        common = await PlainCommon(name, self.prefix).connect(self.redis)
        from twisted.internet import reactor

        user = Wanting()
        rules = SharedSlotRules(
            ceiling=CEILING,
            redis=RedisSettings(heartbeat_s=0.05, lease_s=1.0, settle_s=0.2),
            linger_s=0.3,
            turn_s=5.0,
            patience_s=self.patience_s,
        )
        user.places = SharedSlots(common, rules, cast(Any, reactor), self.meter)
        user.places.attach(user)
        user.places.start()
        self.users.append(user)
        self.commons.append(common)

    async def until(self, condition: Any) -> None:
        """Wait until a condition holds; meanwhile the workers never own more slots than the limit."""
        from twisted.internet import reactor

        clock = cast(Any, reactor)
        latest = clock.seconds() + 15
        while not condition():
            assert sum(self.owned) <= CEILING, self.owned
            assert clock.seconds() < latest, self.owned
            await task.deferLater(clock, 0.01, lambda: None)

    async def end(self) -> None:
        for user, common in zip(self.users, self.commons, strict=True):
            user.want = 0
            await user.places.stop()
            await common.close()


@pytest_twisted.ensureDeferred
async def test_they_go_to_who_needs_them_and_are_given_back_at_the_end(redis: Redis) -> None:
    running = Running(redis, "running")
    for _ in range(3):
        await running.add()
    await running.until(lambda: running.owned == [2, 2, 1])
    running.users[1].want = 9
    await running.until(lambda: running.owned == [0, 5, 0])
    running.users[0].want = running.users[2].want = 9
    running.users[1].want = 1
    await running.until(lambda: sorted(running.owned) == [1, 2, 2] and running.owned[1] == 1)
    await running.end()
    assert redis.ask("HKEYS", "{running}:places").split() == [":life"]
    assert 0 < int(redis.ask("PTTL", "{running}:places")) <= 400_000


@pytest_twisted.ensureDeferred
async def test_nonsense_in_redis_is_replaced_and_eviction_costs_nobody_anything(redis: Redis) -> None:
    running = Running(redis, "nonsense")
    for _ in range(2):
        await running.add()
    await running.until(lambda: running.owned == [3, 2])
    for command in (
        ("SET", "{nonsense}:places", "x"),
        ("HSET", "{nonsense}:places", "m.w0", "x"),
        ("HSET", "{nonsense}:places", ":life", "x"),
        ("SET", "{nonsense}:breaker", "x"),
        ("DEL", "{nonsense}:places", "{nonsense}:members"),
    ):
        redis.ask("DEL", "{nonsense}:places", "{nonsense}:breaker")
        redis.ask(*command)
        before = running.meter.value("places_exchanges_total", result="done") or 0
        await running.until(
            lambda before=before: (
                (running.meter.value("places_exchanges_total", result="done") or 0) > before + 6
            )
        )
        assert running.owned == [3, 2], command
    assert not running.meter.value("places_exchanges_total", result="nonsense")
    await running.end()


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_away_leaves_all_with_what_they_have(redis: Redis) -> None:
    running = Running(redis, "away")
    for _ in range(2):
        await running.add()
    await running.until(lambda: running.owned == [3, 2])
    for common in running.commons:
        common.away = True
    running.users[0].want = 9
    before = running.meter.value("places_exchanges_total", result="away") or 0
    await running.until(
        lambda: (running.meter.value("places_exchanges_total", result="away") or 0) > before + 4
    )
    assert running.owned == [3, 2]
    for common in running.commons:
        common.away = False
    await running.until(lambda: running.owned == [5, 0])
    await running.end()


@pytest_twisted.ensureDeferred
async def test_if_it_is_away_for_long_each_has_its_base_also_if_only_one_cannot_reach_it(
    redis: Redis,
) -> None:
    running = Running(redis, "long", patience_s=1.5)
    for _ in range(2):
        await running.add()
    await running.until(lambda: running.bases == [3, 2])
    for those in ([0, 1], [1]):
        running.users[1].want = 0
        running.users[0].want = 9
        await running.until(lambda: running.owned in ([5, 0], [4, 1]))  # one is left where it was needed
        for index in those:
            running.commons[index].away = True
        running.users[1].want = 9
        await running.until(lambda: running.owned == [3, 2])
        for index in those:
            running.commons[index].away = False
        running.users[0].want = 0
        await running.until(lambda: sum(running.owned) == CEILING and running.owned[1] > 2)
    await running.end()


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_set_back_keeps_nothing_back(redis: Redis) -> None:
    """Set back by an hour: a dead worker's slots become free no later than otherwise, and a breaker is not stuck."""
    common = await PlainCommon(b"m.a", prefix="back").connect(redis)
    keys = [common.key(kind) for kind in ("head", "places", "members", "breaker")]

    async def exchange(member: str, now: int, need: int, state: str = "") -> list[Any]:
        numbers = [0, need, CEILING, CEILING, LIVE, LINGER, SETTLE, VANISHED, TURN]
        args = [b"e" * 16, 1 << 50, member, *numbers, "wake", state, 0, 0, 0, 0, 3000, ""]
        found: list[Any] = await common._redis.eval(timed(now).text, keys, args)
        return found

    before = 1_700_000_000_000
    for step in range(9):
        await exchange("m.b", before + step * 1000, CEILING, "open")
    now = before - 3_600_000
    assert (await exchange("m.a", now, CEILING))[6] in (b"", "")  # the state of the breaker is not known
    await exchange("m.a", now + LIVE, CEILING)
    # All slots were its base share, too, and it has no heir.
    assert (await exchange("m.a", now + VANISHED - 1, CEILING))[1] == 0
    assert (await exchange("m.a", now + VANISHED + LIVE, CEILING))[1] == CEILING
    await common.close()


@pytest_twisted.ensureDeferred
async def test_more_than_there_can_be_is_thrown_away(redis: Redis) -> None:
    """Thousands of entries that look like workers: more than a script could write back."""
    running = Running(redis, "many")
    await running.add()
    await running.until(lambda: running.owned == [CEILING])
    fill = "for i = 1, 20000 do redis.call('HSET', KEYS[1], i, '0 0 5 1 0 0 0 0 x') end"
    redis.ask("EVAL", fill, "1", "{many}:places")
    await running.until(lambda: int(redis.ask("HLEN", "{many}:places")) == 2)
    await running.until(lambda: running.owned == [CEILING])
    await running.end()
