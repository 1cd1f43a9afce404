"""The claim scripts on a real Redis, compared with their model; and two workers that write through it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
import txredisapi

from hospproxy.sharing.lua_scripts import Script, script
from tests.outward.writes.claims_model import Model, Store

from .plain_common import PlainCommon
from .redis_server import Redis

_ENDLESS = 4_000_000_000_000


@pytest_twisted.async_yield_fixture
async def redis() -> AsyncIterator[Redis]:
    server = Redis()
    await server.start()
    yield server
    server.end()


def _at(now: int, name: str) -> Script:
    """Return a script that takes this moment, in milliseconds, for the server's time."""
    text = script(name, "claims").text
    assert text.count("redis.call('TIME')") == 1
    return Script(name, text.replace("redis.call('TIME')", f"{{{now // 1000}, {now % 1000 * 1000}}}"), "-")


class Both:
    """Redis and the model, which get the same calls at the same moments.

    :ivar now: milliseconds, for both. The test moves it on, so that what ends has ended for both or for neither.
    """

    def __init__(self, redis: Redis, common: PlainCommon) -> None:
        self.redis, self.common = redis, common
        self.now = 1_800_000_000_000
        self.store = Store(lambda: self.now)

    def lease(self, member: str, end: int) -> None:
        self.redis.ask("ZADD", self.common.key("leases").decode(), str(end), member)
        self.store.leases[member] = end

    def member(self, member: str) -> None:
        self.redis.ask("HSET", self.common.key("members").decode(), member, "0")
        self.store.members.add(member)

    async def run(self, name: str, me: str, ref: str, *args: Any, answer: bool = False) -> list[Any]:
        """Run a script and the model, which must agree, and return the reply."""
        key = self.common.key
        keys = [key(one) for one in ("claims", "claims-ends", "claims-touched", "leases", "members")]
        if answer:
            keys.append(key("answer", ref.encode()))
        said = await self.common.run(_at(self.now, name), keys, [me, ref, *args])
        model = Model(self.store, me, ref, keys[5] if answer else None)
        expected = getattr(model, name)([one if isinstance(one, bytes) else str(one) for one in args])
        assert said[1:] == [one.encode() if isinstance(one, str) else one for one in expected], (
            name, me, ref, args, said[1:], expected,
        )  # fmt: skip
        return said[1:]


def _claim(
    ref: str, turn: str, equal: str, key: str, left: int, highest: str, gone: str, retry_of: str
) -> list[Any]:
    record = ref if turn.startswith("record") else ""
    return [
        turn, equal, key, left, 900_000, "notes", highest, record, 25_000, gone, "author", 10_000, retry_of,
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [5, 13, 16])
@pytest_twisted.ensureDeferred
async def test_the_model_does_what_the_scripts_do(redis: Redis, seed: int) -> None:
    """Some hundreds of steps by members that live and die; both give the same reply at every step."""
    dice, overtakings = random.Random(seed), Model.overtakings
    common = await PlainCommon(b"m0.a").connect(redis)
    both = Both(redis, common)
    members = ["m0.a", "m0.b", "m1.a"]
    for member in members:
        both.member(member)
        both.lease(member, _ENDLESS)
    words = set()
    for step in range(700):
        me, number = dice.choice(members), dice.randrange(max(0, step // 10 - 4), step // 10 + 2)
        ref = f"ref-{number}"
        equal = f"equal-{number % 3}"
        key = f"key-{number % 4}" if number % 2 else ""
        turn = f"record-{number % 2}" if number % 5 == 0 else equal
        what = dice.randrange(12)
        # In steps that also hit the ends of waits and windows exactly.
        both.now += dice.choice([0, 500, 500, 2000])
        if step % 12 == 0:
            both.lease(dice.choice(members), dice.choice([0, _ENDLESS]))
        if what < 4:
            left = dice.choice([0, 0, 40_000])
            found = await both.run(
                "claim", me, f"ref-{step // 10 + 1}",
                *_claim(
                    f"ref-{step // 10 + 1}", turn, equal, key, left, str(step),
                    dice.choice(["", "", *members]), dice.choice(["", ref]),
                ),
            )  # fmt: skip
        elif what < 7:
            state = dice.choice(["", "open", "answered", "found", "absent", "given up", "back"])
            flags = [dice.choice([0, 0, 1, 2]), int(dice.random() < 0.2), int(dice.random() < 0.2)]
            names = [turn, equal, key] if dice.random() < 0.8 else ["", "", ""]
            record = str(1000 + step) if state in ("answered", "found") else ""
            sealed = b"sealed\xff" if record else b""
            about = "" if not turn.startswith("record") else f"notes {turn}"
            if about:
                record = ""
            elif dice.random() < 0.3:
                about = f"notes {1000 + dice.randrange(max(0, step - 20), step + 1)}"
            found = await both.run(
                "settle", me, ref,
                *names, state, record, "notes" if record else "", *flags, 900_000, "author", sealed, 120_000,
                dice.choice(["", "c", "d"]), about, dice.choice("0112"),
                answer=True,
            )  # fmt: skip
        elif what < 9:
            found = await both.run("watch", me, ref, "notes", dice.choice("01"))
        elif what == 9:
            found = await both.run("said", me, "", "notes", str(step))
        elif what == 10:
            how = dice.choice(["own", "look", "outcome"])
            found = await both.run("find", me, ref, how, "", 5000, "", "", answer=how != "own")
        else:
            how = dice.choice(["equal", "key"])
            name = equal if how == "equal" else f"key-{dice.randrange(4)}"
            found = await both.run("find", me, "", how, name, 5000, equal, "")
        words |= {one for one in found[:1] if isinstance(one, bytes)}
    assert Model.overtakings > overtakings
    assert {b"yours", b"over", b"wait", b"known", b"other", b"join", b"mine", b"lost", b"is"} <= words, words
    await common.close()


@pytest_twisted.ensureDeferred
async def test_what_is_evicted_is_seen_by_the_mark(redis: Redis) -> None:
    common = await PlainCommon(b"m0.a").connect(redis)
    both = Both(redis, common)
    keys = [common.key(one) for one in ("claims", "claims-ends", "claims-touched", "leases", "members")]
    marks = set()
    for key in keys[:3]:
        marks.add((await common.run(script("said", "claims"), keys, ["m0.a", ""]))[0])
        redis.ask("DEL", key.decode())
    marks.add((await common.run(script("said", "claims"), keys, ["m0.a", ""]))[0])
    assert len(marks) == 4
    assert both.redis.ask("HGET", keys[0].decode(), "s:m0.a").strip() == "1"
    await common.close()


@pytest_twisted.ensureDeferred
async def test_what_has_ended_is_forgotten(redis: Redis) -> None:
    common = await PlainCommon(b"m0.a").connect(redis)
    both = Both(redis, common)
    both.lease("m0.a", _ENDLESS)
    arguments = _claim("ref-1", "turn", "equal", "", 0, "", "", "")
    arguments[4] = 1
    await both.run("claim", "m0.a", "ref-1", *arguments)
    both.now += 1
    assert await both.run("find", "m0.a", "", "equal", "equal", 0, "", "") == [b"none", b""]
    fields = set(redis.ask("HKEYS", common.key("claims").decode()).split())
    assert fields == {"_", "_began"}, fields
    await common.close()


@pytest_twisted.ensureDeferred
async def test_a_key_of_another_type_is_cleared(redis: Redis) -> None:
    """A key that was changed by hand counts as lost, and the mark shows that to every worker."""
    common = await PlainCommon(b"m0.a").connect(redis)
    redis.ask("SET", common.key("claims").decode(), "nonsense")
    keys = [common.key(one) for one in ("claims", "claims-ends", "claims-touched", "leases", "members")]
    first, _ = await common.run(script("said", "claims"), keys, ["m0.a", ""])
    redis.ask("HSET", common.key("claims").decode(), "_began", "nonsense")
    with pytest.raises(txredisapi.ResponseError):
        await common.run(script("said", "claims"), keys, ["m0.a", ""])
    assert (await common.run(script("said", "claims"), keys, ["m0.a", ""]))[0] != first
    await common.close()
