"""Exchanges what the alert rules of several machines have counted, and sees to it that one of them raises an alert.

It runs in the service, since the courier has no link to Redis. While Redis is away each machine counts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.logger import Logger

from ..keys.encryption import Unsealable
from ..record.alerts.spread import MOST_BYTES
from ..sharing.kinds import Away, RedisScripts
from ..sharing.lua_scripts import script

SILENT_S: Final = 30.0
"""Seconds after which the counts of a machine that is silent are dropped."""
MOST_MACHINES: Final = 32


class _Holder(msgspec.Struct, frozen=True, array_like=True):
    machine: str
    until: float


class AlertExchange:
    """The part of Redis that alerts need.

    :param shared: this process among those of other machines.
    :param wall: seconds since the epoch.
    """

    _log = Logger()

    def __init__(self, shared: RedisScripts, wall: Callable[[], float]) -> None:
        self._shared = shared
        self._wall = wall
        self._alone = False

    @property
    def _own_id(self) -> str:
        return self._shared.member.partition(b".")[0].decode("ascii", "replace")

    async def exchange(self, own: bytes) -> list[bytes]:
        """Store what this machine has counted, and return that of the others. It never fails."""
        try:
            key = self._shared.key("subjects")
            value = self._shared.vault.seal(own, key)
            args = (self._own_id, value, int(SILENT_S * 1000), MOST_MACHINES)
            [others] = await self._shared.run(script("figures"), [key], args)
            found = self._opened(others, key)
        except (Away, ValueError, TypeError) as error:
            if not self._alone:
                self._log.warn(
                    "alerts count on this machine alone ({why})", why=str(error) or type(error).__name__
                )
            self._alone = True
            return []
        if self._alone:
            self._alone = False
            self._log.info("alerts count over all machines again")
        return found

    async def claim(self, name: str, lasts_s: float) -> bool:
        """Return whether this machine raises an alert: it is the first, or nobody can be asked. It never fails.

        A machine may claim again what it has claimed: its courier may have died before the alert was on disk. Redis
        cannot invent a claim, nor keep one for longer than it was made for: it is sealed, with its end.
        """
        try:
            key = self._shared.key("alert", name.encode("utf-8", "surrogatepass"))
            own = msgspec.json.encode(_Holder(self._own_id, self._wall() + lasts_s))
            args = (self._shared.vault.seal(own, key), max(1, int(lasts_s * 1000)))
            [held] = await self._shared.run(script("once"), [key], args)
            if not isinstance(held, bytes) or not held:
                return True
            holder = msgspec.json.decode(self._shared.vault.open(held, key), type=_Holder)
        except (Away, Unsealable, msgspec.MsgspecError, ValueError, TypeError):
            return True
        return holder.machine == self._own_id or holder.until <= self._wall()

    def _opened(self, others: Any, key: bytes) -> list[bytes]:
        """:raise ValueError: Redis sent something else than a list of machines."""
        if not isinstance(others, list) or len(others) % 3:
            raise ValueError("Redis sent an invalid reply")
        found = []
        for value in others[2 : 3 * MOST_MACHINES : 3]:
            if not isinstance(value, bytes) or len(value) > 3 * MOST_BYTES:
                continue
            try:
                found.append(self._shared.vault.open(value, key))
            except Unsealable:
                continue  # of a machine with another master key
        return found
