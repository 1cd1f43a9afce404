"""The courier of a process that does the work itself: in the simulation, and in tests that embed the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..interfaces import IMeter, ITrailReader
from ..process.host import REAL, Host
from ..record.sinks.carrier import only
from ..record.trail.journal import Journal
from .delivery import Delivery

if TYPE_CHECKING:
    from ..config import Settings


class CourierHere:
    """Follows the journal of its own process only; see ``Courier``."""

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        meter: IMeter,
        journal: Journal,
        *,
        host: Host = REAL,
        slot: int = 0,
    ) -> None:
        ends = only(lambda: journal.committed)
        self._delivery = Delivery(settings, reactor, meter, journal, ends, host=host, slot=slot)
        self.reader: ITrailReader | None = self._delivery.reader

    def fork(self) -> None:
        pass

    def start(self) -> None:
        self._delivery.start()

    def check(self, settings: Settings) -> None:
        """Do nothing: sinks in the serving process keep their options."""

    def reload(self, settings: Settings) -> None:
        """Do nothing: sinks in the serving process keep their options."""

    async def noticed(self, timeout_s: float) -> None:
        await self._delivery.noticed(timeout_s)

    async def stop(self, timeout_s: float) -> None:
        await self._delivery.stop(timeout_s)


class NoCourier:
    """Where there is nothing to do: the audit trail is off, or another worker starts the machine's courier."""

    reader: ITrailReader | None = None

    def fork(self) -> None:
        """Start no process: the work is done here."""

    def start(self) -> None:
        """Start nothing: ``fork`` has nothing to wait for."""

    def check(self, settings: Settings) -> None:
        """Accept all options: this process has checked them."""

    def reload(self, settings: Settings) -> None:
        """Change nothing: the parts here are reloaded by the service."""

    async def noticed(self, timeout_s: float) -> None:
        """Return at once: nothing is on its way to another process."""

    async def stop(self, timeout_s: float) -> None:
        """End nothing: there is no other process."""
