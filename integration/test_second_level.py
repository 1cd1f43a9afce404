"""The second-level cache on a real Redis: the scripts, and what an intruder could read there."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import Deferred

from hospproxy.http.messages import Identity
from hospproxy.memory.redis.level import LevelLimits, RedisSecondLevel
from hospproxy.sharing.generations import key_of_tag
from hospproxy.sharing.lua_scripts import script
from tests.memory.cache_rig import CacheRig, Reading, answer, call_of

from .plain_common import PlainCommon
from .redis_server import Redis

SECRETS = ("Juno", "a limp in the left hind leg", "staff1", "password1", "list:notes", "accounts")
ANN = Identity(1, "staff1", b"hmac of the credentials")
BEN = Identity(2, "staff2", b"hmac of others")
NOTES = b'[{"patient": "Juno", "content": "a limp in the left hind leg"}]'


class Rig:
    """Two caches on one Redis."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.commons: list[PlainCommon] = []

    async def cache(self) -> tuple[CacheRig, PlainCommon]:
        common = await PlainCommon(b"machine.%d" % len(self.commons)).connect(self.redis)
        self.commons.append(common)
        return CacheRig(common=common), common

    async def end(self) -> None:
        for common in self.commons:
            await common.close()


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    redis = Redis()
    await redis.start()
    made = Rig(redis)
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


async def warm(
    cache_rig: CacheRig, body: bytes = NOTES, call: Any = "listNotes", who: Identity = ANN
) -> None:
    """Fetch a response from HOSP, and wait until it is in Redis."""
    stored = cache_rig.meter.counts.get("cache_events_total:shared_stored", 0)
    await asks(cache_rig, body, call, who)
    await until(lambda: cache_rig.meter.counts.get("cache_events_total:shared_stored", 0) > stored)


async def asks(
    cache_rig: CacheRig, body: bytes = NOTES, call: Any = "listNotes", who: Identity = ANN
) -> Reading:
    before = len(cache_rig.hosp)
    reading = cache_rig.send(call, who=who)
    await until(lambda: len(cache_rig.hosp) > before)
    cache_rig.reply(answer(body))
    await until(lambda: reading.outcome)
    return reading


async def hits(cache_rig: CacheRig, call: Any = "listNotes", who: Identity = ANN) -> Reading:
    before = len(cache_rig.hosp)
    reading = cache_rig.send(call, who=who)
    await until(lambda: reading.outcome)
    assert len(cache_rig.hosp) == before
    return reading


def refused(cache_rig: CacheRig) -> float:
    return cache_rig.meter.counts.get("cache_events_total:shared_refused", 0)


def raise_(rig: Rig, common: PlainCommon, tag: str) -> None:
    rig.redis.ask(
        "SET", key_of_tag(common, tag).decode(), rig.redis.ask("HINCRBY", "{hospproxy}:head", "seq", "1")
    )


def values(rig: Rig) -> list[str]:
    return [key for key in rig.redis.ask("--scan").split() if ":a:" in key]


@pytest_twisted.ensureDeferred
async def test_two_share_and_awrite_ends_it(rig: Rig) -> None:
    (one, common), (two, _) = await rig.cache(), await rig.cache()
    await warm(one)
    reading = await hits(two)
    assert reading.response.body == NOTES
    assert reading.status.startswith(b"hospproxy; hit; ttl=") and reading.status.endswith(b"; detail=shared")
    three, _ = await rig.cache()
    await asks(three, who=BEN)
    for tag in ("list:notes", "accounts", "account:1", f"credentials:{ANN.credentials.hex()}", "everything"):
        fresh, _ = await rig.cache()
        raise_(rig, common, tag)
        await warm(fresh)
        another, _ = await rig.cache()
        await hits(another)


@pytest_twisted.ensureDeferred
async def test_a_write_between_look_and_keep_keeps_it_out(rig: Rig) -> None:
    (one, common), (two, _) = await rig.cache(), await rig.cache()
    reading = one.send("listNotes", who=ANN)
    await until(lambda: one.hosp)
    raise_(rig, common, "list:notes")
    one.reply(answer(NOTES))
    await until(lambda: reading.outcome)
    await until(lambda: one.meter.counts.get("cache_events_total:shared_stored", 0))  # the script has run
    assert values(rig) == []
    await asks(two)


@pytest_twisted.ensureDeferred
async def test_what_was_evicted_matches_nothing(rig: Rig) -> None:
    (one, _), (two, _) = await rig.cache(), await rig.cache()
    await warm(one)
    gone = [key for key in rig.redis.ask("--scan").split() if ":gen:" in key]
    assert len(gone) == 6
    rig.redis.ask("DEL", gone[2])
    await asks(two)
    assert refused(two) == 0


@pytest_twisted.ensureDeferred
async def test_nonsense_is_passed_over(rig: Rig) -> None:
    """Values that are swapped, truncated, too long or of another type, and lists as generations: HOSP is asked."""
    (one, common), redis = await rig.cache(), rig.redis
    await warm(one)
    await warm(one, b"[2]", call_of("listNotes", patient_id="7"))
    first, second = values(rig)
    redis.ask("RENAME", first, "spare")
    redis.ask("RENAME", second, first)
    redis.ask("RENAME", "spare", second)
    cache_rig, _ = await rig.cache()
    await warm(cache_rig)
    await warm(cache_rig, b"[2]", call_of("listNotes", patient_id="7"))
    assert refused(cache_rig) == 2
    for spoil in (
        lambda key: redis.ask("SETRANGE", key, "20", "nonsense"),
        lambda key: redis.ask("SET", key, ""),
        lambda key: redis.ask("SETRANGE", key, str(1 << 20), "x"),
        lambda key: (redis.ask("DEL", key), redis.ask("LPUSH", key, "x")),
    ):
        for key in values(rig):
            spoil(key)
        cache_rig, _ = await rig.cache()
        await warm(cache_rig)
        assert refused(cache_rig) == 1
    tag = key_of_tag(common, "list:notes").decode()
    redis.ask("DEL", tag)
    redis.ask("LPUSH", tag, "x")
    cache_rig, _ = await rig.cache()
    await warm(cache_rig)
    other, _ = await rig.cache()
    await hits(other)


@pytest_twisted.ensureDeferred
async def test_a_full_redis_costs_nothing_else(rig: Rig) -> None:
    one, _ = await rig.cache()
    rig.redis.ask("CONFIG", "SET", "maxmemory", "1")
    common = rig.commons[0]

    async def run(*how: Any) -> Any:
        from txredisapi import ResponseError

        from hospproxy.sharing.kinds import Away

        try:
            return await PlainCommon.run(common, *how)
        except ResponseError as error:
            raise Away(str(error)[:20]) from None

    common.run = run  # type: ignore[method-assign]
    await asks(one)
    rig.redis.ask("CONFIG", "SET", "maxmemory", "0")
    await warm(one, call=call_of("listNotes", patient_id="7"))


@pytest_twisted.ensureDeferred
async def test_a_value_ends_with_its_time(rig: Rig) -> None:
    _, common = await rig.cache()
    from twisted.internet import reactor

    one = CacheRig(common=common)
    level = RedisSecondLevel(common, reactor, one.meter, LevelLimits(1 << 20))
    _, ticket = await Deferred.fromCoroutine(level.look(b"x", ("list:notes",), True))
    assert ticket is not None
    found = await hits_of(level, ticket, 0.3)
    assert found is not None
    clock: Any = reactor
    assert 0 <= clock.seconds() - found.answered < 5
    await until(lambda: values(rig) == [])


async def hits_of(level: RedisSecondLevel, ticket: Any, lifetime_s: float) -> Any:
    from twisted.internet import reactor

    from hospproxy.memory.second_level import SharedHit

    clock: Any = reactor
    now = clock.seconds()
    level.keep(ticket, SharedHit(answer(NOTES), now, now), lifetime_s)
    found, _ = await Deferred.fromCoroutine(level.look(b"x", ("list:notes",), True))
    return found


@pytest_twisted.ensureDeferred
async def test_a_generation_is_never_used_twice(rig: Rig) -> None:
    _, common = await rig.cache()
    seen = set()
    key = key_of_tag(common, "list:notes")
    for _ in range(20):
        reply = await common.run(script("look"), [common.key("a", b"x"), key], [0, 1000])
        assert reply[4][0] not in seen
        seen.add(reply[4][0])
        raise_(rig, common, "list:notes")
        seen.add(rig.redis.ask("GET", key.decode()).strip().encode())
        rig.redis.ask("DEL", key.decode())


@pytest_twisted.ensureDeferred
async def test_nothing_in_it_can_be_read(rig: Rig) -> None:
    one, _ = await rig.cache()
    await warm(one)
    dump = " ".join(rig.redis.ask("--scan").split())
    for key in rig.redis.ask("--scan").split():
        for command in (("DUMP", key), ("GET", key), ("HGETALL", key)):
            dump += rig.redis.ask(*command)
    rig.redis.ask("SAVE")
    raw = (rig.redis.folder / "dump.rdb").read_bytes() + dump.encode()
    for secret in (*SECRETS, "staff1:password1", ANN.credentials.decode()):
        for form in (secret.encode(), *bases(secret)):
            assert form not in raw, form
    assert re.fullmatch(r"[0-9a-f]{36}", values(rig)[0].rpartition(":")[2])


def bases(secret: str) -> list[bytes]:
    """Its base64 forms for each alignment: the characters that depend only on it."""
    plain = [b"\0" * shift + secret.encode() for shift in range(3)]
    return [
        base64.b64encode(one)[skip : len(one) * 8 // 6] for skip, one in zip((0, 2, 3), plain, strict=True)
    ]
