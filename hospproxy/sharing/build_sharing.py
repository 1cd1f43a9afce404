"""Builds this worker's part among the others, from the settings, and lets it join them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import Settings
from ..interfaces import IMeter
from ..keys.secrets import MasterKey
from ..process.host import Host
from .kinds import NamesLike, Sealing
from .link import Link
from .member import SharingMember
from .siblings import machine_id, member_id
from .vault import KeyNames, Vault


def shared_of(settings: Settings, reactor: Any, key: MasterKey, meter: IMeter, host: Host) -> SharingMember:
    """Build ``SharingMember`` for this worker. Start it with ``join``."""
    redis = settings.redis
    link = Link(redis, reactor, meter, host.random)
    vault = Vault(key, meter, reactor.seconds, host.entropy)

    def names(vault: Sealing, sealed: bytes | None) -> NamesLike:
        made: NamesLike = KeyNames.new(host.entropy) if sealed is None else KeyNames.opened(vault, sealed)
        return made

    return SharingMember(link, vault, names, reactor, redis, meter, host.entropy)


def join(
    shared: SharingMember,
    state_dir: Path,
    owner: str,
    is_gone: Callable[[str], bool],
    read: tuple[bytes, int] | None,
    entropy: Callable[[int], bytes],
) -> None:
    """Connect to Redis and join the other workers.

    :param state_dir: where the id of this machine is kept.
    :param owner: name of the file lock that this process holds.
    :param is_gone: whether the worker of this machine that held a file lock, by its name, is dead.
    :param read: epoch and number up to which an earlier process has applied the log to the cache on disk.
    :param entropy: returns this many random bytes.
    :raise OSError: the id of this machine can neither be read nor made.
    """
    shared.start(member_id(machine_id(state_dir, entropy), owner), is_gone, read)
