"""All that follows the journal: carriers of sinks, alert rules, upkeep of closed files, searches of the index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..interfaces import IJournal, IMeter, ITrailReader
from ..process.host import REAL, Host
from ..record.access_log.build_access_log import access_log_for
from ..record.alerts.build_alerts import noticing_for
from ..record.alerts.noticer import Claim
from ..record.database.build_database import reader_for
from ..record.sinks.build_sinks import Carriers, needed_from, writers_for
from ..record.sinks.carrier import CarrierTime, Ends
from ..record.sinks.pace import JournalPace
from ..record.trail.build_journal import upkeep_for

if TYPE_CHECKING:
    from ..config import Settings

UPKEEP_S = 5.0
"""Seconds between two checks whether an upkeep run is due."""
_POLL_S = 0.05
_ALERTS_S = 0.2
"""Seconds that a stop keeps for saving what the alert rules have learnt."""


class Courier(Protocol):
    """What the service calls, wherever the work is done.

    :ivar reader: searches the index; None: there is none.
    """

    reader: ITrailReader | None

    def fork(self) -> None:
        """Fork the courier process, if it is one of its own: before threads, and before any part has started."""

    def start(self) -> None:
        """Begin to follow the journal, which need not have started yet."""

    def check(self, settings: Settings) -> None:
        """Check that changed options can be applied.

        :raise SinkError: a sink cannot be made.
        """

    def reload(self, settings: Settings) -> None:
        """Apply changed options to sinks, alert rules and retention. Records wait in the journal meanwhile."""

    def noticed(self, timeout_s: float) -> Awaitable[None]:
        """Let the alert rules see each record on disk. Call it before the journal is closed: alerts are records too.

        :param timeout_s: seconds; the rules see what is left after the next start.
        """

    def stop(self, timeout_s: float) -> Awaitable[None]:
        """Deliver what is on disk and stop. Call it once the journal is closed.

        :param timeout_s: seconds; records left after that are delivered after the next start.
        """


class Delivery:
    """The parts that follow the journal, started and stopped together.

    :param journal: keeps the records of alerts.
    :param ends: of the journals that are being written.
    :param slot: of the worker in whose process this is.
    :param pace: makes how fast each carrier goes.
    :param claim: as for ``Noticer``.
    :raise WriterError: a sink cannot be made.
    :raise KeyFileError: the signing key cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        meter: IMeter,
        journal: IJournal,
        ends: Ends,
        *,
        host: Host = REAL,
        slot: int = 0,
        pace: Callable[[], JournalPace] = JournalPace,
        claim: Claim | None = None,
    ) -> None:
        self._reactor = reactor
        self._ends = ends
        self._noticing = noticing_for(settings, reactor, journal, meter, slot, host, claim)
        self.noticer = self._noticing.noticer
        writers = writers_for(settings, reactor, host)
        self._access_log = access_log_for(settings, reactor, meter, host)
        if self._access_log is not None:
            writers.append(self._access_log.sink)
        rules = self._noticing.sink
        time = CarrierTime(reactor, host.wall, host.random, host.entropy)
        self._carriers = Carriers(writers, settings, reactor, time, meter, ends, host, pace)
        self._rules = self._carriers.carrier(rules) if rules is not None else None
        self._upkeep = upkeep_for(settings, reactor, meter, needed_from(settings, writers), host)
        self._tending = task.LoopingCall(self._tend)
        self._tending.clock = reactor
        asked = has_searches(settings)
        self.reader: ITrailReader | None = reader_for(settings, reactor, host) if asked else None

    def start(self) -> None:
        """Begin to follow the journal, which need not have started yet."""
        self._noticing.start()
        self._carriers.start()
        if self._access_log is not None:
            self._access_log.start()
        if self._rules is not None:
            self._rules.start()
        self._tending.start(UPKEEP_S)

    async def noticed(self, timeout_s: float) -> None:
        """Let the alert rules see each record on disk.

        :param timeout_s: seconds; the rules see what is left after the next start.
        """
        until = self._reactor.seconds() + timeout_s
        while self._rules is not None and not self._rules.arrived and self._reactor.seconds() < until:
            self._rules.hurry()
            await pause(self._reactor, _POLL_S)

    async def stop(self, timeout_s: float) -> None:
        """Deliver what is on disk, save what the alert rules have learnt, and stop.

        :param timeout_s: seconds; records left after that are delivered after the next start.
        """
        if self._tending.running:
            self._tending.stop()
        if self._rules is not None:
            # The journal is closed. A record that they see only now must be seen after the next start.
            await self._rules.stop(0.0)
        await self._noticing.stop()
        await self._carriers.stop(max(0.0, timeout_s - _ALERTS_S))
        if self._access_log is not None:
            await self._access_log.stop()
        self._upkeep.stop()

    def _tend(self) -> None:
        ends = self._ends()
        if ends:
            self._upkeep(*ends.values())


def has_searches(settings: Settings) -> bool:
    """Whether the audit page may search an index."""
    indexed = settings.audit.enabled and settings.audit_database.enabled
    return indexed and settings.admin.enabled and settings.audit_page.enabled


def pause(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """Return what fires after this many seconds."""
    return task.deferLater(clock, seconds, lambda: None)
