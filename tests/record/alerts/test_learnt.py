from __future__ import annotations

import stat
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.folders import write_whole
from hospproxy.record.alerts.hour_rules import UnusualHours
from hospproxy.record.alerts.learnt import EVERY_S, MAX_BYTES, Learnt
from hospproxy.record.alerts.local_time import Calendar
from hospproxy.record.alerts.usual_rule import MoreThanUsual
from tests.outward.ledger.fakes import AtOnce

from .records import MONDAY, facts, opened, record


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "state" / "noticing.json"
        self.clock, self.worker = Clock(), AtOnce()

    def begin(self, zone: str = "UTC") -> Learnt:
        calendar = Calendar(zone)
        self.hours, self.usual = UnusualHours(calendar, 28), MoreThanUsual(calendar, 4.0, 40, 28)
        learnt = Learnt(self.path, zone, self.worker, self.clock, self.hours, self.usual)
        learnt.start()
        return learnt

    def end(self, learnt: Learnt) -> None:
        self.successResultOf(Deferred.fromCoroutine(learnt.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def learn(self) -> None:
        self.hours.observe(facts(record()), MONDAY)
        self.usual.observe(opened("7"), MONDAY)


class KeepingWhatIsLearnt(Case):
    def test_over_a_stop_and_a_start(self) -> None:
        learnt = self.begin()
        self.learn()
        before = self.hours.dump(), self.usual.dump()
        self.end(learnt)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual([each.name for each in self.path.parent.iterdir()], ["noticing.json"])
        self.begin()
        self.assertEqual((self.hours.dump(), self.usual.dump()), before)

    def test_hourly(self) -> None:
        self.begin()
        self.learn()
        before = self.hours.dump()
        self.clock.advance(EVERY_S - 1)
        self.assertFalse(self.path.exists())
        self.clock.advance(1)
        self.begin()
        self.assertEqual(self.hours.dump(), before)

    def test_what_is_damaged_is_dropped_with_a_line_in_the_log(self) -> None:
        learnt = self.begin()
        self.learn()
        self.end(learnt)
        good = self.path.read_bytes()
        for bad in (
            b"",
            good[:-9],
            b"[]",
            good.replace(b'"mean":0.0', b'"mean":-1.0'),
            b" " * (MAX_BYTES + 1),
        ):
            self.path.write_bytes(bad)
            self.end(self.begin())
            self.assertEqual((self.hours.dump(), self.usual.dump()), ((None, []), []), bad[:20])

    def test_hours_of_another_time_zone_are_none(self) -> None:
        learnt = self.begin()
        self.learn()
        self.end(learnt)
        self.begin("Europe/Berlin")
        self.assertEqual(self.hours.dump(), (None, []))

    def test_a_disk_that_is_full_is_no_trouble(self) -> None:
        learnt = self.begin()
        self.worker.full = True
        self.clock.advance(EVERY_S)
        self.worker.full = False
        self.clock.advance(EVERY_S)
        self.assertTrue(self.path.exists())
        self.end(learnt)

    def test_stopped_before_it_was_started(self) -> None:
        learnt = Learnt(self.path, "UTC", self.worker, self.clock, None, None)
        self.end(learnt)
        self.assertFalse(self.path.exists())

    def test_the_file_before_stays_when_the_new_one_cannot_be_written(self) -> None:
        write_whole(self.path, b"old")
        self.path.with_name(self.path.name + ".kept").mkdir()
        self.assertRaises(TypeError, write_whole, self.path, "not bytes")
        self.assertEqual(self.path.read_bytes(), b"old")
        self.assertEqual(len(list(self.path.parent.iterdir())), 2)
