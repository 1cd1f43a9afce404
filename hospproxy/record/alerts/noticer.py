"""Runs the alert rules on each record, and turns alerts into audit records, log lines and metrics."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...interfaces import IJournal, IMeter
from . import spread
from .alert import Alert
from .bounded import RepeatFilter
from .count_rules import AlertRule, CountRule
from .facts import RecordFacts, facts_of

Claim = Callable[[str, float], Deferred[bool]]
_HOUR_S = 3600.0
_QUARTER_S = 900.0
_MOST_HERE = 10_000
_MOST_RECENT = 10_000


@frozen(slots=True, eq=False)
class SeenRecord:
    """What the rules need of a record, and of all records that are like it.

    :param facts: None if it tells nothing about a person.
    :param asked: the rules that such facts concern.
    :param person: id of the person if HOSP confirmed who this is.
    :param everyday: it names no patient and no rule.
    """

    facts: RecordFacts | None
    asked: tuple[AlertRule, ...]
    person: int | str | None
    everyday: bool


_NOTHING: Final = SeenRecord(None, (), None, False)


class Noticer:
    """Runs the rules on each record.

    Nothing fails because of it: a bug in a rule is logged and counted.

    :param rules: in the order in which they run.
    :param journal: keeps the alerts' records.
    :param wall: seconds since the epoch.
    :param claim: asks whether this machine raises an alert, or another one has; None: there are no others.
    """

    _log = Logger()

    def __init__(
        self,
        rules: Sequence[AlertRule],
        repeats: RepeatFilter,
        journal: IJournal,
        meter: IMeter,
        wall: Callable[[], float],
        claim: Claim | None = None,
    ) -> None:
        self._rules = tuple(rules)
        self._repeats = repeats
        self._journal = journal
        self._meter = meter
        self._wall = wall
        self._claim = claim
        self._quarter = -1
        self._here: set[int | str] = set()
        self._recent: deque[float] = deque(maxlen=_MOST_RECENT)
        self._complained: set[str] = set()
        self._keeping: list[Deferred[None]] = []
        meter.gauge("alerts_recent", lambda: float(self.recent))

    @property
    def recent(self) -> int:
        """Alerts within the last hour."""
        now, recent = self._wall(), self._recent
        while recent and not now - _HOUR_S < recent[0] <= now + _HOUR_S:
            recent.popleft()
        return len(recent)

    async def kept(self) -> None:
        """Wait until the records of the alerts that were raised so far are on disk, or could not be written."""
        keeping, self._keeping = self._keeping, []
        for each in keeping:
            await each

    def observe(self, record: Mapping[str, Any], at: float | None = None) -> None:
        """Run the rules on a record that is on disk. Never raises.

        :param at: when it was made, in seconds since the epoch; None: now. A late alert counts at its own time.
        """
        try:
            seen = self.seen(record)
        except Exception as error:  # a bug here must not fail the request
            self._complain(f"looking at records: {type(error).__name__}")
        else:
            self.observe_seen(seen, at)

    def seen(self, record: Mapping[str, Any]) -> SeenRecord:
        """Return what the rules need of a record.

        :raise Exception: it is no such record.
        """
        facts = facts_of(record) if self._rules else None
        if facts is None:
            return _NOTHING
        asked = tuple(rule for rule in self._rules if _concerned(rule, facts))
        if record["kind"] != "request" or record["who"]["certainty"] != "verified":
            return SeenRecord(facts, asked, None, False)
        names_patient = bool(
            record["patient_id"] is not None or record["rule_hits"] or record.get("disclosed")
        )
        return SeenRecord(facts, asked, record["who"]["id"], not names_patient)

    def observe_seen(self, seen: SeenRecord, at: float | None = None, request_id: str | None = None) -> None:
        """Do the same for what ``seen`` returned. Never raises.

        :param request_id: of the record, if ``seen`` was of another that is like it.
        """
        try:
            now = self._wall() if at is None else at
            if not self._everyday(seen, now) and seen.facts is not None:
                facts = seen.facts if request_id is None else seen.facts.of(request_id)
                self._show(facts, seen.asked, now)
        except Exception as error:  # a bug here must not fail the request
            self._complain(f"looking at records: {type(error).__name__}")

    def _everyday(self, seen: SeenRecord, now: float) -> bool:
        """Whether no rule needs this record: the person was already seen in this quarter of an hour, and no
        patient is named.

        This is most of the traffic, so the check comes before any other work on the record.
        """
        quarter = int(now // _QUARTER_S)
        if quarter != self._quarter:
            self._quarter = quarter
            self._here.clear()
        person = seen.person
        if person is None:
            return False
        if person not in self._here:
            if len(self._here) < _MOST_HERE:
                self._here.add(person)
            return False
        return seen.everyday

    def _show(self, facts: RecordFacts, asked: Sequence[AlertRule], now: float) -> None:
        for rule in asked:
            try:
                alert = rule.observe(facts, now)
                if alert is not None:
                    self._tell(alert, now)
            except Exception as error:  # nor keep the other rules from running
                self._complain(f"{type(rule).__name__}: {type(error).__name__}")

    def _tell(self, alert: Alert, now: float) -> None:
        withheld = self._repeats.withheld(alert, now)
        if withheld is None:
            return
        if self._claim is None:
            self._raise(alert, withheld)
            return
        lasts_s = max(self._repeats.repeat_after_s, alert.silent_s)
        claimed = self._claim(f"{alert.rule} {alert.subject}", lasts_s)
        raised = claimed.addCallback(lambda won: self._raise(alert, withheld) if won else None)
        if not raised.called:
            self._keeping.append(raised)

    def _raise(self, alert: Alert, withheld: int) -> Deferred[None]:
        raised = self._wall()
        self._recent.append(raised)
        self._meter.count("alerts_total", rule=alert.rule)
        self._log.warn("alert {rule}: {text}", rule=alert.rule, text=alert.text)
        kept = self._journal.append(alert.record(raised, withheld)).addErrback(self._not_kept)
        if self._claim is None and not kept.called:
            self._keeping.append(kept)
        return kept

    def subjects(self) -> bytes:
        """Return what the other machines need in order to count with this one: the hottest subjects, bounded."""
        return spread.packed(self._counting, self._wall())

    def elsewhere(self, values: Sequence[bytes]) -> None:
        """Take what the other machines have returned from ``subjects``, and raise the alerts of the sums."""
        now = self._wall()
        for rule, counted in spread.unpacked(self._counting, values):
            try:
                for alert in rule.told(counted, now):
                    self._tell(alert, now)
            except Exception as error:  # as in _show
                self._complain(f"{type(rule).__name__}: {type(error).__name__}")

    @property
    def _counting(self) -> list[CountRule]:
        return [rule for rule in self._rules if isinstance(rule, CountRule)]

    def _not_kept(self, failure: Failure) -> None:
        self._meter.count("noticing_failures_total")
        self._log.error(
            "The audit record of an alert could not be written: {why}", why=failure.getErrorMessage()
        )

    def _complain(self, what: str) -> None:
        """Count a bug; log it with its traceback only the first time, since records come by the thousand."""
        self._meter.count("noticing_failures_total")
        if what not in self._complained and len(self._complained) < 100:
            self._complained.add(what)
            self._log.failure("Bug in an alert rule ({what}); requests are not affected", what=what)


def _concerned(rule: AlertRule, facts: RecordFacts) -> bool:
    try:
        return rule.concerns(facts)
    except Exception:  # a bug: ``observe`` may show it too, and is the place where it is logged
        return True
