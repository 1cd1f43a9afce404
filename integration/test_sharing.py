"""Workers that share one real Redis: the log, the leases, and every failure of Redis."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater

from hospproxy.keys.secrets import MasterKey
from hospproxy.options.redis_section import RedisSettings
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import script
from hospproxy.sharing.member import SharingMember
from hospproxy.sharing.news import AccountChange, EntriesInvalidated, EverythingStale, News
from hospproxy.sharing.vault import KeyNames, Vault
from hospproxy.watch.metrics import Metrics

from .plain_common import PlainVault
from .plain_link import PlainLink, reactor_now
from .redis_server import Redis

TIMING = RedisSettings(heartbeat_s=0.08, lease_s=0.45, timeout_s=0.25, settle_s=0.0, vanished_s=60.0)
STRUCK = EntriesInvalidated(("list:notes", "record:notes/1"))


class _Names:
    """Key names without a secret: other tests check that real ones hide their content."""

    def sealed(self, vault: Any) -> bytes:
        sealed: bytes = vault.seal(b"names", b"names")
        return sealed

    def key(self, prefix: str, kind: str, data: bytes | None = None) -> bytes:
        return b"{%b}:%b:%b" % (prefix.encode(), kind.encode(), (data or b"").hex().encode())


def _names(vault: Any, sealed: bytes | None) -> _Names:
    if sealed is not None:
        assert vault.open(sealed, b"names") == b"names"
    return _Names()


def _real_names(vault: Any, sealed: bytes | None) -> KeyNames:
    return KeyNames.new() if sealed is None else KeyNames.opened(vault, sealed)


class Worker:
    """One worker, and the news that it has received.

    :param key: key for real sealing.
    """

    def __init__(
        self, redis: Redis, member: bytes, timing: RedisSettings, key: MasterKey | None = None
    ) -> None:
        self.link = PlainLink(redis, timing.timeout_s)
        self.metrics = Metrics(strict=True)
        clock = reactor_now()
        vault: Any = PlainVault() if key is None else Vault(key, self.metrics, clock.seconds)
        make: Any = _names if key is None else _real_names
        self.shared = SharingMember(self.link, vault, make, clock, timing, self.metrics, os.urandom)
        self.heard: list[News] = []
        self.shared.listen(self.heard.append)
        self.member = member
        self.dead: set[str] = set()

    def start(self) -> Worker:
        self.shared.start(self.member, lambda name: name in self.dead)
        return self

    def crash(self) -> None:
        """Kill its process: it sends nothing more, not even a goodbye."""
        self.shared._running = False
        self.link.stop()


class Rig:
    """Redis, and the workers that share it."""

    def __init__(self) -> None:
        self.redis = Redis()
        self.workers: list[Worker] = []
        self._numbers = itertools.count(1)

    def worker(
        self, member: bytes | None = None, timing: RedisSettings = TIMING, key: MasterKey | None = None
    ) -> Worker:
        made = Worker(self.redis, member or b"machine%d.one" % next(self._numbers), timing, key)
        self.workers.append(made)
        return made.start()

    async def two(self) -> tuple[Worker, Worker]:
        """Start two workers, and wait until both may serve."""
        one, two = self.worker(), self.worker()
        await until(lambda: one.shared.may_serve and two.shared.may_serve)
        one.heard.clear()
        two.heard.clear()
        return one, two

    async def end(self) -> None:
        for each in self.workers:
            each.link.cut = False
            each.crash()
        await deferLater(reactor_now(), 0.12, lambda: None)  # their links notice
        self.redis.end()


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.redis.start()
    yield made
    await made.end()


async def until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    clock = reactor_now()
    latest = clock.seconds() + within_s
    while not condition():
        assert clock.seconds() < latest, "it did not come about"
        await deferLater(clock, 0.01, lambda: None)


def begun(work: Any) -> list[object]:
    """Gets something when the work is done."""
    done: list[object] = []
    Deferred.fromCoroutine(work).addBoth(done.append)
    return done


@pytest_twisted.ensureDeferred
async def test_what_one_announces_all_have_applied_when_it_returns(rig: Rig) -> None:
    one, two = await rig.two()
    three = rig.worker()
    await until(lambda: three.shared.may_serve)

    await one.shared.announce(STRUCK, AccountChange("r", "7", 120.0))

    assert two.heard == [STRUCK, AccountChange("r", "7", 120.0)]
    assert three.heard[-2:] == two.heard
    assert one.heard == []
    assert one.metrics.value("sharing_announce_seconds_count") == 1
    assert one.metrics.value("sharing_members", state="live") == 3


@pytest_twisted.ensureDeferred
async def test_what_is_said_without_waiting_arrives_as_well(rig: Rig) -> None:
    one, two = await rig.two()
    one.shared.say(STRUCK)
    await until(lambda: two.heard == [STRUCK])


@pytest_twisted.ensureDeferred
async def test_a_write_raises_the_generations_of_its_tags_to_a_number_never_used_before(rig: Rig) -> None:
    one, two = await rig.two()
    key = one.shared.key("gen", b"list:notes")
    await one.shared.announce(STRUCK)
    first = int(rig.redis.ask("GET", key.decode()))
    await two.shared.announce(STRUCK)
    second = int(rig.redis.ask("GET", key.decode()))
    assert second > first > 0
    assert 0 < int(rig.redis.ask("PTTL", key.decode())) <= 172_800_000


@pytest_twisted.ensureDeferred
async def test_a_writer_waits_for_who_does_not_read_and_no_longer_than_his_lease(rig: Rig) -> None:
    one, two = await rig.two()
    two.shared.listen(lambda _news: Deferred())  # the worker's disk hangs
    assert two.shared.may_serve
    served: list[bool] = []
    announced = Deferred.fromCoroutine(one.shared.announce(STRUCK))
    announced.addCallback(lambda _: served.append(two.shared.may_serve))
    await until(lambda: served)
    assert served == [False]


@pytest_twisted.ensureDeferred
async def test_who_can_never_apply_what_it_hears_serves_nothing_and_lets_nobody_wait_for_long(
    rig: Rig,
) -> None:
    one, two = await rig.two()
    broken = True
    two.shared.listen(lambda _news: fail(ValueError("no disk")) if broken else None)
    await one.shared.announce(STRUCK)
    await until(lambda: one.shared._view.members[two.member].pos > 0 and not two.shared.may_serve)
    await one.shared.announce(STRUCK)
    assert not two.shared.may_serve

    broken = False
    await until(lambda: two.shared.may_serve)
    assert two.heard[-1] == EverythingStale()


@pytest_twisted.ensureDeferred
async def test_who_is_cut_off_holds_the_others_back_until_it_is_back_and_has_said_what_it_wrote(
    rig: Rig,
) -> None:
    one, two = await rig.two()
    one.link.cut = True
    await until(lambda: not one.link.is_up)
    done = begun(one.shared.announce(STRUCK))
    await until(lambda: done)
    assert not one.shared.may_serve and not two.shared.may_serve
    assert not two.heard
    await until(lambda: two.metrics.value("sharing_held_back") == 1)

    one.link.cut = False
    await until(lambda: two.shared.may_serve)
    assert two.heard == [STRUCK]


@pytest_twisted.ensureDeferred
async def test_a_sibling_that_is_dead_is_buried_and_everything_is_dropped(rig: Rig) -> None:
    one, two = rig.worker(b"machine.1-a"), rig.worker(b"machine.2-b")
    await until(lambda: one.shared.may_serve and two.shared.may_serve)
    one.heard.clear()
    two.crash()
    await until(lambda: one.metrics.value("sharing_members", state="vanished") == 1)
    await until(lambda: not one.shared.may_serve)

    one.dead.add("2-b")
    await until(lambda: one.shared.may_serve)
    assert one.heard == [EverythingStale()]
    assert "machine.2-b" in rig.redis.ask("ZRANGE", "{hospproxy}:dead", "0", "-1")


@pytest_twisted.ensureDeferred
async def test_who_stays_away_too_long_is_buried_and_may_come_back(rig: Rig) -> None:
    short = RedisSettings(heartbeat_s=0.08, lease_s=0.45, timeout_s=0.25, settle_s=0.0, vanished_s=0.7)
    one, two = rig.worker(timing=short), rig.worker(timing=short)
    await until(lambda: one.shared.may_serve and two.shared.may_serve)
    one.heard.clear()
    two.link.cut = True
    await until(lambda: EverythingStale() in one.heard)
    await until(lambda: one.shared.may_serve)
    assert one.metrics.value("sharing_members", state="live") == 1

    two.link.cut = False
    await until(lambda: two.shared.may_serve)
    await one.shared.announce(STRUCK)
    assert two.heard[-1] == STRUCK


@pytest_twisted.ensureDeferred
async def test_goodbye_is_said_with_what_is_left_to_be_said_and_holds_nobody_back(rig: Rig) -> None:
    one, two = await rig.two()
    two.shared.say(STRUCK)
    await two.shared.stop()
    assert not two.shared.may_serve
    await one.shared.announce(EntriesInvalidated(("a",)))
    await until(lambda: one.heard == [STRUCK])
    assert one.shared.may_serve
    assert rig.redis.ask("HLEN", "{hospproxy}:members").strip() == "1"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kept", ["no", "yes"])
async def test_another_life_of_redis_is_another_epoch_and_all_is_dropped(rig: Rig, kept: str) -> None:
    rig.redis._options = (f"appendonly {kept}", "appendfsync always")
    rig.redis.kill()
    await rig.redis.start()
    one, two = await rig.two()
    epoch = rig.redis.ask("HGET", "{hospproxy}:head", "epoch")
    unbroken = one.shared.unbroken

    rig.redis.kill()
    await until(lambda: not one.shared.may_serve and not two.shared.may_serve)
    await rig.redis.start()
    await until(lambda: one.shared.may_serve and two.shared.may_serve)

    assert rig.redis.ask("HGET", "{hospproxy}:head", "epoch") != epoch
    assert EverythingStale() in one.heard and EverythingStale() in two.heard
    assert one.shared.unbroken > unbroken
    await one.shared.announce(STRUCK)
    assert two.heard[-1] == STRUCK


@pytest_twisted.ensureDeferred
async def test_who_does_not_come_back_after_a_restart_holds_the_others_back(rig: Rig) -> None:
    one, two = await rig.two()
    await until(lambda: len(two.shared._view.members) == 2)
    one.link.cut = True
    rig.redis.kill()
    await until(lambda: not two.shared.sees_others)
    await rig.redis.start()
    await until(lambda: two.shared.sees_others)
    await until(lambda: two.metrics.value("sharing_members", state="vanished") == 1)
    await until(lambda: not two.shared.may_serve)  # a lease of the epoch before

    one.link.cut = False
    await until(lambda: one.shared.may_serve and two.shared.may_serve)


@pytest_twisted.ensureDeferred
async def test_whatever_redis_loses_nobody_believes_that_nothing_was_missed(rig: Rig) -> None:
    one, two = await rig.two()
    for lost in ("head", "members", "leases", ""):
        one.heard.clear()
        two.heard.clear()
        rig.redis.ask(*(("DEL", "{hospproxy}:" + lost) if lost else ("FLUSHALL",)))
        await until(lambda: EverythingStale() in one.heard and EverythingStale() in two.heard)
    await until(lambda: one.shared.may_serve and two.shared.may_serve)
    await two.shared.announce(STRUCK)
    assert one.heard[-1] == STRUCK


@pytest_twisted.ensureDeferred
async def test_a_log_that_was_cut_off_or_is_gone_stands_for_everything(rig: Rig) -> None:
    one, two = await rig.two()
    one.link.cut = True
    await until(lambda: not one.link.is_up)
    await two.shared.announce(STRUCK)
    await two.shared.announce(EntriesInvalidated(("b",)))
    rig.redis.ask("XTRIM", "{hospproxy}:log", "MAXLEN", "1")
    one.link.cut = False
    await until(lambda: one.shared.may_serve)
    assert one.heard == [EverythingStale(), EntriesInvalidated(("b",))]

    one.heard.clear()
    one.link.cut = True
    await until(lambda: not one.link.is_up)
    await two.shared.announce(STRUCK)
    rig.redis.ask("DEL", "{hospproxy}:log")
    one.link.cut = False
    await until(lambda: one.heard)
    assert one.heard == [EverythingStale()]


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_opened_or_read_stands_for_everything(rig: Rig) -> None:
    one, two = await rig.two()
    number = int(rig.redis.ask("HINCRBY", "{hospproxy}:head", "seq", "1"))
    rig.redis.ask("XADD", "{hospproxy}:log", f"{number}-0", "d", "nonsense", "m", "x")
    await until(lambda: one.heard == [EverythingStale()] and two.heard == [EverythingStale()])
    number = int(rig.redis.ask("HINCRBY", "{hospproxy}:head", "seq", "1"))
    rig.redis.ask("XADD", "{hospproxy}:log", f"{number}-0", "quite", "different")
    await until(lambda: len(one.heard) == 2 and len(two.heard) == 2)
    await until(lambda: one.shared.may_serve and two.shared.may_serve)


@pytest_twisted.ensureDeferred
async def test_more_than_one_reply_holds_is_read_before_a_lease_is_given(rig: Rig) -> None:
    one, two = await rig.two()
    one.link.cut = True
    await until(lambda: not one.link.is_up)
    for round_ in range(3):
        for number in range(400):
            two.shared.say(EntriesInvalidated((f"t{round_}-{number}",)))
        await two.shared.announce(STRUCK)
    one.link.cut = False
    await until(lambda: one.shared.may_serve)
    assert len(one.heard) == 1203


@pytest_twisted.ensureDeferred
async def test_what_a_paused_redis_finds_in_its_buffers_is_void(rig: Rig) -> None:
    one, two = await rig.two()
    rig.redis.signal(signal.SIGSTOP)
    first = begun(one.shared.announce(STRUCK))  # the command is in Redis's buffer, or will be soon
    await until(lambda: first)
    await until(lambda: not two.shared.may_serve)
    one.link.cut = True  # this worker does not come back to repeat it
    rig.redis.signal(signal.SIGCONT)
    await until(lambda: two.shared.sees_others)
    await until(lambda: two.metrics.value("sharing_members", state="vanished") == 1)
    assert STRUCK not in two.heard
    assert not two.shared.may_serve

    one.link.cut = False
    await until(lambda: two.shared.may_serve)
    assert STRUCK in two.heard


@pytest_twisted.ensureDeferred
async def test_a_full_redis_gives_no_lease_and_hinders_no_write(rig: Rig) -> None:
    one, two = await rig.two()
    rig.redis.ask("CONFIG", "SET", "maxmemory", "1")
    await until(lambda: not one.shared.may_serve and not two.shared.may_serve)
    await one.shared.announce(STRUCK)
    rig.redis.ask("CONFIG", "SET", "maxmemory", "0")
    await until(lambda: one.shared.may_serve and two.shared.may_serve)
    assert two.heard == [STRUCK]


@pytest_twisted.ensureDeferred
async def test_a_script_of_another_part_runs_in_this_epoch_only(rig: Rig) -> None:
    one, _ = await rig.two()
    dead = [one.shared.key(kind) for kind in ("members", "leases", "log", "dead")]
    assert await one.shared.run(script("bury", "members"), dead, [b"sealed", b"nobody"]) == [0]
    rig.redis.ask("HSET", "{hospproxy}:head", "epoch", "0" * 16)
    with pytest.raises(Away):
        await one.shared.run(script("bury", "members"), dead, [b"sealed", b"nobody"])


def sealed_by(rig: Rig) -> str:
    """Id of the master key that sealed the key of the names."""
    script = "local s = redis.call('HGET', KEYS[1], 'names'); return {s:byte(2, 5)}"
    said = rig.redis.ask("EVAL", script, "1", "{hospproxy}:head").split()
    return bytes(map(int, said)).hex()


@pytest_twisted.ensureDeferred
async def test_a_new_master_key_renames_nothing_and_the_old_one_may_go(rig: Rig) -> None:
    old, new = MasterKey(b"o" * 32), MasterKey(b"n" * 32)
    ways = (old, MasterKey(old.secret, (new,)), MasterKey(new.secret, (old,)), new)
    names = []
    for key in ways:
        worker = rig.worker(key=key)
        await until(lambda worker=worker: worker.shared.may_serve)  # type: ignore[misc]
        names.append(worker.shared.key("gen", b"tag"))
        assert sealed_by(rig) == key.key_id, "whoever comes seals it anew"
        await worker.shared.stop()
    assert len(set(names)) == 1

    stranger = rig.worker(key=MasterKey(b"x" * 32))
    await until(lambda: stranger.metrics.render().count(b'redis_values_refused_total{reason="unknown_key"}'))
    assert not stranger.shared.may_serve and not stranger.shared.sees_others
    assert sealed_by(rig) == new.key_id
