"""Builds the memory from the settings, including what outlives the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

from ..config import Settings
from ..contract import Contract
from ..encryption import Seal
from ..host import REAL, Host
from ..interfaces import IMeter
from ..secrets import MasterKey
from ..sharing.kinds import ALONE, Common, Sharing
from ..workers.files import of_slot
from .accounts import Accounts
from .disk import Disk, DiskLimits
from .disk_file import CacheFile
from .memory import Memory
from .redis.level import LevelLimits, RedisLevel
from .second_level import Second
from .store import LruStore


def disk_of(
    settings: Settings,
    contract: Contract,
    key: MasterKey,
    reactor: Any,
    meter: IMeter,
    slot: int = 0,
    host: Host = REAL,
) -> Disk:
    """The disk, not yet open. Each worker has its own file and its share of the space.

    Content made with another master key, contract or upstream is worthless: ids and routes mean something else.
    """
    disk = Disk(
        CacheFile(of_slot(settings.cache_path, slot), f"{key.key_id} {_about(settings, contract).hex()}"),
        host.worker(reactor, "cache"),
        reactor,
        host.wall,
        seal=Seal(key.subkey("cache on disk"), key.key_id, host.entropy),
        mac=key.hmac("names in the cache on disk"),
        limits=DiskLimits(
            settings.cache.disk_max_bytes // settings.workers if settings.cache.enabled else 0,
            settings.identity.max_remembered,
        ),
    )
    meter.gauge("cache_disk_bytes", lambda: float(disk.bytes))
    return disk


def _about(settings: Settings, contract: Contract) -> bytes:
    """Hash of the contract and the upstream."""
    said = repr((settings.upstream.url, contract.document)).encode("utf-8", "surrogatepass")
    return sha256(said).digest()


def second_of(
    settings: Settings,
    contract: Contract,
    common: Common,
    sharing: Sharing,
    reactor: Any,
    meter: IMeter,
    heard: Callable[[], int],
) -> Second:
    """Build the second level, in Redis.

    :param heard: returns the number of the last log entry that this process has applied.
    """
    limits = LevelLimits(min(settings.redis.max_value_bytes, settings.cache.max_entry_bytes))
    about = _about(settings, contract)
    return Second(RedisLevel(common, reactor, meter, limits, about=about, heard=heard), sharing)


def memory_of(
    settings: Settings,
    contract: Contract,
    key: MasterKey,
    reactor: Any,
    meter: IMeter,
    sharing: Sharing = ALONE,
    slot: int = 0,
    host: Host = REAL,
) -> tuple[Disk, Memory]:
    """The memory of responses and accounts, and the disk on which part of it outlives the process."""
    disk = disk_of(settings, contract, key, reactor, meter, slot, host)
    who = settings.identity
    accounts = Accounts(reactor, who.max_remembered, who.remember_s, who.offline_grace_s, disk)
    store = LruStore(settings.cache.max_bytes)
    late_commit_s = settings.writes.late_commit_s
    name = partial(host.token, 8)
    return disk, Memory(contract, accounts, store, reactor, late_commit_s, disk, sharing, name)
