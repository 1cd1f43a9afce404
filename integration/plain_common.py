"""A ``Common`` without leases and membership, on a real Redis: for tests of one part's scripts."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import txredisapi

from hospproxy.keys.encryption import Seal
from hospproxy.sharing.kinds import Away
from hospproxy.sharing.lua_scripts import Script

from .redis_server import Redis


class PlainVault:
    """Seals like the ledger."""

    def __init__(self) -> None:
        self._seal = Seal(b"k" * 32, "00000000")

    def is_current(self, sealed: bytes) -> bool:
        return True

    def seal(self, plain: bytes, name: bytes) -> bytes:
        return self._seal.seal(plain, name.hex())

    def open(self, sealed: bytes, name: bytes) -> bytes:
        return self._seal.open(sealed, name.hex())


class PlainCommon:
    """The ``Common`` of one worker.

    :param member: its id.
    """

    def __init__(self, member: bytes = b"machine.one", prefix: str = "hospproxy") -> None:
        self.member = member
        self.vault = PlainVault()
        self.away = False
        self._prefix = b"{" + prefix.encode() + b"}:"
        self._redis: Any = None

    async def connect(self, redis: Redis) -> PlainCommon:
        """Begin an epoch if there is none, and join it."""
        self._redis = await txredisapi.Connection(
            "127.0.0.1", redis.port, reconnect=False, charset=None, convertNumbers=False
        )
        await self._redis.hsetnx(self.key("head"), b"epoch", b"e" * 16)
        await self._redis.hset(self.key("members"), self.member, b"0")
        return self

    async def close(self) -> None:
        await self._redis.disconnect()

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        if data is None:
            return self._prefix + kind.encode()
        said = hmac.digest(b"n" * 32, kind.encode() + b"\0" + data, hashlib.sha256)[:18]
        return self._prefix + kind.encode() + b":" + said.hex().encode()

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str]
    ) -> list[Any]:
        if self.away:
            raise Away("away")
        found: list[Any] = await self._redis.eval(
            script.text, [self.key("head"), *keys], [b"e" * 16, 1 << 50, *args]
        )
        if found[0] not in (b"ok", "ok"):
            raise Away(str(found[0]))
        return found[1:]
