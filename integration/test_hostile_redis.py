"""A Redis that replies nonsense, or is damaged: reads are right, writes are stored once, the proxy never exits.

``HOSTILE_ROUNDS=20`` runs longer: each round uses other nonsense.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults

from .http_client import Answer, ask, journal
from .machines import QUICK, key_file
from .processes import Hosp, Processes, Proxy
from .redis_relay import Rewrite, Rewriting, as_it_is
from .redis_server import Redis
from .worker_processes import until

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "1"))
MOST_LINES = 60
"""Lines that a test may add to the log: each of two workers logs each problem once."""
_TROUBLE = re.compile(r"Traceback|Unhandled|A mistake|failed: ")


class Rig:
    """Two workers, a HOSP, a Redis, and a relay in front of Redis that changes replies."""

    def __init__(self, redis: Redis, relay: Rewriting, hosp: Hosp, proxy: Proxy) -> None:
        self.lines = 0
        self.redis = redis
        self.relay = relay
        self.hosp = hosp
        self.proxy = proxy
        self.made: list[str] = []
        self.statuses: Counter[int] = Counter()

    async def ask(self, method: str, path: str, *rest: Any, **more: Any) -> Answer:
        answer = await ask(self.proxy.plain_url, method, path, *rest, user="staff1", **more)
        self.statuses[answer.status] += 1
        return answer

    async def use(self, times: int = 1) -> None:
        """Write, and read the result, over connections to both workers."""
        for _ in range(times):
            patient = random.choice((3, 7))
            title = f"note {len(self.made)}"
            keyed = {"Idempotency-Key": f'"{title}"'} if len(self.made) % 4 == 3 else {}
            note = {"title": title, "body": "b", "patient_id": patient}
            made = await self.ask("POST", "/notes", note, headers=keyed)
            # After a 503 the next one has the same key, and the first may still be in progress.
            if made.status in (409, 503) and keyed:
                assert made.status == 409 or made.field("retry-after"), made
                continue
            assert made.status == 201, made
            self.made.append(title)
            path = f"/notes?patient_id={patient}"
            for answer in await gatherResults([_deferred(self.ask("GET", path)) for _ in range(4)]):
                assert answer.status == 200, answer
                assert "warning" not in dict(answer.fields)
                found = answer.json()
                assert [one["title"] for one in found].count(title) == 1, (title, found)
                assert {one["patient_id"] for one in found} == {patient}

    async def metric(self, name: str) -> float:
        said = (await ask(self.proxy.admin_url, "GET", "/metrics")).body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in said.splitlines() if line.startswith(name))

    async def counts(self, name: str) -> bool:
        """Whether a metric has counted something; sends more requests first."""
        before = await self.metric(f"hospproxy_{name}")
        await self.use()
        return await self.metric(f"hospproxy_{name}") > before

    async def recovers(self) -> None:
        """Wait until the proxy works normally: it serves from the cache again."""
        self.relay.rewrite, self.relay.delay_s, self.relay.mute = as_it_is, 0.0, False

        async def well() -> bool:
            answer = await self.ask("GET", "/notes?patient_id=3")
            assert answer.status == 200, answer
            hit = "hospproxy; hit" in (answer.field("cache-status") or "")
            return hit and await self.metric("hospproxy_sharing_lease") == 2

        await until(well, 90.0)

    async def until_keyed(self) -> None:
        """Wait until a write with a new key is carried out, and the slots at HOSP are handed out."""

        async def carried_out() -> bool:
            before = len(self.made)
            await self.use(4)
            return len(self.made) == before + 4

        await until(carried_out, 90.0)
        count = await self.metric('hospproxy_places_exchanges_total{result="done"}')

        async def exchanged() -> bool:
            return await self.metric('hospproxy_places_exchanges_total{result="done"}') > count

        await until(exchanged, 90.0)

    async def is_sound(self) -> None:
        """Check that no write was doubled or lost, no error was unhandled, and the log grew little."""
        await self.recovers()
        stored = Counter(
            entry["fields"]["title"] for entry in await journal(self.hosp.control_url, "stored", "notes")
        )
        assert stored == Counter(self.made)
        assert _TROUBLE.search(self.proxy.log) is None, self.proxy.log[-6000:]
        assert await self.metric("hospproxy_unhandled_errors_total") == 0
        lines = self.proxy.log.count("\n") - self.lines
        assert lines < MOST_LINES, self.proxy.log[-8000:]


def _deferred(doing: Any) -> Any:
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(doing)


@pytest_twisted.async_yield_fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """One place for all tests; each test leaves it sound."""
    folder = tmp_path_factory.mktemp("hostile")
    processes, redis = Processes(folder), Redis()
    relay = Rewriting(redis.port)
    await redis.start()
    relay.start()
    hosp = await processes.hosp()
    section = f'[redis]\nenabled = true\nurl = "redis://127.0.0.1:{relay.port}"\n{QUICK}'
    proxy = await processes.proxy(hosp.url, top=f"workers = 2\n{key_file(folder)}", options=section)
    await proxy.until_said("hospproxy admin on")
    made = Rig(redis, relay, hosp, proxy)
    yield made
    await processes.end_all()
    await relay.stop()
    redis.end()


@pytest_twisted.async_yield_fixture
async def rig(house: Rig) -> AsyncIterator[Rig]:
    await house.recovers()
    house.lines = house.proxy.log.count("\n")
    yield house


COUNTED = {
    "beat": 'redis_values_refused_total{reason="nonsense"}',
    "places": 'places_exchanges_total{result="nonsense"}',
    "claim": 'claims_total{outcome="nonsense"}',
    "look": 'cache_events_total{event="shared_refused"}',
}
EVERYBODY = (
    "open", "beat", "bury", "places", "look", "keep", "claim", "find", "settle", "watch", "said", "figures",
)  # fmt: skip
BULK = b"$%d\r\n%s\r\n"
ERRORS = (
    "ERR", "WRONGTYPE", "OOM", "READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "NOPERM", "NOREPLICAS", "MOVED 1 x:1",
    "ASK 1 x:1", "CLUSTERDOWN", "BUSY", "MISCONF", "NOSCRIPT", "EXECABORT", "UNKILLABLE", "\xff nonsense",
)  # fmt: skip


def atom(chance: random.Random) -> bytes:
    """One value of RESP."""
    values = (
        b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"$0\r\n\r\n", b":0\r\n", b":-1\r\n", b":1\r\n", b":9223372036854775807\r\n",
        b":-9223372036854775808\r\n", b"+OK\r\n", BULK % (3, b"nan"), BULK % (5, b"1e308"), BULK % (2, b"-1"),
        BULK % (2, b"\xc2\xb2"), BULK % (19, b"9" * 19), BULK % (40, b"x" * 40), BULK % (5, b"\xff\xfe\x00\r\n"),
    )  # fmt: skip
    return chance.choice(values)


def nested(chance: random.Random, depth: int = 3) -> bytes:
    """Lists within lists."""
    parts = [nested(chance, depth - 1) if depth and chance.random() < 0.2 else atom(chance) for _ in range(4)]
    return b"*4\r\n" + b"".join(parts)


def damaged(chance: random.Random, reply: bytes) -> bytes:
    """Return a script's reply with some values replaced, left out or added."""
    if not reply.startswith(b"*"):
        return atom(chance)
    values = _values(reply)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(1, len(values)) if len(values) > 1 else 0
        how = chance.random()
        if how < 0.7 and values:
            inner = values[at].startswith(b"*") and values[at] != b"*0\r\n" and chance.random() < 0.7
            values[at] = damaged(chance, values[at]) if inner else atom(chance)
        elif how < 0.85 and values:
            del values[at]
        else:
            values.insert(at, nested(chance))
    return b"*%d\r\n" % len(values) + b"".join(values)


def _values(reply: bytes) -> list[bytes]:
    from .redis_relay import Frames

    return Frames().feed(reply[reply.index(b"\r\n") + 2 :])


def of_scripts(change: Callable[[bytes], bytes], *names: str, share: float = 0.5) -> Rewrite:
    """A rewrite that changes some replies of these scripts."""
    chance = random.Random(share)
    return lambda name, reply: change(reply) if name in names and chance.random() < share else reply


@pytest_twisted.ensureDeferred
async def test_what_happens_to_a_redis(rig: Rig) -> None:
    """Full, read-only, emptied, without scripts, its clients killed, slow, or silent."""
    ask_redis = rig.redis.ask
    await rig.use(2)
    for command in (
        ("CONFIG", "SET", "maxmemory", "1"),
        ("CONFIG", "SET", "maxmemory", "0"),
        ("SCRIPT", "FLUSH"),
        ("FLUSHALL",),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("CLIENT", "KILL", "TYPE", "pubsub"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("REPLICAOF", "NO", "ONE"),
    ):
        ask_redis(*command)
        await rig.use(3)
    await rig.recovers()
    for delay_s in (0.1, 0.25, 0.35, 1.0):
        rig.relay.delay_s = delay_s
        await rig.use(2)
    await rig.recovers()
    rig.relay.mute = True
    await rig.use(4)
    rig.relay.cut()
    await rig.recovers()
    await rig.until_keyed()
    await rig.is_sound()
    assert "refuses commands: it answers OOM" in rig.proxy.log


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest_twisted.ensureDeferred
async def test_replies_of_the_wrong_kind(rig: Rig, seed: int) -> None:
    """For each script in turn: wrong values, too few, too many, nested lists, and errors."""
    chance = random.Random(seed)
    kinds: list[Callable[[bytes], bytes]] = [
        lambda reply: damaged(chance, reply),
        lambda _: nested(chance),
        lambda _: f"-{chance.choice(ERRORS)} secret\r\n".encode("latin-1"),
    ]
    for change in kinds:
        for name in EVERYBODY:
            rig.relay.rewrite = of_scripts(change, name)
            await rig.use(2)
        rig.relay.rewrite = of_scripts(change, *EVERYBODY, share=0.3)
        await rig.use(3)
    for name, counted in COUNTED.items():
        rig.relay.rewrite = of_scripts(lambda _: b"*2\r\n$2\r\nok\r\n:7\r\n", name, share=1.0)
        await until(partial(rig.counts, counted))
    await rig.is_sound()


def flip(chance: random.Random, reply: bytes) -> bytes:
    """Change some bytes of a reply."""
    changed = bytearray(reply)
    for _ in range(3):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest_twisted.ensureDeferred
async def test_what_is_no_reply(rig: Rig, seed: int) -> None:
    """Random bytes; replies that are truncated, doubled, swapped, too large, or of another protocol."""
    chance = random.Random(seed)
    held: list[bytes] = []

    def swapped(reply: bytes) -> bytes:
        held.append(reply)
        return b"" if len(held) % 2 else reply + held[-2]

    kinds: list[Callable[[bytes], bytes]] = [
        lambda reply: chance.randbytes(len(reply)),
        lambda reply: flip(chance, reply),
        lambda reply: reply[: chance.randrange(len(reply))],
        lambda reply: reply * 2,
        swapped,
        lambda _: b"$%d\r\n" % (1 << 40),
        lambda _: b"*1\r\n" * 100,
        lambda _: b"%1\r\n+a\r\n:1\r\n",
        lambda _: b"*1000000\r\n" + b"*0\r\n" * 1_000_000,
        lambda _: b"",
    ]
    for change in kinds:
        rig.relay.rewrite = of_scripts(change, *EVERYBODY, "PING", "INFO", "SUBSCRIBE", "message", share=0.2)
        await rig.use(2)
    await rig.is_sound()


PREFIX = "{hospproxy}:"
RUBBISH = (
    "nan",
    "inf",
    "-1",
    "1e308",
    "9" * 30,
    "0x10",
    "",
    "{}",
    '{"x":1e18}',
    "1 1 1 1 1 1 x",
    "x 1 2",
    "[1]",
)


def spoil(redis: Redis, key: str, how: int) -> None:
    """Change a key in a way that no script does."""
    name = PREFIX + key
    match how:
        case 0:
            redis.ask("SET", name, "of another kind")
        case 1:
            redis.ask("DEL", name)
        case 2:
            redis.ask("EVAL", "redis.call('DEL', KEYS[1]); redis.call('RPUSH', KEYS[1], 'x')", "1", name)
        case _:
            redis.ask("EVAL", SPOIL, "1", name, *RUBBISH)


SPOIL = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'hash' then
  local fields, n = redis.call('HKEYS', KEYS[1]), 0
  for i, field in ipairs(fields) do
    -- The names are sealed: where they cannot be read, they belong to another master key, and are left.
    if field ~= 'names' then redis.call('HSET', KEYS[1], field, ARGV[i % #ARGV + 1]) end
  end
  for i, one in ipairs(ARGV) do redis.call('HSET', KEYS[1], 'rubbish.' .. i, one) end
elseif kind == 'zset' then
  for i, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    redis.call('ZADD', KEYS[1], ({'inf', '-1', '1e300', '-inf', '1.5'})[i % 5 + 1], member)
  end
  redis.call('ZADD', KEYS[1], '-inf', 'rubbish')
elseif kind == 'stream' then
  redis.call('XADD', KEYS[1], '99999999999999-5', 'd', 'x')
elseif kind == 'string' then
  redis.call('SET', KEYS[1], 'rubbish')
end
"""
KEYS = (
    "head",
    "members",
    "leases",
    "dead",
    "log",
    "places",
    "breaker",
    "claims",
    "claims-ends",
    "claims-touched",
)


@pytest_twisted.ensureDeferred
async def test_keys_that_somebody_spoiled(rig: Rig) -> None:
    """Keys of another type, deleted, or full of garbage: the proxy continues and recovers."""
    await rig.use(4)
    for how in range(4):
        for key in KEYS:
            spoil(rig.redis, key, how)
            await rig.use()
            if ROUNDS > 1:
                await rig.recovers()
                await rig.until_keyed()
        await rig.recovers()
        await rig.until_keyed()
    await rig.is_sound()


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest_twisted.ensureDeferred
async def test_keys_go_one_by_one(rig: Rig, seed: int) -> None:
    """Like a full Redis that evicts: any key may vanish at any moment. Values move to other keys, too."""
    chance = random.Random(seed)
    for number in range(30):
        keys = rig.redis.ask("KEYS", "*").split()
        if keys:
            rig.redis.ask("DEL", chance.choice(keys))
        if number % 5 == 4:
            rig.redis.ask("EVAL", SWAP, "0")
        if number % 3 == 2:
            how = chance.choice(("removed", "said again", "rubbish", "renumbered"))
            rig.redis.ask("EVAL", TAMPER, "2", f"{PREFIX}head", f"{PREFIX}log", how)
        await rig.use()
    await rig.recovers()
    await rig.until_keyed()
    await rig.is_sound()


SWAP = """
local strings = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TYPE', key).ok == 'string' then strings[#strings + 1] = key end
end
table.sort(strings)
local values = {}
for i, key in ipairs(strings) do values[i] = redis.call('GET', key) end
for i, key in ipairs(strings) do redis.call('SET', key, values[i % #strings + 1]) end
"""

TAMPER = """
local how, log = ARGV[1], redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 5)
local function add(text)
  local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  redis.call('XADD', KEYS[2], seq .. '-0', 'd', text, 'm', 'nobody')
end
for _, entry in ipairs(log) do
  if how == 'removed' then redis.call('XDEL', KEYS[2], entry[1])
  elseif how == 'said again' then add(entry[2][2])
  elseif how == 'rubbish' then for i = 1, 100 do add('rubbish') end
  else redis.call('HINCRBY', KEYS[1], 'seq', 7) end
end
"""
