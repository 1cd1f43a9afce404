from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.merge import Overview
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.status.recorder import EVERY_S, MAX_BYTES, SAVE_S, Recorder
from tests.outward.ledger.fakes import AtOnce

from .samples import attempted, overview, served

NOW = 1_700_000_000.0
KEY = "request|GET /notes|2xx"


class Stuck(AtOnce):
    """A thread whose disk never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks = 0

    def run(self, task: Any) -> Deferred[Any]:
        self.tasks += 1
        return Deferred()


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "status.json"
        self.clock, self.meter, self.wall = Clock(), Metrics(strict=True), NOW
        self.told: list[str] = []
        self.said: list[str] = []
        self.given: Any = None
        self.worker: Any = AtOnce()
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: Any) -> None:
        if "recorder" in event.get("log_namespace", ""):
            self.said.append(
                event["log_format"].format(**{k: v for k, v in event.items() if k != "log_format"})
            )

    def begin(self, *, alone: bool = True) -> Recorder:
        async def read() -> Overview:
            return self.given if self.given is not None else overview(self.meter)

        wall = lambda: self.wall + self.clock.seconds()  # noqa: E731
        recorder = Recorder(
            self.path, self.clock, wall, self.worker, self.meter, read, alone,
            lambda change, text: self.told.append(text),
        )  # fmt: skip
        recorder.start()
        return recorder

    def end(self, recorder: Recorder) -> None:
        self.successResultOf(Deferred.fromCoroutine(recorder.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def number(self, recorder: Recorder) -> float:
        return sum(bucket.counts.get(KEY, 0.0) for bucket in recorder.history.rings["1w"])

    def pass_time(self, seconds: float, per_step: int = 0) -> None:
        for _ in range(int(seconds / EVERY_S)):
            served(self.meter, per_step)
            self.clock.advance(EVERY_S)


class Recording(Case):
    def test_every_request_is_in_the_history_once(self) -> None:
        recorder = self.begin()
        self.pass_time(600, 7)
        self.assertEqual(self.number(recorder), 840)
        self.end(recorder)

    def test_with_other_workers_what_was_before_this_start_does_not_count(self) -> None:
        served(self.meter, 1000)
        recorder = self.begin(alone=False)
        self.pass_time(10, 3)
        self.assertEqual(self.number(recorder), 6)

    def test_workers_that_cannot_be_asked_count_later(self) -> None:
        recorder = self.begin(alone=False)
        self.pass_time(5, 10)
        served(self.meter, 2)
        self.given = Overview({0: Metrics().snapshot({})}, {1: "the supervisor does not answer"})
        self.clock.advance(EVERY_S)
        self.given = None
        self.pass_time(5, 3)
        self.assertEqual(self.number(recorder), 15)

    def test_a_failure_ends_nothing(self) -> None:
        recorder = self.begin()
        self.patch(self.meter, "snapshot", lambda *_: 1 / 0)
        self.pass_time(5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        del self.meter.snapshot  # type: ignore[method-assign]
        self.pass_time(5, 3)
        self.assertEqual(self.number(recorder), 3)


class TheFile(Case):
    def test_over_a_restart(self) -> None:
        recorder = self.begin()
        self.pass_time(100, 2)
        self.end(recorder)
        self.meter = Metrics(strict=True)
        again = self.begin()
        self.assertEqual(self.number(again), 40)
        self.pass_time(5, 2)
        self.assertEqual(self.number(again), 42)
        self.assertGreater(again.surges.traffic.seen_s, 60)

    def test_every_minute_so_that_a_kill_costs_no_more(self) -> None:
        self.begin()
        self.pass_time(SAVE_S, 2)
        self.assertTrue(self.path.exists())
        self.meter = Metrics(strict=True)
        self.assertEqual(self.number(self.begin()), 24)

    def test_damage_is_said_and_forgotten(self) -> None:
        for content in (b"", b"{", b'{"v":9,"at":0,"rings":{}}', b"[" * 5000, b" " * (MAX_BYTES + 1),
                        b'{"v":1,"at":0,"rings":{"5m":[{"start":3}]}}'):  # fmt: skip
            self.path.write_bytes(content)
            self.said.clear()
            recorder = self.begin()
            self.assertEqual(len(self.said), 1, content[:20])
            self.pass_time(5, 2)
            self.assertEqual(self.number(recorder), 2)
            self.meter = Metrics(strict=True)

    def test_a_full_disk_is_said_once(self) -> None:
        self.begin()
        self.patch(self.worker, "run", lambda _task: fail(OSError(28, "No space left on device")))
        self.pass_time(10 * SAVE_S)
        self.assertEqual(len(self.said), 1)
        self.assertIn("No space left", self.said[0])

    def test_a_dead_disk_gets_one_write(self) -> None:
        self.worker = Stuck()
        self.begin()
        self.pass_time(10 * SAVE_S)
        self.assertEqual(self.worker.tasks, 1)

    def test_what_was_usual_long_ago_is_forgotten(self) -> None:
        recorder = self.begin()
        self.pass_time(300, 2)
        self.end(recorder)
        self.wall += 7200
        self.assertEqual(self.begin().surges.traffic.seen_s, 0)


class SurgesAreTold(Case):
    def test_one_line_at_the_begin_and_one_at_the_end(self) -> None:
        recorder = self.begin()
        self.pass_time(600, 10)
        self.pass_time(30, 200)
        self.assertEqual(self.meter.value("surge_active", signal="traffic"), 1)
        self.pass_time(120, 10)
        self.assertEqual(self.meter.value("surge_active", signal="traffic"), 0)
        self.assertEqual(self.meter.value("surges_total", signal="traffic"), 1)
        self.assertEqual(self.told, self.said)
        self.assertEqual([text.partition(" (")[0] for text in self.told], ["surge begins", "surge ends"])
        self.assertEqual([change.began for _, change in recorder.shown], [False, True])

    def test_refusals_are_one_line_each_way(self) -> None:
        recorder = self.begin()
        self.pass_time(300, 10)
        for _ in range(4):
            self.meter.count("gate_refused_total", 50.0, reason="full")
            self.pass_time(5, 10)
        self.pass_time(300, 10)
        lines = [text for text in self.said if not text.startswith("surge")]
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("50 (full=50)", lines[0])
        self.assertIn("within 15 s: 200 (full=200)", lines[1])
        self.end(recorder)

    def test_a_lease_that_is_lost(self) -> None:
        lease = [0.0]
        self.meter.gauge("sharing_lease", lambda: lease[0])
        self.begin()
        for lease[0] in (0.0, 1.0, 1.0, 0.0, 0.0, 1.0):
            self.pass_time(5)
        self.assertEqual([text.partition(":")[0] for text in self.said], ["lease lost", "lease held again"])

    def test_a_surge_that_fills_the_queue(self) -> None:
        surge = [0.0]
        self.meter.gauge("gate_surge", lambda: surge[0])
        recorder = self.begin()
        for surge[0] in (0.0, 1.0, 1.0, 0.0, 0.0):
            self.pass_time(5)
        self.assertEqual(len(self.said), 2)
        self.assertIn("known users at a usual rate go first", self.said[0])
        self.assertIn("over after 10 s", self.said[1])
        self.end(recorder)

    def test_a_hosp_that_fails(self) -> None:
        self.begin()
        for outcome, seconds in (("2xx", 300), ("5xx", 60)):
            for _ in range(seconds // 5):
                attempted(self.meter, 5, outcome)
                self.pass_time(5)
        self.assertIn("surge begins (hosp_errors)", self.told[0])
