"""Builds what a worker shares with others, from the settings."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

from ..config import Settings
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


def shared_of(settings: Settings, reactor: Any, key: MasterKey, meter: IMeter) -> Shared:
    """A worker among others; it begins with ``begin``."""
    redis = settings.redis
    timing = Timing(
        heartbeat_s=redis.heartbeat_s,
        lease_s=redis.lease_s,
        timeout_s=redis.timeout_s,
        settle_s=redis.settle_s,
        vanished_s=redis.vanished_s,
    )
    link = Link(redis, reactor, meter, random.SystemRandom().random)
    vault = Vault(key, meter, reactor.seconds)
    return Shared(link, vault, _names, reactor, timing, meter, os.urandom, redis.prefix)


def _names(vault: Sealing, sealed: bytes | None) -> NamesLike:
    names: NamesLike = Names.new(os.urandom) if sealed is None else Names.opened(vault, sealed)
    return names


def begin(
    shared: Shared, settings: Settings, owner: Owner, disk: Disk, begin_epoch: Callable[[], object]
) -> None:
    """Join the others.

    :param owner: this process, by its file lock.
    :param disk: what it keeps over restarts. Of what others changed meanwhile it knows nothing: until that was read
        nothing that is there counts.
    :param begin_epoch: called when Redis may have lost what was said there.
    :raise OSError: the name of this machine can neither be read nor made.
    """

    def joined(anew: bool) -> None:
        if anew and not disk.trusted:
            disk.forget_all()
        disk.trusted = True
        begin_epoch()

    machine = machine_id(settings.state_dir, os.urandom)
    disk.trusted = False
    shared.on_joined, shared.on_read = joined, disk.note_position
    shared.start(member_id(machine, owner.name), owner.is_gone, disk.position())
