"""Places at HOSP on a real Redis: the script does what its model does, and the sum is never above what HOSP bears."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import task

from hospproxy.outward.gate.places import Using
from hospproxy.sharing.places import PlacesRules, SharedPlaces
from hospproxy.sharing.scripting import Script, script
from hospproxy.watch.metrics import Metrics
from tests.sharing.places_model import Table

from .common_place import PlainCommon
from .redis_server import Redis

CEILING = 5
NAMES = [f"machine.{letter}" for letter in "abcdef"]
LIVE, LINGER, SETTLE, VANISHED, TURN = 2000, 9000, 5000, 60_000, 5000


@pytest_twisted.async_yield_fixture(scope="module")
async def redis() -> AsyncIterator[Redis]:
    server = Redis()
    await server.start()
    yield server
    server.end()


def timed(now: int) -> Script:
    """The script at a moment of ours."""
    text = script("places").text
    assert text.count("redis.call('TIME')") == 1
    return Script(
        "places", text.replace("redis.call('TIME')", f"{{{now // 1000}, {now % 1000 * 1000}}}"), "-"
    )


class Member:
    """One worker, by the rule of SharedPlaces: what it has said that it keeps is all that it uses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.owned = self.busy = self.share = self.need = 0
        self.away = True
        self.names: list[str] = []

    def args(self, random: Random, leaving: bool = False) -> list[str]:
        keep = self.owned if self.away else max(self.busy, min(self.owned, self.share))
        if leaving:
            keep = self.busy
        self.owned = keep
        opinion = random.choice([CEILING, CEILING, CEILING, 2])
        state, age = random.choice([("", 0), ("", 0), ("open", 100), ("closed", 50), ("half_open", 10)])
        numbers = [keep, self.need, opinion, CEILING, LIVE, LINGER, SETTLE, VANISHED, TURN]
        return [self.name, *map(str, numbers), "wake", state, str(age), str(int(leaving)), *self.names]

    def heard(self, answer: list[Any] | None) -> None:
        self.away = answer is None
        if answer is not None:
            self.owned, self.share = answer[0], answer[1]
            self.names = sorted(answer[7])


class World:
    """Workers that come, go, die and lose answers."""

    def __init__(self, common: PlainCommon, seed: int) -> None:
        self.common, self.random = common, Random(seed)
        self.keys = [common.key(kind) for kind in ("places", "members", "breaker")]
        self.table = Table()
        self.table.now = 1_700_000_000_000
        self.members: dict[str, Member] = {}
        self.ghosts: list[tuple[int, int]] = []
        """Until when HOSP may be busy for the dead, and with how much."""
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
        if lost == "question":
            member.heard(None)
            return
        found = await self.common._redis.eval(
            timed(self.table.now).text,
            [self.common.key("head"), *self.keys],
            [self.table.epoch, 1 << 50, *args],
        )
        expected = self.table.exchange(args)
        said = [each.decode() if isinstance(each, bytes) else each for each in found[1:]]
        assert [*said[:6], expected[6] if not said[5] else said[6], set(said[7:])] == expected
        assert found[0] in (b"ok", "ok")
        member.heard(None if lost else expected)

    async def step(self) -> None:
        random, table = self.random, self.table
        table.now += random.choice([0, 20, 100, 500, 500, 3000])
        idle = [name for name in NAMES if name not in self.members]
        what = random.random()
        if idle and (what < 0.05 or not self.members):
            self.number += 1
            name = f"{random.choice(idle)}-{self.number}"
            self.members[name] = Member(name)
            table.members.add(name)
            await self.common._redis.hset(self.keys[1], name, b"0")
            return
        member = random.choice(list(self.members.values()))
        if what < 0.07:
            await self.die(member)
        elif what < 0.08:
            await self.come_back(lambda: self.epoch())
        elif what < 0.09:
            await self.come_back(self.evicted)
        else:
            member.need = random.choice([0, 0, 1, 2, 5])
            member.busy = min(member.owned, random.choice([member.busy, member.need]))
            await self.exchange(member, lost=random.choice(["", "", "", "", "question", "answer"]))

    async def come_back(self, change: Any) -> None:
        """Redis forgets; all are back in time, and say what they hold."""
        await change()
        for other in self.random.sample(list(self.members.values()), len(self.members)):
            await self.exchange(other, lost=self.random.choice(["", "answer"]))

    async def evicted(self) -> None:
        await self.common._redis.delete(self.keys[0])
        self.table.evict()
        # Of the dead, whoever knew them waits for them longer than HOSP does.

    async def die(self, member: Member) -> None:
        del self.members[member.name]
        if self.random.random() < 0.5:
            member.busy = 0
            await self.exchange(member, leaving=True)
        else:
            self.ghosts.append((self.table.now + LINGER, member.busy))
        self.table.members.discard(member.name)
        await self.common._redis.hdel(self.keys[1], member.name)

    def in_use(self) -> int:
        """The most that HOSP can be busy with."""
        dead = sum(busy for until, busy in self.ghosts if self.table.now < until)
        return sum(member.owned for member in self.members.values()) + dead


@pytest.mark.parametrize("seed", range(12))
@pytest_twisted.ensureDeferred
async def test_theScriptIsItsModelAndTheSumIsNeverAbove(redis: Redis, seed: int) -> None:
    common = await PlainCommon(prefix=f"p{seed}").connect(redis)
    world = World(common, seed)
    await world.begin()
    most = 0
    for _ in range(1000):
        await world.step()
        assert world.in_use() <= CEILING
        most = max(most, world.in_use())
    assert most == CEILING  # else nothing was tried
    await common.close()


class Wanting:
    """A gate that fills what it gets."""

    def __init__(self) -> None:
        self.want = 0
        self.places: SharedPlaces

    def using(self) -> Using:
        in_flight = min(self.want, self.places.usable)
        return Using(in_flight, self.want - in_flight, CEILING)

    def told(self) -> None:
        pass

    def heard(self, state: object, at: float) -> None:
        pass


class Running:
    """Several workers' places on a real Redis, on the real clock, without wake-ups."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.redis, self.prefix = redis, prefix
        self.users: list[Wanting] = []
        self.commons: list[PlainCommon] = []
        self.meter = Metrics(strict=True)

    @property
    def owned(self) -> list[int]:
        return [user.places.owned for user in self.users]

    async def add(self) -> None:
        name = f"m.w{len(self.users)}".encode()
        common = await PlainCommon(name, self.prefix).connect(self.redis)
        from twisted.internet import reactor

        user = Wanting()
        rules = PlacesRules(CEILING, heartbeat_s=0.05, lease_s=1.0, linger_s=0.3, settle_s=0.2)
        user.places = SharedPlaces(common, rules, cast(Any, reactor), self.meter)
        user.places.attach(user)
        user.places.start()
        self.users.append(user)
        self.commons.append(common)

    async def until(self, condition: Any) -> None:
        """Wait for it; what all own is never above what HOSP bears."""
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
async def test_theyGoToWhoNeedsThemAndAreGivenBackAtTheEnd(redis: Redis) -> None:
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
async def test_nonsenseInRedisIsReplacedAndEvictionCostsNobodyAnything(redis: Redis) -> None:
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
async def test_aRedisThatIsAwayLeavesAllWithWhatTheyHave(redis: Redis) -> None:
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
async def test_aClockThatIsSetBackKeepsNothingBack(redis: Redis) -> None:
    """By an hour: the places of one who dies then are free when they would have been, and a breaker is not stuck."""
    common = await PlainCommon(b"m.a", prefix="back").connect(redis)
    keys = [common.key(kind) for kind in ("head", "places", "members", "breaker")]

    async def exchange(member: str, now: int, need: int, state: str = "") -> list[Any]:
        numbers = [0, need, CEILING, CEILING, LIVE, LINGER, SETTLE, VANISHED, TURN]
        args = [b"e" * 16, 1 << 50, member, *numbers, "wake", state, 0, 0]
        found: list[Any] = await common._redis.eval(timed(now).text, keys, args)
        return found

    before = 1_700_000_000_000
    for step in range(9):
        await exchange("m.b", before + step * 1000, CEILING, "open")
    now = before - 3_600_000
    assert (await exchange("m.a", now, CEILING))[6] in (b"", "")  # nothing is known of the breaker
    await exchange("m.a", now + LIVE, CEILING)
    assert (await exchange("m.a", now + LIVE + LINGER - 1, CEILING))[1] == 0
    assert (await exchange("m.a", now + LIVE + LINGER, CEILING))[1] == CEILING
    await common.close()


@pytest_twisted.ensureDeferred
async def test_moreThanThereCanBeIsThrownAway(redis: Redis) -> None:
    """Thousands of entries that look like workers: a script could not even write them again."""
    running = Running(redis, "many")
    await running.add()
    await running.until(lambda: running.owned == [CEILING])
    fill = "for i = 1, 20000 do redis.call('HSET', KEYS[1], i, '0 0 5 1 0 0 x') end"
    redis.ask("EVAL", fill, "1", "{many}:places")
    await running.until(lambda: int(redis.ask("HLEN", "{many}:places")) == 2)
    await running.until(lambda: running.owned == [CEILING])
    await running.end()
