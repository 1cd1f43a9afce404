"""The second cache level, behind each process's memory: sealed cache entries in Redis, with their tags' generations.

It needs no lease: a lookup compares generations in one atomic step, so an invalidated entry is never served. Entries
are not compressed: packing a list of 300 KiB takes 2 ms of the reactor, sealing it 0.07 ms, and a compressed length
reveals more about the content.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...interfaces import IMeter
from ...keys.encryption import Unsealable
from ...process.background import Background
from ...sharing.generations import GENERATION_MS, key_of_tag
from ...sharing.kinds import Away, RedisScripts
from ...sharing.lua_scripts import script
from ...sharing.tags import EVERYTHING
from ..second_level import LookupTicket, SharedHit
from .entry_codec import InvalidEntry, LookReply, looked, read, written

LOOK = script("look")
KEEP = script("keep")
MAX_KEEPING_BYTES = 8 << 20
"""Bytes on their way to a slow Redis, beyond which further cache entries are not stored there."""

_log = Logger()


@frozen(slots=True)
class LevelLimits:
    """Bounds of the cache level in Redis.

    :param max_value_bytes: longest sealed value, in bytes.
    :param max_keeping_bytes: bytes of values on their way to Redis at one time.
    """

    max_value_bytes: int
    max_keeping_bytes: int = MAX_KEEPING_BYTES


class RedisSecondLevel:
    """The cache level in Redis (memory.second.Level).

    :param clock: monotonic time.
    :param about: names the upstream and the contract: machines that differ in them share no cache entries.
    :param heard: returns the number of the last log entry that this process has applied. A response is stored only if
        this process has applied all news from before HOSP was asked; None: not checked.
    """

    def __init__(
        self,
        common: RedisScripts,
        clock: IReactorTime,
        meter: IMeter,
        limits: LevelLimits,
        *,
        about: bytes = b"",
        heard: Callable[[], int] | None = None,
    ) -> None:
        self._common = common
        self._clock = clock
        self._meter = meter
        self._limits = limits
        self._about = about
        self._heard = heard
        self._background = Background(_log, "a response could not be stored in Redis (a bug)", meter)
        self._keeping_bytes = 0
        self._said = False

    async def look(
        self, name: bytes, tags: tuple[str, ...], wanted: bool
    ) -> tuple[SharedHit | None, LookupTicket | None]:
        """Look a response up. Return it if nothing has invalidated it, and a ticket with which to store a new one."""
        tags = (*tags, EVERYTHING)
        sent = self._clock.seconds()
        try:
            keys = self._keys(name, tags)
            longest = self._limits.max_value_bytes if wanted else 0
            said = looked(await self._common.run(LOOK, keys, (longest, GENERATION_MS)), len(tags))
        except Away:
            return None, None
        except InvalidEntry:
            self._refused()
            return None, None
        ticket = LookupTicket(
            name, tags, said.epoch, said.generations, said.redis_ms, self._clock.seconds(), said.position
        )
        return self._opened(keys[0], said, sent), ticket

    def _opened(self, key: bytes, said: LookReply, sent: float) -> SharedHit | None:
        if said.value is None:
            return None
        try:
            return read(self._common.vault.open(said.value, key), said, sent)
        except (Unsealable, InvalidEntry):
            self._refused()
            return None

    def keep(self, ticket: LookupTicket, found: SharedHit, lifetime_s: float) -> None:
        """Store a response for the other processes. It does not wait, and the entry may be lost."""
        lasts_ms = int((found.answered + lifetime_s - self._clock.seconds()) * 1000)
        size = len(found.response.body)
        if lasts_ms <= 0 or size > self._limits.max_value_bytes:
            return
        if self._heard is not None and self._heard() < ticket.position:
            return
        if self._keeping_bytes + size > self._limits.max_keeping_bytes:
            self._meter.count("cache_events_total", event="shared_not_stored")
            return
        try:
            keys = self._keys(ticket.name, ticket.tags)
            sealed = self._common.vault.seal(written(ticket, found), keys[0])
        except Away:
            return
        if len(sealed) <= self._limits.max_value_bytes:
            self._keeping_bytes += size
            work = self._store(keys, (sealed, lasts_ms, *ticket.generations))
            self._background.run(work, lambda _: self._ended(size))

    async def _store(self, keys: list[bytes], args: tuple[bytes | int, ...]) -> None:
        try:
            await self._common.run(KEEP, keys, args)
        except Away:
            self._meter.count("cache_events_total", event="shared_not_stored")
        else:
            self._meter.count("cache_events_total", event="shared_stored")

    def _ended(self, size: int) -> None:
        self._keeping_bytes -= size

    def _keys(self, name: bytes, tags: tuple[str, ...]) -> list[bytes]:
        return [
            self._common.key("a", self._about + name),
            *(key_of_tag(self._common, tag) for tag in tags),
        ]

    def _refused(self) -> None:
        self._meter.count("cache_events_total", event="shared_refused")
        if not self._said:
            self._said = True
            _log.warn(
                "a cache entry in Redis is invalid and is ignored; further ones are only counted"
                " (cache_events_total, event shared_refused)"
            )
