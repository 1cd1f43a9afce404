"""Exchanges what the alert rules of several machines have counted, and lets only one of them raise an alert.

It runs in the service, since the courier has no link to Redis. While Redis is away each machine counts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from ..keys.encryption import Unsealable
from ..record.alerts.spread import MOST_BYTES
from ..sharing.first_machine import claim_alert, machine_of
from ..sharing.kinds import Away, RedisScripts
from ..sharing.lua_scripts import script

SILENT_S: Final = 30.0
"""Seconds after which the counts of a machine that is silent are dropped."""
MOST_MACHINES: Final = 32


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

    async def exchange(self, own: bytes) -> list[bytes]:
        """Store what this machine has counted, and return that of the others. It never fails."""
        try:
            key = self._shared.key("subjects")
            value = self._shared.vault.seal(own, key)
            args = (machine_of(self._shared), value, int(SILENT_S * 1000), MOST_MACHINES)
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
        """Return whether this machine raises an alert; see ``claim_alert``."""
        return await claim_alert(self._shared, name, self._wall(), lasts_s)

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
