"""The figures of the machines that share a Redis: every machine stores its own there, and reads those of the others.

It happens every five seconds, outside of all requests. Redis holds one small value for each machine, which expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from attrs import frozen
from twisted.logger import Logger

from ...keys.encryption import Unsealable
from ...sharing.first_machine import claim_alert, machine_of
from ...sharing.kinds import Away, RedisScripts
from ...sharing.lua_scripts import script
from .surges import Change

SILENT_S: Final = 30.0
"""Seconds after which a machine that has stored nothing is no longer counted."""
CLAIM_S: Final = 60.0
"""Seconds within which other machines that notice the same raise no alert about it: all notice within half of that."""
MOST: Final = 32
"""Most machines that are counted together."""
MAX_BYTES: Final = 4096
"""Largest value of a machine that is read."""


class Figures(msgspec.Struct, frozen=True, array_like=True):
    """What a machine tells the others.

    :param seconds: for which its counters have grown, since its start.
    :param counts: since then, in the order of ``together.COUNTS``.
    :param started: seconds since the epoch.
    """

    version: str
    name: str
    started: float
    ready: bool
    workers: int
    running: int
    in_flight: float
    waiting: float
    seconds: float
    counts: tuple[float, ...]


@frozen(slots=True)
class Machine:
    """The figures of another machine, as read from Redis.

    :param age_s: seconds since it has stored them.
    """

    figures: Figures
    age_s: float


class Machines:
    """Exchanges figures through Redis.

    :param name: of this machine, for people; it is bounded.
    """

    _log = Logger()

    def __init__(self, common: RedisScripts, name: str) -> None:
        self._common = common
        self._script = script("figures")
        self._is_told = False
        self.name = name[:64]
        self.seen: Mapping[str, Machine] | None = None
        """The other machines by their ids; None: Redis is away, and nobody knows of them."""

    async def claim(self, change: Change, now: float) -> bool:
        """Return whether this machine raises the alert about what has begun. It never fails.

        :param now: seconds since the epoch.
        """
        return await claim_alert(self._common, f"surge {change.signal}", now, CLAIM_S)

    async def exchange(self, own: Figures) -> None:
        """Store the own figures, and read those of the others into ``seen``. It never fails."""
        try:
            key = self._common.key("figures")
            value = self._common.vault.seal(msgspec.json.encode(own), key)
            args = (machine_of(self._common), value, int(SILENT_S * 1000), MOST)
            [others] = await self._common.run(self._script, [key], args)
            self.seen = self._read(key, others)
        except (Away, ValueError, TypeError) as error:
            if self.seen:
                self._is_told = True
                self._log.warn(
                    "figures of the other machines cannot be read: surges are noticed on this machine alone ({why})",
                    why=str(error) or type(error).__name__,
                )
            self.seen = None
        else:
            if self._is_told and self.seen:
                self._is_told = False
                self._log.info("figures of {number} other machines are read again", number=len(self.seen))

    def _read(self, key: bytes, others: Any) -> dict[str, Machine]:
        """Read what Redis has returned. A value that cannot be read is left out: it names no machine.

        :raise ValueError: it is no list of names, ages and values.
        """
        if not isinstance(others, list) or len(others) % 3 or len(others) > 3 * MOST:
            raise ValueError("Redis sent an invalid reply")
        found = {}
        for name, age_ms, value in zip(others[::3], others[1::3], others[2::3], strict=True):
            if not isinstance(name, bytes) or not isinstance(age_ms, int) or not isinstance(value, bytes):
                raise ValueError("Redis sent an invalid reply")
            if len(name) > 64 or len(value) > MAX_BYTES:
                continue
            try:
                figures = msgspec.json.decode(self._common.vault.open(value, key), type=Figures)
            except (Unsealable, msgspec.MsgspecError):
                continue  # of a machine with another master key or version
            if all(0 <= each < 1e18 for each in (figures.seconds, *figures.counts)):
                found[name.decode("ascii", "replace")] = Machine(figures, max(0, age_ms) / 1000)
        return found
