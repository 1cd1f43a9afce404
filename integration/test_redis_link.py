"""The link to a real Redis that asks for a password or a certificate, is paused, killed, full, or a replica."""

from __future__ import annotations

import random
import re
import signal
from collections.abc import AsyncIterator
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import globalLogPublisher

from hospproxy.keys.secrets import MasterKey
from hospproxy.options.redis_section import RedisSettings
from hospproxy.options.secret_fields import SecretText
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.link import Link
from hospproxy.sharing.lua_scripts import Script
from hospproxy.sharing.vault import Vault
from hospproxy.watch.metrics import Metrics

from .ports import free_port
from .redis_server import Redis
from .scripted_server import certificate
from .sink_carrier import clock, until

PAGE = Path(__file__).parent.parent / "docs" / "redis.md"


def script(text: str) -> Script:
    return Script("test", text, sha1(text.encode(), usedforsecurity=False).hexdigest())


ECHO = script("return {'ok', KEYS[1], ARGV[1]}")
FILL = script("return {redis.call('SET', KEYS[1], ARGV[1]).ok}")


class Rig:
    """A Redis, and links to it."""

    def __init__(self) -> None:
        self.redis: Any = None
        self.links: list[Link] = []
        self.events: list[Any] = []
        self.said: list[str] = []
        self.meter = Metrics(strict=True)

    async def start(self, *options: str) -> Redis:
        self.redis = Redis(*options)
        await self.redis.start()
        return self.redis  # type: ignore[no-any-return]

    def link(self, **options: Any) -> Link:
        settings = RedisSettings(**{"enabled": True, "url": self.redis.url, **options})
        link = Link(settings, clock, self.meter, random.random)
        link.subscribe(b"{hospproxy}:wake")
        link.on_up(self.events.append)
        link.on_down(lambda: self.events.append("down"))
        link.on_message(lambda payload: self.events.append(("message", payload)))
        link.start()
        self.links.append(link)
        return link

    async def up(self, **options: Any) -> Link:
        link = self.link(**options)
        await until(lambda: link.is_up, "the link")
        return link

    def observe(self, event: Any) -> None:
        if event.get("why") and event["log_namespace"] == "hospproxy.sharing.link":
            self.said.append(event["why"])
        assert "log_failure" not in event, event["log_failure"]


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    globalLogPublisher.addObserver(made.observe)
    yield made
    for link in made.links:
        link.stop()
    globalLogPublisher.removeObserver(made.observe)
    if made.redis is not None:
        made.redis.end()


async def refused(doing: Any) -> str:
    with pytest.raises(Away) as caught:
        await doing
    return str(caught.value)


@pytest_twisted.ensureDeferred
async def test_commands_and_messages(rig: Rig) -> None:
    """Scripts that Redis does not know yet or has forgotten; any bytes; many at one time."""
    await rig.start()
    link = await rig.up(database=3, timeout_s=10.0)  # 900 commands and 8 MiB at once, on a busy machine
    every = bytes(range(256))
    assert await link.evaluate(ECHO, [every], [every]) == [b"ok", every, every]
    rig.redis.ask("SCRIPT", "FLUSH")
    rig.redis.ask("FLUSHALL")
    assert await link.evaluate(ECHO, [b"k"], [7]) == [b"ok", b"k", b"7"]
    asked = [Deferred.fromCoroutine(link.evaluate(ECHO, [b"k"], [number])) for number in range(900)]
    found: Any = await gatherResults(asked)
    assert [int(each[2]) for each in found] == list(range(900))
    await link.ask("PUBLISH", b"{hospproxy}:wake", every)
    await until(lambda: ("message", every) in rig.events)
    large = b"v" * (8 << 20)
    assert (await link.evaluate(ECHO, [b"k"], [large]))[2] == large
    assert rig.meter.value("redis_commands_total", result="timeout") is None


@pytest_twisted.ensureDeferred
async def test_the_user_of_the_page(rig: Rig, tmp_path: Path) -> None:
    """It may do exactly what docs/redis.md permits; a changed password needs no restart."""
    [line] = re.findall(r"^ {4}(user hospproxy .*)$", PAGE.read_text(), re.MULTILINE)
    await rig.start("user default off", line.replace("PASSWORD", "first"))
    password = tmp_path / "password"
    password.write_text("wrong\n")
    link = rig.link(user="hospproxy", password_file=password)
    await until(lambda: rig.said == ["user or password is wrong"])
    password.write_text("first\n")
    await until(lambda: link.is_up)
    assert (await link.evaluate(ECHO, [b"{hospproxy}:x"], [b"1"]))[0] == b"ok"
    assert await link.ask("PUBLISH", b"{hospproxy}:wake", b"s 1") == 1
    assert "NOPERM" not in await refused(link.ask("GET", b"other"))
    assert link.is_up
    other = rig.link()
    await until(lambda: "it requires a password: set redis.password_file" in rig.said)
    assert not other.is_up
    password.unlink()
    rig.redis.kill()
    await rig.redis.start()
    await until(lambda: any(str(password) in each for each in rig.said))


@pytest_twisted.ensureDeferred
async def test_tls(rig: Rig, tmp_path: Path) -> None:
    """An own CA, and a client certificate. A server with another name or CA is refused, and gets no byte."""
    authority = certificate(tmp_path, "authority")
    for name in ("localhost", "client"):
        _, key = certificate(tmp_path, name, issuer=authority)
        kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (tmp_path / f"{name}.key").write_bytes(key.private_bytes(*kinds))
    certificate(tmp_path, "stranger")
    port = free_port()
    ours = (f"tls-ca-cert-file {tmp_path}/authority.pem", "tls-auth-clients yes")

    def shows(name: str, at: int) -> tuple[str, ...]:
        return (
            f"tls-port {at}",
            f"tls-cert-file {tmp_path}/{name}.pem",
            f"tls-key-file {tmp_path}/{name}.key",
        )

    await rig.start(*ours, *shows("localhost", port), "requirepass secret")
    # A name that is resolved: "localhost" as an address would be compared with 127.0.0.1.
    files = {
        "ca_file": tmp_path / "authority.pem",
        "certificate_file": tmp_path / "client.pem",
        "private_key_file": tmp_path / "client.key",
        "password": SecretText(b"secret"),
    }
    url = f"rediss://localhost:{port}"
    link = await rig.up(url=url, **files)
    assert (await link.evaluate(ECHO, [b"k"], [1]))[0] == b"ok"
    large = b"v" * (4 << 20)
    assert (await link.evaluate(ECHO, [b"k"], [large]))[2] == large
    for options, why in (
        ({"ca_file": tmp_path / "stranger.pem"}, "TLS failed"),
        ({"certificate_file": None, "private_key_file": None}, "TLS failed"),
        ({"url": f"rediss://127.0.0.1:{port}"}, "its certificate is for another host name"),
        ({"ca_file": tmp_path / "nothing.pem"}, "cannot be read"),
    ):
        rig.said.clear()
        bad = rig.link(**{"url": url, **files, **options})
        await until(lambda why=why: any(why in each for each in rig.said), why)  # type: ignore[misc]
        assert not bad.is_up
        bad.stop()


@pytest_twisted.ensureDeferred
async def test_paused(rig: Rig) -> None:
    """No call waits longer than the time-out; later replies are dropped."""
    await rig.start()
    link = await rig.up(timeout_s=0.1)
    rig.redis.signal(signal.SIGSTOP)
    late = [Deferred.fromCoroutine(link.evaluate(FILL, [b"k"], [number])) for number in range(3)]
    for each in late:
        await refused(each)
    assert await refused(link.ask("PING")) == "Redis is away"
    rig.redis.signal(signal.SIGCONT)
    await until(lambda: link.is_up)
    assert (await link.evaluate(ECHO, [b"k"], [b"own"]))[2] == b"own"
    first, down, second = rig.events
    assert (first, down) == (second, "down")


@pytest_twisted.ensureDeferred
async def test_killed(rig: Rig) -> None:
    """The link reconnects by itself, and a new run_id shows that Redis was restarted."""
    await rig.start()
    link = await rig.up()
    first = rig.events[0]
    assert f"run_id:{first.decode()}" in rig.redis.ask("INFO", "server")
    rig.redis.kill()
    await until(lambda: not link.is_up)
    await rig.redis.start()
    await until(lambda: link.is_up)
    await link.ask("PING")
    assert rig.events[1] == "down" and rig.events[2] != first
    assert (rig.meter.value("redis_reconnects_total") or 0) >= 1


@pytest_twisted.ensureDeferred
async def test_full(rig: Rig) -> None:
    """Writes fail, and the connection stays; stored values can still be read."""
    await rig.start("maxmemory 3mb", "maxmemory-policy noeviction")
    link = await rig.up()
    words = ""
    for number in range(200):
        try:
            await link.evaluate(FILL, [b"k%d" % number], [b"v" * 100_000])
        except Away as away:
            words = str(away)
            break
    assert words == "Redis: it answers OOM"
    assert link.is_up
    assert len(await link.ask("GET", b"k0")) == 100_000


@pytest_twisted.ensureDeferred
async def test_no_longer_the_primary(rig: Rig) -> None:
    """A server that became a replica is not used until it is a primary again."""
    await rig.start()
    link = await rig.up()
    rig.redis.ask("REPLICAOF", "127.0.0.1", "1")
    await refused(link.evaluate(FILL, [b"k"], [b"v"]))
    await until(lambda: any("replica" in each for each in rig.said))
    assert not link.is_up
    rig.redis.ask("REPLICAOF", "NO", "ONE")
    await until(lambda: link.is_up)
    assert await link.evaluate(FILL, [b"k"], [b"v"]) == [b"OK"]


@pytest_twisted.ensureDeferred
async def test_wrong_kinds(rig: Rig) -> None:
    """A key of another type, and a value that was changed."""
    await rig.start()
    link = await rig.up()
    vault = Vault(MasterKey(b"k" * 32), rig.meter, clock.seconds)
    await link.ask("SET", b"a", vault.seal(b"patient", b"a"))
    assert vault.open(await link.ask("GET", b"a"), b"a") == b"patient"
    assert "patient" not in rig.redis.ask("GET", "a")
    assert "WRONGTYPE" in await refused(link.ask("HGET", b"a", b"x"))
    assert await refused(link.evaluate(script("error('secret')"), [], [])) == "Redis: it answers ERR"
    assert link.is_up
