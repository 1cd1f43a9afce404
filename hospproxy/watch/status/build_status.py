"""Builds the status page and its recorder from the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from socket import gethostname
from typing import Any, Protocol

from attrs import define, evolve, field, frozen

from ...config import Settings
from ...interfaces import IJournal
from ...options.source import NO_RELOAD, OptionsState
from ...process.host import Host
from ...record.alerts.system_alert import SystemAlerts
from ...sharing.kinds import RedisScripts
from ..health import Health
from ..merge import Overview, Snapshot
from ..metrics import Metrics
from .counts import NEEDED
from .document import About
from .machines import Machines
from .recorder import Recorder
from .status_page import StatusPage
from .surges import Change

FILE = "status.json"
"""File in ``state_dir`` that holds the history."""


class SeatLike(Protocol):
    """What this part needs of ``worker_identity.Seat``, which stands in a layer above."""

    @property
    def slot(self) -> int: ...

    @property
    def gather(self) -> Callable[[Snapshot], Awaitable[Overview]] | None: ...


@define(slots=True)
class NotedOptions:
    """What has become of the options since the start."""

    state: OptionsState = field(factory=OptionsState)


@define(slots=True)
class SurgeReports:
    """Raises an alert for each surge, unless the options do not want that.

    :param wanted: a reload may change it.
    """

    alerts: SystemAlerts
    wanted: bool

    def __call__(self, change: Change, text: str) -> None:
        """Report a surge that has begun or ended."""
        if self.wanted:
            self.alerts.tell(text, change.lasted_s)


@frozen(slots=True)
class Status:
    """The status page and what feeds it; both None where another worker has them, or if they are switched off."""

    page: StatusPage | None = None
    recorder: Recorder | None = None
    reports: SurgeReports | None = None
    options: NotedOptions = field(factory=NotedOptions)

    def note(self, state: OptionsState) -> None:
        """Show what has become of the options."""
        self.options.state = state
        if self.page is not None:
            self.page.about = evolve(self.page.about, options=state)

    def reload(self, settings: Settings) -> None:
        """Show the changed options, and apply them to the reports."""
        if self.page is not None:
            self.page.about = about_of(settings, self.options.state)
        if self.reports is not None:
            self.reports.wanted = wants_reports(settings)

    def start(self) -> None:
        """Begin to read the metrics every few seconds."""
        if self.recorder is not None:
            self.recorder.start()

    async def stop(self) -> None:
        """Save the history a last time."""
        if self.recorder is not None:
            await self.recorder.stop()


def status_for(
    settings: Settings,
    reactor: Any,
    host: Host,
    health: Health,
    metrics: Metrics,
    journal: IJournal,
    seat: SeatLike,
    shared: RedisScripts | None = None,
) -> Status:
    """Build the status page of this machine.

    :param journal: keeps the alerts about surges.
    :param seat: of this process; slot 0 counts for all workers.
    :param shared: this process among those of other machines; None: there are no others.
    """
    options = NotedOptions()
    if seat.slot == 0:
        metrics.gauge("options_generation", lambda: float(options.state.generation))
        metrics.gauge("options_applied_seconds", lambda: options.state.applied_at)
        metrics.gauge("options_refused_seconds", lambda: options.state.refused_at)
    if not settings.status.enabled or seat.slot != 0:
        return Status(options=options)
    gather = seat.gather

    async def read() -> Overview:
        if gather is None:
            return Overview({0: metrics.snapshot(health.reasons(), NEEDED)}, {})
        return await gather(metrics.snapshot(health.reasons()))

    report = SurgeReports(SystemAlerts(journal, metrics, host.wall), wants_reports(settings))
    recorder = Recorder(
        settings.state_dir / FILE,
        reactor,
        host.wall,
        host.worker(reactor, "status"),
        metrics,
        read,
        gather is None,
        report,
        None if shared is None else Machines(shared, gethostname()),
    )
    page = StatusPage(recorder, about_of(settings), health.reasons, host.wall)
    return Status(page, recorder, report, options)


def about_of(settings: Settings, state: OptionsState = NO_RELOAD) -> About:
    """Return what the page shows of the options."""
    return About(
        version("hospproxy"),
        settings.workers,
        settings.gate.concurrency,
        settings.gate.max_queue,
        settings.redis.enabled,
        state,
        settings.arrival.max_connections * settings.workers,
    )


def wants_reports(settings: Settings) -> bool:
    """Whether surges raise alerts."""
    return settings.status.surge_alerts and settings.alerts.enabled and settings.audit.enabled
