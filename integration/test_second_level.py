"""The second-level cache on a real Redis: the scripts, and what an intruder could read there."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import Deferred

from hospproxy.memory.redis.level import LevelLimits, RedisLevel
from hospproxy.messages import Identity
from hospproxy.sharing.generations import key_of_tag
from hospproxy.sharing.lua_scripts import script
from tests.memory.house import House, Reading, answer, call_of

from .common_place import PlainCommon
from .redis_server import Redis

SECRETS = ("Juno", "a limp in the left hind leg", "staff1", "password1", "list:notes", "accounts")
ANN = Identity(1, "staff1", b"hmac of the credentials")
BEN = Identity(2, "staff2", b"hmac of others")
NOTES = b'[{"patient": "Juno", "content": "a limp in the left hind leg"}]'


class Place:
    """Two caches on one Redis."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.commons: list[PlainCommon] = []

    async def cache(self) -> tuple[House, PlainCommon]:
        common = await PlainCommon(b"machine.%d" % len(self.commons)).connect(self.redis)
        self.commons.append(common)
        return House(common=common), common

    async def end(self) -> None:
        for common in self.commons:
            await common.close()


@pytest_twisted.async_yield_fixture
async def place() -> AsyncIterator[Place]:
    redis = Redis()
    await redis.start()
    made = Place(redis)
    yield made
    await made.end()
    redis.end()


async def until(there: Callable[[], Any]) -> None:
    from twisted.internet import reactor

    clock: Any = reactor
    latest = clock.seconds() + 10
    while not there():
        assert clock.seconds() < latest, "it did not come"
        await task.deferLater(clock, 0.01, lambda: None)


async def warm(house: House, body: bytes = NOTES, call: Any = "listNotes", who: Identity = ANN) -> None:
    """Fetch a response from HOSP, and wait until it is in Redis."""
    stored = house.meter.counts.get("cache_events_total:shared_stored", 0)
    await asks(house, body, call, who)
    await until(lambda: house.meter.counts.get("cache_events_total:shared_stored", 0) > stored)


async def asks(house: House, body: bytes = NOTES, call: Any = "listNotes", who: Identity = ANN) -> Reading:
    before = len(house.hosp)
    reading = house.send(call, who=who)
    await until(lambda: len(house.hosp) > before)
    house.reply(answer(body))
    await until(lambda: reading.outcome)
    return reading


async def hits(house: House, call: Any = "listNotes", who: Identity = ANN) -> Reading:
    before = len(house.hosp)
    reading = house.send(call, who=who)
    await until(lambda: reading.outcome)
    assert len(house.hosp) == before
    return reading


def refused(house: House) -> float:
    return house.meter.counts.get("cache_events_total:shared_refused", 0)


def raise_(place: Place, common: PlainCommon, tag: str) -> None:
    place.redis.ask(
        "SET", key_of_tag(common, tag).decode(), place.redis.ask("HINCRBY", "{hospproxy}:head", "seq", "1")
    )


def values(place: Place) -> list[str]:
    return [key for key in place.redis.ask("--scan").split() if ":a:" in key]


@pytest_twisted.ensureDeferred
async def test_two_share_and_awrite_ends_it(place: Place) -> None:
    (one, common), (two, _) = await place.cache(), await place.cache()
    await warm(one)
    reading = await hits(two)
    assert reading.response.body == NOTES
    assert reading.status.startswith(b"hospproxy; hit; ttl=") and reading.status.endswith(b"; detail=shared")
    three, _ = await place.cache()
    await asks(three, who=BEN)
    for tag in ("list:notes", "accounts", "account:1", f"credentials:{ANN.credentials.hex()}", "everything"):
        fresh, _ = await place.cache()
        raise_(place, common, tag)
        await warm(fresh)
        another, _ = await place.cache()
        await hits(another)


@pytest_twisted.ensureDeferred
async def test_a_write_between_look_and_keep_keeps_it_out(place: Place) -> None:
    (one, common), (two, _) = await place.cache(), await place.cache()
    reading = one.send("listNotes", who=ANN)
    await until(lambda: one.hosp)
    raise_(place, common, "list:notes")
    one.reply(answer(NOTES))
    await until(lambda: reading.outcome)
    await until(lambda: one.meter.counts.get("cache_events_total:shared_stored", 0))  # the script has run
    assert values(place) == []
    await asks(two)


@pytest_twisted.ensureDeferred
async def test_what_was_evicted_matches_nothing(place: Place) -> None:
    (one, _), (two, _) = await place.cache(), await place.cache()
    await warm(one)
    gone = [key for key in place.redis.ask("--scan").split() if ":gen:" in key]
    assert len(gone) == 6
    place.redis.ask("DEL", gone[2])
    await asks(two)
    assert refused(two) == 0


@pytest_twisted.ensureDeferred
async def test_nonsense_is_passed_over(place: Place) -> None:
    """Values that are swapped, truncated, too long or of another type, and lists as generations: HOSP is asked."""
    (one, common), redis = await place.cache(), place.redis
    await warm(one)
    await warm(one, b"[2]", call_of("listNotes", patient_id="7"))
    first, second = values(place)
    redis.ask("RENAME", first, "spare")
    redis.ask("RENAME", second, first)
    redis.ask("RENAME", "spare", second)
    house, _ = await place.cache()
    await warm(house)
    await warm(house, b"[2]", call_of("listNotes", patient_id="7"))
    assert refused(house) == 2
    for spoil in (
        lambda key: redis.ask("SETRANGE", key, "20", "nonsense"),
        lambda key: redis.ask("SET", key, ""),
        lambda key: redis.ask("SETRANGE", key, str(1 << 20), "x"),
        lambda key: (redis.ask("DEL", key), redis.ask("LPUSH", key, "x")),
    ):
        for key in values(place):
            spoil(key)
        house, _ = await place.cache()
        await warm(house)
        assert refused(house) == 1
    tag = key_of_tag(common, "list:notes").decode()
    redis.ask("DEL", tag)
    redis.ask("LPUSH", tag, "x")
    house, _ = await place.cache()
    await warm(house)
    other, _ = await place.cache()
    await hits(other)


@pytest_twisted.ensureDeferred
async def test_a_full_redis_costs_nothing_else(place: Place) -> None:
    one, _ = await place.cache()
    place.redis.ask("CONFIG", "SET", "maxmemory", "1")
    common = place.commons[0]

    async def run(*how: Any) -> Any:
        from txredisapi import ResponseError

        from hospproxy.sharing.kinds import Away

        try:
            return await PlainCommon.run(common, *how)
        except ResponseError as error:
            raise Away(str(error)[:20]) from None

    common.run = run  # type: ignore[method-assign]
    await asks(one)
    place.redis.ask("CONFIG", "SET", "maxmemory", "0")
    await warm(one, call=call_of("listNotes", patient_id="7"))


@pytest_twisted.ensureDeferred
async def test_a_value_ends_with_its_time(place: Place) -> None:
    _, common = await place.cache()
    from twisted.internet import reactor

    one = House(common=common)
    level = RedisLevel(common, reactor, one.meter, LevelLimits(1 << 20))
    _, ticket = await Deferred.fromCoroutine(level.look(b"x", ("list:notes",), True))
    assert ticket is not None
    found = await hits_of(level, ticket, 0.3)
    assert found is not None
    clock: Any = reactor
    assert 0 <= clock.seconds() - found.answered < 5
    await until(lambda: values(place) == [])


async def hits_of(level: RedisLevel, ticket: Any, lifetime_s: float) -> Any:
    from twisted.internet import reactor

    from hospproxy.memory.second_level import SharedHit

    clock: Any = reactor
    now = clock.seconds()
    level.keep(ticket, SharedHit(answer(NOTES), now, now), lifetime_s)
    found, _ = await Deferred.fromCoroutine(level.look(b"x", ("list:notes",), True))
    return found


@pytest_twisted.ensureDeferred
async def test_a_generation_is_never_used_twice(place: Place) -> None:
    _, common = await place.cache()
    seen = set()
    key = key_of_tag(common, "list:notes")
    for _ in range(20):
        reply = await common.run(script("look"), [common.key("a", b"x"), key], [0, 1000])
        assert reply[4][0] not in seen
        seen.add(reply[4][0])
        raise_(place, common, "list:notes")
        seen.add(place.redis.ask("GET", key.decode()).strip().encode())
        place.redis.ask("DEL", key.decode())


@pytest_twisted.ensureDeferred
async def test_nothing_in_it_can_be_read(place: Place) -> None:
    one, _ = await place.cache()
    await warm(one)
    dump = " ".join(place.redis.ask("--scan").split())
    for key in place.redis.ask("--scan").split():
        for command in (("DUMP", key), ("GET", key), ("HGETALL", key)):
            dump += place.redis.ask(*command)
    place.redis.ask("SAVE")
    raw = (place.redis.folder / "dump.rdb").read_bytes() + dump.encode()
    for secret in (*SECRETS, "staff1:password1", ANN.credentials.decode()):
        for form in (secret.encode(), *bases(secret)):
            assert form not in raw, form
    assert re.fullmatch(r"[0-9a-f]{36}", values(place)[0].rpartition(":")[2])


def bases(secret: str) -> list[bytes]:
    """Its base64 forms for each alignment: the characters that depend only on it."""
    plain = [b"\0" * shift + secret.encode() for shift in range(3)]
    return [
        base64.b64encode(one)[skip : len(one) * 8 // 6] for skip, one in zip((0, 2, 3), plain, strict=True)
    ]
