"""Builds the memory from the settings, including what outlives the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256

from attrs import frozen

from ..config import Settings
from ..foundations import Foundations
from ..keys.encryption import Seal
from ..process.folders import of_slot
from .accounts import Accounts
from .disk import DiskCache, DiskLimits
from .disk_file import CacheFile
from .memory import Memory
from .second_level import SecondLevelAccess
from .stall_fallback import StallSignal
from .store import LruStore


@frozen(slots=True, kw_only=True)
class Remembered:
    """The memory of responses and accounts, and the disk on which part of it outlives the process."""

    disk: DiskCache
    accounts: Accounts
    store: LruStore
    memory: Memory


def remembered_by(
    base: Foundations, *, away: Callable[[], bool], stalls: StallSignal, let_in: Callable[[], None]
) -> Remembered:
    """Build the memory, empty, and the disk, not yet open.

    :param away: whether HOSP is known to be down, so that no write can be sent.
    :param stalls: whether HOSP is silent for longer than usual.
    :param let_in: called around every write that may make HOSP accept credentials that it has refused.
    """
    disk = _disk(base)
    who = base.settings.identity
    accounts = Accounts(base.reactor, who.max_remembered, who.remember_s, who.offline_grace_s, disk)
    store = LruStore(base.settings.cache.max_bytes)
    memory = Memory(
        base.contract,
        accounts,
        store,
        base.reactor,
        base.late_commit_s,
        disk,
        base.sharing,
        partial(base.host.token, 8),
        away=away,
        stalls=stalls,
        let_in=let_in,
    )
    return Remembered(disk=disk, accounts=accounts, store=store, memory=memory)


def _disk(base: Foundations) -> DiskCache:
    """The disk. Each worker has its own file and its share of the space.

    Content made with another master key, contract or upstream is worthless: ids and routes mean something else.
    """
    settings, key, host = base.settings, base.key, base.host
    disk = DiskCache(
        CacheFile(of_slot(settings.cache_path, base.slot), f"{key.key_id} {_about(base).hex()}"),
        base.worker("cache"),
        base.reactor,
        host.wall,
        seal=Seal(key.subkey("cache on disk"), key.key_id, host.entropy),
        mac=key.hmac("names in the cache on disk"),
        limits=DiskLimits(
            disk_bytes(settings),
            settings.identity.max_remembered,
        ),
        trusted=base.sharing.is_alone,
    )
    base.metrics.gauge("cache_disk_bytes", lambda: float(disk.bytes))
    return disk


def disk_bytes(settings: Settings) -> int:
    """Return the most bytes of a worker's cache on disk."""
    return settings.cache.disk_max_bytes // settings.workers if settings.cache.enabled else 0


def _about(base: Foundations) -> bytes:
    """Hash of the contract and the upstream."""
    said = repr((base.settings.upstream.url, base.contract.document)).encode("utf-8", "surrogatepass")
    return sha256(said).digest()


def second_of(base: Foundations) -> SecondLevelAccess | None:
    """The second level, in Redis; None for a process that is alone."""
    shared = base.shared
    if shared is None:
        return None
    # Imported here: a process without Redis does not need it.
    from .redis.level import LevelLimits, RedisSecondLevel

    limits = LevelLimits(min(base.settings.redis.max_value_bytes, base.settings.cache.max_entry_bytes))
    heard = lambda: shared.position  # noqa: E731
    level = RedisSecondLevel(shared, base.reactor, base.metrics, limits, about=_about(base), heard=heard)
    return SecondLevelAccess(level, shared)
