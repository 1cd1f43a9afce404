"""Makes the rules and the noticer that the settings enable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from ...interfaces import IJournal, IMeter
from ...process.folders import of_slot
from ...process.host import REAL, Host
from .bounded import RepeatFilter
from .count_rules import (
    AlertRule,
    AnothersName,
    BreakGlass,
    CountRule,
    FailedLoginsByAddress,
    FailedLoginsByName,
    ManyPatients,
)
from .follower import AlertRules
from .hour_rules import QuietHours, UnusualHours
from .learnt import Learnt
from .local_time import Calendar
from .noticer import Claim, Noticer
from .usual_rule import MoreThanUsual

if TYPE_CHECKING:
    from ...config import Settings
    from ...options.alerts_section import AlertsSettings

FILE = "noticing.json"
"""File in ``state_dir`` that holds what the rules have learnt."""


@frozen(slots=True)
class AlertParts:
    """The parts that start and stop with the rules.

    :param sink: gets each record that is on disk; None: no rule is enabled.
    """

    sink: AlertRules | None
    learnt: Learnt | None
    noticer: Noticer | None = None

    def start(self) -> None:
        """Load what was learnt before."""
        if self.learnt is not None:
            self.learnt.start()

    async def stop(self) -> None:
        """Save what was learnt, a last time."""
        if self.learnt is not None:
            await self.learnt.stop()


def noticing_for(
    settings: Settings,
    reactor: Any,
    journal: IJournal,
    meter: IMeter,
    slot: int = 0,
    host: Host = REAL,
    claim: Claim | None = None,
) -> AlertParts:
    """The rules that the settings enable; none if alerts or the audit trail are switched off.

    :param claim: as for ``Noticer``.
    :param slot: of the worker process in which they run. Each learns from the records it sees, and saves to a file of
        its own.
    """
    alerts = settings.alerts
    calendar = Calendar(alerts.time_zone)
    on = alerts.enabled and settings.audit.enabled
    hours = UnusualHours(calendar, alerts.learning_days) if on and alerts.unusual_hours else None
    usual = None
    if on and alerts.usual_patients_factor:
        usual = MoreThanUsual(
            calendar, alerts.usual_patients_factor, alerts.usual_patients_min, alerts.learning_days
        )
    rules: list[AlertRule] = _counting(alerts, host.entropy(16)) if on else []
    rules += [rule for rule in (usual, hours) if rule is not None]
    if on and alerts.break_glass:
        rules.append(BreakGlass())
    if on and alerts.quiet_hours:
        rules.append(QuietHours(alerts.quiet_hours, calendar))
    learnt = None
    if hours is not None or usual is not None:
        worker = host.worker(reactor, "noticing")
        learnt = Learnt(
            of_slot(settings.state_dir / FILE, slot), alerts.time_zone, worker, reactor, hours, usual
        )
    noticer = Noticer(rules, RepeatFilter(alerts.repeat_after_s), journal, meter, host.wall, claim)
    return AlertParts(AlertRules(noticer) if rules else None, learnt, noticer)


def _counting(alerts: AlertsSettings, salt: bytes) -> list[AlertRule]:
    """The rules that count within a window; the number 0 switches a rule off."""
    failed_s = alerts.failed_logins_window_s
    candidates: tuple[tuple[int, type[CountRule], float], ...] = (
        (alerts.failed_logins_by_address, FailedLoginsByAddress, failed_s),
        (alerts.failed_logins_by_name, FailedLoginsByName, failed_s),
        (alerts.patients, ManyPatients, alerts.patients_window_s),
        (alerts.anothers_name, AnothersName, alerts.anothers_name_window_s),
    )
    return [rule(most, window_s, salt) for most, rule, window_s in candidates if most]
