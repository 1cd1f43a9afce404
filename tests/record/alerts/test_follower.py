"""The rules see lines that are alike as they see each record."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.alerts.bounded import RepeatFilter
from hospproxy.record.alerts.count_rules import AnothersName, BreakGlass, FailedLoginsByAddress, ManyPatients
from hospproxy.record.alerts.facts import BREAK_GLASS
from hospproxy.record.alerts.follower import AlertRules
from hospproxy.record.alerts.hour_rules import QuietHours, UnusualHours
from hospproxy.record.alerts.local_time import Calendar
from hospproxy.record.alerts.noticer import Noticer
from hospproxy.record.alerts.usual_rule import MoreThanUsual
from hospproxy.record.describe import timestamp
from hospproxy.record.trail.alike import AlikeLines
from hospproxy.record.trail.follower import Batch, Cursor
from hospproxy.record.trail.hash_chain import ChainHead, linked
from hospproxy.record.trail.record_line import encode_record

from .records import MONDAY, Counts, KeptJournal, failed_login, record


def rules() -> list[Any]:
    calendar = Calendar("Europe/Berlin")
    return [
        FailedLoginsByAddress(3, 3000), ManyPatients(3, 3000), MoreThanUsual(calendar, 2, 2, 1),
        UnusualHours(calendar, 1), AnothersName(2, 3000), BreakGlass(), QuietHours([(1320, 240)], calendar),
    ]  # fmt: skip


def everyone(seed: int) -> list[dict[str, Any]]:
    """Records of some days, most of them like others."""
    chance = random.Random(seed)
    made = []
    for number in range(800):
        person = chance.randrange(1, 4)
        one = chance.choice(
            [
                record(person), record(person), record(person, patient_id=str(chance.randrange(5))),
                record(person, disclosed={"set": f"s{chance.randrange(4)}", "count": 3}), failed_login(),
                record(person, rule_hits=["ownership:assign:staff_id"]), record(person, kind="own"),
                record(person, rule_hits=[BREAK_GLASS], break_glass="needed"), {"kind": "request"},
            ]
        )  # fmt: skip
        whole = {
            "v": 1, "kind": "request", "time": timestamp(MONDAY + number * 200.0), "duration_ms": number / 10,
            "request_id": f"r{number}",
        }  # fmt: skip
        made.append({**whole, **{name: value for name, value in one.items() if name != "request_id"}})
    return made


class AlertRulesTests(SynchronousTestCase):
    def shown(self, seed: int, *, alike: bool) -> tuple[list[Any], dict[Any, int]]:
        journal, meter = KeptJournal(), Counts()
        sink = AlertRules(Noticer(rules(), RepeatFilter(600), journal, meter, lambda: MONDAY))
        if not alike:
            self.patch(sink, "_alike", AlikeLines(lambda _line: None))
        lines, _ = linked([encode_record(each) for each in everyone(seed)], ChainHead())
        for at in range(0, len(lines), 100):
            batch = Batch(tuple(lines[at : at + 100]), "", Cursor("w0"))
            self.successResultOf(Deferred.fromCoroutine(sink.write(batch)))
        self.flushLoggedErrors()
        if alike:
            self.assertGreater(len(sink._alike), 10)
        return journal.records, dict(meter.counted)

    def test_alerts_are_the_same(self) -> None:
        for seed in range(4):
            alerts, counted = self.shown(seed, alike=True)
            self.assertGreater(len({each["rule"] for each in alerts}), 4)
            self.assertEqual((alerts, counted), self.shown(seed, alike=False))
