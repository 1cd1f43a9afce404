"""Builds the arguments (ARGV) of ``beat.lua`` and ``bury.lua``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..options.redis_section import RedisSettings
from .generations import GENERATION_MS, key_of_tag
from .kinds import RedisScripts
from .news import EverythingStale, packed
from .outbox import OutboxMessage
from .tags import EVERYTHING

Arguments = list[bytes | int | str]


def beat_args(
    common: RedisScripts, messages: Sequence[OutboxMessage], pos: int | str, how: str, timing: RedisSettings
) -> Arguments:
    """Build the arguments of ``beat.lua``, from ARGV[3] on.

    :param pos: number of the last log entry that this worker has applied; or, when it joins, ``now`` (send it only
        entries from now on) or ``all`` (send it the whole log of this epoch).
    :param how: ``beat`` or ``leave``.
    :raise Away: the key for names has not been read from Redis yet.
    """
    place = common.key("log")
    args: Arguments = [
        common.member,
        pos,
        how,
        timing.held_ms,
        math.ceil(timing.vanished_s * 1000),
        common.key("wake"),
        common.vault.seal(packed(EverythingStale()), place),
        key_of_tag(common, EVERYTHING),
        GENERATION_MS,
        int(any(one.urgent for one in messages)),
    ]
    for one in messages:
        generations = [key_of_tag(common, tag) for tag in one.tags]
        args += [common.vault.seal(one.plain, place), len(generations), *generations]
    return args


def burial_args(common: RedisScripts, dead: Sequence[bytes]) -> Arguments:
    """Build the arguments of ``bury.lua``, from ARGV[3] on.

    :param dead: ids of the dead members.
    """
    sealed = common.vault.seal(packed(EverythingStale()), common.key("log"))
    return [sealed, key_of_tag(common, EVERYTHING), GENERATION_MS, *dead]
