"""Builds the parts that a worker shares with others, from the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from .config import Settings
from .host import REAL, Host
from .interfaces import IMeter
from .memory.disk import Disk
from .outward.ledger.owner import Owner
from .outward.writes.ledger_entries import Keeping
from .outward.writes.redis.claims import RedisClaims
from .outward.writes.seen_ids import Sightings
from .secrets import MasterKey
from .sharing.kinds import NamesLike, Sealing
from .sharing.lease import Timing
from .sharing.link import Link
from .sharing.member import Shared
from .sharing.siblings import machine_id, member_id
from .sharing.vault import KeyNames, Vault


def shared_of(settings: Settings, reactor: Any, key: MasterKey, meter: IMeter, host: Host = REAL) -> Shared:
    """Build ``Shared`` for this worker. Start it with ``begin``."""
    redis = settings.redis
    timing = Timing(
        heartbeat_s=redis.heartbeat_s,
        lease_s=redis.lease_s,
        timeout_s=redis.timeout_s,
        settle_s=redis.settle_s,
        vanished_s=redis.vanished_s,
    )
    link = Link(redis, reactor, meter, host.random)
    vault = Vault(key, meter, reactor.seconds, host.entropy)

    def names(vault: Sealing, sealed: bytes | None) -> NamesLike:
        made: NamesLike = KeyNames.new(host.entropy) if sealed is None else KeyNames.opened(vault, sealed)
        return made

    return Shared(link, vault, names, reactor, timing, meter, host.entropy, redis.prefix)


def begin(
    shared: Shared,
    settings: Settings,
    owner: Owner,
    disk: Disk,
    begin_epoch: Callable[[], object],
    entropy: Callable[[int], bytes],
) -> None:
    """Start ``shared``: connect to Redis and join the other workers.

    :param owner: this process, by its file lock.
    :param disk: the cache on disk. Others may have made its entries stale while this process was down, so they are
        not trusted until the log has been read.
    :param begin_epoch: called each time this worker has joined: Redis may have lost claims since.
    :param entropy: returns this many random bytes.
    :raise OSError: the id of this machine can neither be read nor made.
    """

    def joined(anew: bool) -> None:
        if anew and not disk.trusted:
            disk.forget_all()
        disk.trusted = True
        begin_epoch()

    machine = machine_id(settings.state_dir, entropy)
    disk.trusted = False
    shared.on_joined, shared.on_read = joined, disk.note_position
    shared.start(member_id(machine, owner.name), owner.is_gone, disk.position())


def claims_of(
    shared: Shared,
    settings: Settings,
    sightings: Sightings,
    keeping: Keeping,
    clock: IReactorTime,
    meter: IMeter,
    host: Host,
    *,
    late_commit_s: float,
    is_gone: Callable[[str], bool],
) -> RedisClaims:
    """Build the claims: how this worker sees the writes of other workers and machines.

    :param late_commit_s: seconds after sending within which HOSP stores a write, if ever.
    :param is_gone: whether a worker of this machine, by its name, has ended.
    """
    return RedisClaims(
        shared,
        shared,
        sightings,
        keeping,
        clock,
        host.random,
        meter,
        late_commit_s=late_commit_s,
        window_s=settings.writes.resubmit_window_s,
        is_gone=is_gone,
    )
