"""What follows the journal, in the process that the test is: alerts, packing, and how they end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, structure
from hospproxy.courier.delivery import UPKEEP_S, Delivery
from hospproxy.process.host import Host
from hospproxy.record.describe import timestamp
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.ends import JournalEnds
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record
from hospproxy.watch.metrics import Metrics
from tests.outward.ledger.fakes import AtOnce
from tests.record.alerts.records import KeptJournal, failed_login
from tests.record.trail.trails import SIGNER

NOW = 1_700_000_000.0


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.ends = JournalEnds.make(2)
        self.addCleanup(os.close, self.ends.fileno())
        self.delivery: Any = None
        self.lives()

    def settings(self, **more: Any) -> Settings:
        return structure(
            {
                "upstream": {"url": "http://127.0.0.1:1"},
                "state_dir": str(self.folder),
                "workers": 2,
                "redis": {"enabled": True},
                "audit_database": {"enabled": False},
                "alerts": {"failed_logins_by_address": 3, "failed_logins_by_name": 0},
                **more,
            }
        )

    def lives(self) -> None:
        """A new process: nothing is remembered. The kernel has released the locks of the one before."""
        rules = self.delivery._rules if self.delivery is not None else None
        for way in rules._ways.values() if rules is not None else ():
            os.close(way.lock)
        self.clock, self.meter, self.journal = MemoryReactorClock(), Metrics(strict=True), KeptJournal()
        host = Host(wall=lambda: NOW, worker=lambda _reactor, _name: AtOnce())
        self.delivery = Delivery(
            self.settings(), self.clock, self.meter, self.journal, self.ends.live, host=host
        )

    def keeper(self, worker: int = 0) -> TrailKeeper:
        def publish(end: Any, /, *, closed: bool) -> None:
            self.ends.publish(worker, end, closed=closed)

        plan = RotationPlan(rotate_bytes=2000)
        keeper = TrailKeeper(self.folder / "audit", lambda: NOW, signer=SIGNER, plan=plan, publish=publish)
        keeper.open()
        return keeper

    def log_in(self, keeper: TrailKeeper, times: int, at: float = NOW) -> None:
        for _ in range(times):
            keeper.keep([encode_record({**failed_login(), "time": timestamp(at)})])

    def pump(self, seconds: float = 1.0) -> None:
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)

    def rules(self) -> list[Any]:
        return [alert["rule"] for alert in self.journal.alerts()]


class AlertRulesTests(Case):
    def test_records_of_all_workers_are_seen(self) -> None:
        self.delivery.start()
        self.log_in(self.keeper(0), 2)
        self.log_in(self.keeper(1), 1)
        self.pump()
        self.assertEqual(self.rules(), ["failed-logins-address"])
        self.assertEqual(self.meter.value("record_writer_behind_records", writer="alert-rules"), 0)

    def test_each_is_seen_once_over_a_restart_also_those_from_meanwhile(self) -> None:
        keeper = self.keeper()
        self.delivery.start()
        self.log_in(keeper, 2)
        self.pump()
        self.lives()
        self.delivery.start()
        self.log_in(keeper, 2)
        self.pump()
        self.assertEqual(self.rules(), [])
        self.lives()
        self.log_in(keeper, 3)
        self.delivery.start()
        self.pump()
        self.assertEqual(self.rules(), ["failed-logins-address"])

    def test_what_is_late_counts_in_its_own_time(self) -> None:
        """Two log-ins an hour are no attack, even if they are seen within one second."""
        keeper = self.keeper()
        for hour in range(5):
            self.log_in(keeper, 2, NOW - 3600 * (5 - hour))
        self.delivery.start()
        self.pump()
        self.assertEqual(self.rules(), [])

    def test_a_trail_that_was_there_before_is_not_judged_again(self) -> None:
        keeper = self.keeper()
        self.log_in(keeper, 5)
        positions = self.folder / "audit" / "positions"
        positions.mkdir()
        (positions / "http-w0.json").write_text("{}")
        keeper.close()
        keeper = self.keeper()
        self.log_in(keeper, 2)
        self.delivery.start()
        self.pump()
        self.assertEqual(self.rules(), [])
        self.log_in(keeper, 1)
        self.pump()
        self.assertEqual(self.rules(), ["failed-logins-address"])

    def test_its_position_is_saved_only_once_its_alerts_are_on_disk(self) -> None:
        keeper, waiting = self.keeper(), Deferred[None]()
        self.patch(self.journal, "append", lambda *_: waiting)
        self.delivery.start()
        self.log_in(keeper, 3)
        self.pump()
        saved = self.folder / "audit" / "positions" / "alert-rules-w0.json"
        assert keeper.committed is not None
        self.assertLess(json.loads(saved.read_text())["seq"], keeper.committed.seq - 2)
        waiting.callback(None)
        self.pump()
        self.assertEqual(json.loads(saved.read_text())["seq"], keeper.committed.seq)


class Ending(Case):
    def test_the_rules_see_all_before_a_stop_and_nothing_after(self) -> None:
        keeper = self.keeper()
        self.delivery.start()
        self.pump()
        self.log_in(keeper, 3)
        noticed = Deferred.fromCoroutine(self.delivery.noticed(1.0))
        self.pump(0.1)
        self.successResultOf(noticed)
        self.assertEqual(self.rules(), ["failed-logins-address"])
        self.log_in(keeper, 3)
        stopping = Deferred.fromCoroutine(self.delivery.stop(2.0))
        self.pump(0.1)
        self.successResultOf(stopping)
        self.assertEqual(len(self.journal.records), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_does_not_wait_for_ever_for_the_rules(self) -> None:
        keeper = self.keeper()
        self.patch(self.journal, "append", lambda *_: Deferred())
        self.delivery.start()
        self.log_in(keeper, 3)
        self.pump()
        noticed = Deferred.fromCoroutine(self.delivery.noticed(1.0))
        self.pump(0.9)
        self.assertNoResult(noticed)
        self.pump(0.2)
        self.successResultOf(noticed)
        stopping = Deferred.fromCoroutine(self.delivery.stop(2.0))
        self.pump(0.1)
        self.successResultOf(stopping)


class Packing(Case):
    def test_closed_files_of_all_workers_are_packed_and_the_open_ones_are_not(self) -> None:
        for worker in range(2):
            self.log_in(self.keeper(worker), 12)
        self.delivery.start()
        self.pump(UPKEEP_S)
        forms: dict[str, list[str]] = {}
        for path in sorted((self.folder / "audit").glob("audit-*-*.jsonl*")):
            forms.setdefault(path.name.split("-")[1], []).append(path.suffix)
        self.assertEqual(list(forms), ["w0", "w1"])
        for suffixes in forms.values():
            self.assertGreater(len(suffixes), 1)
            self.assertEqual(suffixes, [".gz"] * (len(suffixes) - 1) + [".jsonl"])
        self.assertEqual(
            self.meter.value("record_files_total", event="packed"), sum(map(len, forms.values())) - 2
        )
