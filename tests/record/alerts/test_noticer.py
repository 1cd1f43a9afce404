from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.alerts.alert import RULES
from hospproxy.record.alerts.bounded import RepeatFilter
from hospproxy.record.alerts.count_rules import (
    AnothersName,
    FailedLoginsByAddress,
    FailedLoginsByName,
    ManyPatients,
)
from hospproxy.record.alerts.hour_rules import QuietHours, UnusualHours
from hospproxy.record.alerts.local_time import Calendar
from hospproxy.record.alerts.noticer import Noticer
from hospproxy.record.alerts.usual_rule import MoreThanUsual
from hospproxy.record.audit import Audit
from hospproxy.record.describe import Describer
from hospproxy.watch.metrics import Metrics
from tests.rig import EPOCH, STAFF1, STAFF2, Rig

from .records import DAY, HOUR, MONDAY, Counts, KeptJournal, failed_login, record

WRONG = b"Basic c3RhZmYxOndyb25n"


class Broken:
    """A rule with an error in it."""

    def concerns(self, _facts: Any) -> bool:
        return True

    def observe(self, _facts: Any, _now: float) -> None:
        raise ZeroDivisionError


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal, self.meter, self.now = KeptJournal(), Counts(), MONDAY

    def noticer(self, *rules: Any, repeat_after_s: float = 3600.0) -> Noticer:
        return Noticer(rules, RepeatFilter(repeat_after_s), self.journal, self.meter, lambda: self.now)


class WhatBecomesOfAnAlert(Case):
    def test_a_record_with_all_its_fields(self) -> None:
        noticer = self.noticer(FailedLoginsByName(2, 300))
        for _ in range(2):
            noticer.observe(failed_login())
        [alert] = self.journal.records
        who = {"id": None, "name": None, "certainty": "claimed", "name_hmac": "ab" * 32}
        self.assertEqual(
            alert,
            {
                "v": 1,
                "kind": "alert",
                "time": "2023-11-20T00:00:00.000Z",
                "request_id": "req-1",
                "rule": "failed-logins-name",
                "text": "2 failed log-ins for one name that HOSP has not accepted (HMAC abababababababab) within"
                " 5 minutes, the last from 192.0.2.7.",
                "who": who,
                "client": {"address": "192.0.2.7"},
                "patient_id": None,
                "count": 2,
                "window_s": 300,
                "withheld": 0,
            },
        )

    def test_it_is_counted_and_forgotten_after_an_hour(self) -> None:
        noticer = self.noticer(FailedLoginsByAddress(1, 300), FailedLoginsByName(1, 300))
        noticer.observe(failed_login())
        self.assertEqual(self.meter.counted[("alerts_total", "failed-logins-address")], 1)
        self.assertEqual(self.meter.gauges["alerts_recent"](), 2)
        self.now += HOUR
        self.assertEqual(self.meter.gauges["alerts_recent"](), 0)

    def test_it_is_told_once_and_then_with_how_many_were_withheld(self) -> None:
        noticer = self.noticer(FailedLoginsByAddress(1, 300))
        for passed in (0, 1, 1, 3600):
            self.now += passed
            noticer.observe(failed_login())
        self.assertEqual([each["withheld"] for each in self.journal.alerts()], [0, 2])
        self.assertEqual(self.meter.counted[("alerts_total", "failed-logins-address")], 2)

    def test_every_name_of_a_metric_is_in_the_table(self) -> None:
        self.meter = Metrics(strict=True)  # type: ignore[assignment]
        noticer = self.noticer(FailedLoginsByAddress(1, 300), Broken())
        noticer.observe(failed_login())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        value = Metrics.value
        metrics: Any = self.meter
        self.assertEqual(value(metrics, "alerts_total", rule="failed-logins-address"), 1)
        self.assertEqual(value(metrics, "alerts_recent"), 1)
        self.assertEqual(value(metrics, "noticing_failures_total"), 1)


class WhateverHappens(Case):
    def test_a_rule_with_a_mistake_stops_nothing_and_is_logged_once(self) -> None:
        noticer = self.noticer(Broken(), FailedLoginsByAddress(1, 300))
        for _ in range(3):
            noticer.observe(failed_login())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.meter.counted[("noticing_failures_total",)], 3)
        self.assertEqual(len(self.journal.alerts()), 1)

    def test_a_record_that_is_none_is_no_trouble(self) -> None:
        noticer = self.noticer(FailedLoginsByAddress(1, 300))
        for given in ({}, {"kind": "request"}, {"kind": "look", "action": "log-in failure"}):
            noticer.observe(given)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.journal.records, [])

    def test_an_alert_that_cannot_be_kept_is_counted(self) -> None:
        self.journal.broken = True
        self.noticer(FailedLoginsByAddress(1, 300)).observe(failed_login())
        self.assertEqual(self.meter.counted[("noticing_failures_total",)], 1)

    def test_what_rules_may_care_about_is_shown_to_them(self) -> None:
        """Everyday records are passed over; the first of a person in each quarter of an hour never is."""
        shown: list[Any] = []

        class Seeing:
            def concerns(self, _facts: Any) -> bool:
                return True

            def observe(self, facts: Any, _now: float) -> None:
                shown.append(facts)

        noticer = self.noticer(Seeing())
        for given in (record(), record(), record(2), record(patient_id="7"), failed_login(), failed_login()):
            noticer.observe(given)
        noticer.observe(record(rule_hits=["ownership:assign:staff_id"]))
        noticer.observe(record(disclosed={"set": "a", "count": 9}))
        self.assertEqual(len(shown), 7)
        self.now += 900
        noticer.observe(record())
        noticer.observe(record())
        self.assertEqual(len(shown), 8)


class ThroughTheChain(Case):
    """Each rule behind the real processors, which make the records."""

    def rig(self, *rules: Any, **options: Any) -> Rig:
        noticer = self.noticer(*rules)
        self.now = EPOCH
        self.journal.watch = noticer.observe
        audit = Audit(self.journal, Describer(b"k"), Clock())
        return Rig(put_in={"record.audit": audit}, **options)

    def rules(self) -> list[str]:
        return [alert["rule"] for alert in self.journal.alerts()]

    def test_wrong_passwords(self) -> None:
        rig = self.rig(FailedLoginsByAddress(5, 300), FailedLoginsByName(5, 300))
        for _ in range(4):
            self.assertEqual(rig.get(rig.send("GET", "/hospitals", auth=WRONG)).status, 401)
        self.assertEqual(rig.get(rig.send("GET", "/hospitals", auth=None)).status, 401)
        self.assertEqual(self.rules(), [])
        rig.get(rig.send("GET", "/staffs/me", auth=WRONG))
        self.assertEqual(self.rules(), ["failed-logins-address", "failed-logins-name"])
        self.assertEqual(self.journal.records[-3]["request_id"], self.journal.alerts()[0]["request_id"])

    def test_many_patients(self) -> None:
        rig = self.rig(ManyPatients(3, 300))  # the list counts as one
        rig.hosp.records["patients"].append({**rig.hosp.records["patients"][0], "id": 8})
        for path in ("/patients", "/patients/7", "/notes?patient_id=7", "/patients/9"):
            rig.get(rig.send("GET", path))
        rig.get(rig.send("GET", "/patients/8", auth=STAFF2))
        self.assertEqual(self.rules(), [])
        rig.get(rig.send("GET", "/patients/8"))
        [alert] = self.journal.alerts()
        self.assertEqual(
            (alert["rule"], alert["who"]["name"], alert["count"]), ("many-patients", "staff1", 3)
        )

    def test_more_patients_than_usual(self) -> None:
        rule = MoreThanUsual(Calendar("UTC"), 1.5, 2, 0)
        rig = self.rig(rule)
        rig.hosp.records["patients"].append({**rig.hosp.records["patients"][0], "id": 8})
        for _ in range(3):
            rig.get(rig.send("GET", "/patients/7"))
            self.now += DAY * 2
        self.assertEqual(self.rules(), [])
        rig.get(rig.send("GET", "/patients/7"))
        rig.get(rig.send("GET", "/patients/8"))
        self.assertEqual(self.rules(), ["more-patients-than-usual"])

    def test_quiet_hours(self) -> None:
        rig = self.rig(QuietHours([(22 * 60, 5 * 60)], Calendar("UTC")))
        self.now = MONDAY + 12 * HOUR
        rig.get(rig.send("GET", "/hospitals"))
        self.now = MONDAY + 23 * HOUR
        rig.get(rig.send("GET", "/hospitals", auth=WRONG))
        self.assertEqual(self.rules(), [])
        rig.get(rig.send("GET", "/hospitals"))
        rig.get(rig.send("GET", "/hospitals"))
        self.assertEqual(self.rules(), ["quiet-hours"])

    def test_unusual_hours(self) -> None:
        rig = self.rig(UnusualHours(Calendar("UTC"), 7))
        for day in range(14):
            self.now = MONDAY + day * DAY + 9 * HOUR
            rig.get(rig.send("GET", "/hospitals"))
        self.assertEqual(self.rules(), [])
        self.now = MONDAY + 14 * DAY + 3 * HOUR
        rig.get(rig.send("GET", "/hospitals"))
        self.assertEqual(self.rules(), ["unusual-hours"])

    def test_notes_in_anothers_name_in_every_mode(self) -> None:
        note = {"patient_id": 7, "staff_id": 2, "content": "x"}
        for options in ({}, {"policy": "refuse"}, {"own": False}):
            self.journal = KeptJournal()
            rig = self.rig(AnothersName(1, 300), **options)
            rig.get(rig.send("POST", "/notes", {**note, "staff_id": 1}, auth=STAFF1))
            self.assertEqual(self.rules(), [])
            rig.get(rig.send("POST", "/notes", note, auth=STAFF1))
            self.assertEqual(self.rules(), ["anothers-name"], options)

    def test_there_is_a_name_for_every_rule(self) -> None:
        self.assertEqual(len(set(RULES)), 8)
