"""A Redis in memory that runs the real script, and the part of a worker that the exchange of figures uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fakeredis

from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script
from tests.sharing.small_redis import SmallVault

KEY = b"{p}:figures"
_LATEST_MS = 1 << 52


class FiguresRedis:
    """One Redis.

    :ivar away: it cannot be reached.
    """

    def __init__(self) -> None:
        self.away = False
        self.data = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer())
        self.data.hset(b"{p}:head", b"epoch", b"e")

    def worker(self, machine: str) -> FiguresWorker:
        return FiguresWorker(self, machine)


class FiguresWorker:
    """A ``RedisScripts`` of a worker of some machine."""

    def __init__(self, redis: FiguresRedis, machine: str) -> None:
        self.redis = redis
        self.member = f"{machine}.w1".encode()
        self.vault = SmallVault()

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        return b"{p}:" + kind.encode() + (b"" if data is None else b":" + data)

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Any]) -> list[Any]:
        if self.redis.away:
            raise Away("Redis is away")
        every = (b"{p}:head", *keys)
        reply = self.redis.data.eval(script.text, len(every), *every, b"e", _LATEST_MS, *args)
        assert reply[0] == b"ok", reply
        return list(reply[1:])
