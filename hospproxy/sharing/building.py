"""Builds what a worker shares with others, from the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config import Settings
from ..host import REAL, Host
from ..interfaces import IMeter
from ..memory.disk import Disk
from ..outward.ledger.owner import Owner
from ..secrets import MasterKey
from .kinds import NamesLike, Sealing
from .lease import Timing
from .link import Link
from .shared import Shared
from .siblings import machine_id, member_id
from .vault import Names, Vault


def shared_of(settings: Settings, reactor: Any, key: MasterKey, meter: IMeter, host: Host = REAL) -> Shared:
    """A worker among others; it begins with ``begin``."""
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
        made: NamesLike = Names.new(host.entropy) if sealed is None else Names.opened(vault, sealed)
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
    """Join the others.

    :param owner: this process, by its file lock.
    :param disk: what it keeps over restarts. Of what others changed meanwhile it knows nothing: until that was read
        nothing that is there counts.
    :param begin_epoch: called when Redis may have lost what was said there.
    :param entropy: gives so many random bytes.
    :raise OSError: the name of this machine can neither be read nor made.
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
