"""Lets one of several machines do something once for all of them, such as raise an alert."""

from __future__ import annotations

import msgspec

from ..keys.encryption import Unsealable
from .kinds import Away, RedisScripts
from .lua_scripts import script


class _Holder(msgspec.Struct, frozen=True, array_like=True):
    machine: str
    until: float


def machine_of(shared: RedisScripts) -> str:
    """Return the id of this machine; empty before it has joined."""
    return shared.member.partition(b".")[0].decode("ascii", "replace")


async def claim_alert(shared: RedisScripts, name: str, now: float, lasts_s: float) -> bool:
    """Return whether this machine raises an alert: it is the first, or nobody can be asked. It never fails.

    A machine may claim again what it has claimed: it may have died before the alert was on disk. Redis cannot invent a
    claim, nor keep one for longer than it was made for: it is sealed, with its end.

    :param name: what the alert is about.
    :param now: seconds since the epoch.
    :param lasts_s: seconds for which other machines raise none about it.
    """
    try:
        key = shared.key("alert", name.encode("utf-8", "surrogatepass"))
        own = msgspec.json.encode(_Holder(machine_of(shared), now + lasts_s))
        args = (shared.vault.seal(own, key), max(1, int(lasts_s * 1000)))
        [held] = await shared.run(script("once"), [key], args)
        if not isinstance(held, bytes) or not held:
            return True
        holder = msgspec.json.decode(shared.vault.open(held, key), type=_Holder)
    except (Away, Unsealable, msgspec.MsgspecError, ValueError, TypeError):
        return True
    return holder.machine == machine_of(shared) or holder.until <= now
