"""A small Redis as the second level sees it, and a ``Common`` on it: on a Clock, without timeouts."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hospproxy.keys.encryption import Seal
from hospproxy.sharing.generations import key_of_tag
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script

EPOCH_MS = 1_700_000_000_000


class SmallRedis:
    """What the scripts look and keep do, in Python; integration/test_second_level.py has the real ones."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.epoch = b"e" * 16
        self.set_back_ms = 0
        self.seq = 0
        self.fresh = 0
        self.values: dict[bytes, bytes] = {}
        self.ends: dict[bytes, int] = {}

    @property
    def now(self) -> int:
        return EPOCH_MS + int(self.clock.seconds() * 1000) - self.set_back_ms

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key) if self.ends.get(key, 0) > self.now else None

    def set(self, key: bytes, value: bytes, px: int) -> None:
        self.values[key], self.ends[key] = value, self.now + px

    def look(self, keys: Sequence[bytes], longest: int, generation_ms: int) -> list[Any]:
        for key in keys[1:]:
            if self.get(key) is None:
                self.fresh += 1
                self.set(key, b"n%d" % self.fresh, generation_ms)
        value = self.get(keys[0]) if longest else None
        if value is not None and len(value) > longest:
            value = b""
        return [self.epoch, self.now, b"%d" % self.seq, value, [self.get(key) for key in keys[1:]]]

    def keep(self, keys: Sequence[bytes], value: bytes, px: int, *generations: bytes) -> list[Any]:
        if [self.get(key) for key in keys[1:]] != list(generations):
            return [0]
        self.set(keys[0], value, px)
        return [1]


class SmallVault:
    def __init__(self) -> None:
        self._seal = Seal(b"k" * 32, "00000000")

    def is_current(self, sealed: bytes) -> bool:
        return True

    def seal(self, plain: bytes, name: bytes) -> bytes:
        return self._seal.seal(plain, name.hex())

    def open(self, sealed: bytes, name: bytes) -> bytes:
        return self._seal.open(sealed, name.hex())


class SmallCommon:
    """The ``Common`` of one worker.

    :ivar away: Redis cannot be reached.
    :ivar hold: replies are delivered only when the test says so (``release``).
    :ivar says: reply to deliver instead of Redis's own.
    """

    member = b"machine.one"

    def __init__(self, redis: SmallRedis) -> None:
        self.redis = redis
        self.vault = SmallVault()
        self.away = self.hold = False
        self.says: Any = None
        self.waiting: list[Deferred[None]] = []
        self.ran: list[str] = []

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        if data is None:
            return b"{p}:" + kind.encode()
        said = hmac.digest(b"n" * 32, kind.encode() + b"\0" + data, hashlib.sha256)[:18]
        return b"{p}:" + kind.encode() + b":" + said.hex().encode()

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Any]) -> list[Any]:
        self.ran.append(script.name)
        if self.away:
            raise Away("away")
        found: list[Any] = getattr(self.redis, script.name)(keys, *args)
        if self.hold:
            waiter: Deferred[None] = Deferred()
            self.waiting.append(waiter)
            await waiter
        return found if self.says is None else self.says

    def release(self, error: Exception | None = None) -> None:
        """What was held is heard; or nothing is (``error``)."""
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            waiter.callback(None) if error is None else waiter.errback(error)

    def strike(self, *tags: str) -> None:
        """Invalidate tags, as a write of another worker does."""
        self.redis.seq += 1
        for tag in tags:
            self.redis.set(key_of_tag(self, tag), b"%d" % self.redis.seq, 1 << 40)
