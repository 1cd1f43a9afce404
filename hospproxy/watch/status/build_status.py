"""Builds the status page and its recorder from the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from socket import gethostname
from typing import Any, Protocol

from attrs import frozen

from ...config import Settings
from ...host import Host
from ...interfaces import IJournal
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


@frozen(slots=True)
class Status:
    """The status page and what feeds it; both None where another worker has them, or if they are switched off."""

    page: StatusPage | None = None
    recorder: Recorder | None = None

    def start(self) -> None:
        """Begin to read the metrics."""
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
    if not settings.status.enabled or seat.slot != 0:
        return Status()
    gather = seat.gather

    async def read() -> Overview:
        if gather is None:
            return Overview({0: metrics.snapshot(health.reasons(), NEEDED)}, {})
        return await gather(metrics.snapshot(health.reasons()))

    alerts = SystemAlerts(journal, metrics, host.wall)
    wanted = settings.status.surge_alerts and settings.alerts.enabled and settings.audit.enabled

    def report(change: Change, text: str) -> None:
        if wanted:
            alerts.tell(text, change.lasted_s)

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
    about = About(
        version("hospproxy"),
        settings.workers,
        settings.gate.concurrency,
        settings.gate.max_queue,
        settings.redis.enabled,
    )
    return Status(StatusPage(recorder, about, health.reasons, host.wall), recorder)
