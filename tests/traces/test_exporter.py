"""Spans leave in batches; a collector that is away costs spans, and nothing else."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.traces.exporter import EVERY_S, MOST_AT_ONCE, MOST_WAITING, PAUSE_S, Exporter
from hospproxy.watch.metrics import Metrics

from .fakes import Collector, span


class Sending(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.collector, self.meter = Clock(), Collector(), Metrics(strict=True)
        self.exporter = Exporter(
            self.clock, self.collector, lambda spans: b"%d" % len(spans), {"Authorization": "x"}, self.meter
        )
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("hospproxy.traces.exporter"):
            self.lines.append(event["log_format"].format(**event))

    def add(self, number: int) -> None:
        for _ in range(number):
            self.exporter.add(span())

    def counted(self, result: str) -> float | None:
        return self.meter.value("trace_spans_total", result=result)

    def stop(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.exporter.stop(0.5)))
        self.assertTrue(self.collector.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_comes_within_two_seconds_leaves_together(self) -> None:
        self.add(3)
        self.assertEqual(self.collector.bodies, [])
        self.clock.advance(EVERY_S)
        self.assertEqual(self.collector.bodies, [b"3"])
        self.assertEqual(self.collector.headers, {"Content-Type": "application/json", "Authorization": "x"})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.add(1)
        self.clock.advance(EVERY_S)
        self.assertEqual((self.collector.bodies, self.counted("sent")), ([b"3", b"1"], 4.0))
        self.stop()

    def test_full_batches_follow_at_once(self) -> None:
        self.add(2 * MOST_AT_ONCE + 5)
        self.clock.advance(EVERY_S)
        self.clock.advance(0)
        self.assertEqual(len(self.collector.bodies), 2)
        self.clock.advance(EVERY_S)
        self.assertEqual(self.collector.bodies[-1], b"5")

    def test_a_collector_that_is_away_is_tried_each_half_minute_and_said_once(self) -> None:
        self.collector.fails = OSError("refused")
        for _ in range(10 * int(PAUSE_S)):
            self.add(20)
            self.clock.advance(1.0)
        self.assertLessEqual(len(self.collector.bodies), 11)
        self.assertEqual(
            self.lines,
            ["traces cannot be sent to the collector: refused; spans are dropped, requests are not affected"],
        )
        self.assertEqual(
            self.counted("dropped"),
            6000 - MOST_WAITING - MOST_AT_ONCE * (len(self.collector.bodies) - 1) - 40,
        )
        self.collector.fails = None
        self.clock.advance(PAUSE_S)
        self.assertEqual(self.lines[1:], ["traces are sent to the collector again"])
        self.clock.pump([EVERY_S] * 20)
        self.stop()

    def test_what_waits_is_bounded(self) -> None:
        self.collector.hangs = True
        self.add(1)
        self.clock.advance(EVERY_S)
        self.add(MOST_WAITING + 7)
        self.assertEqual(self.counted("dropped"), 7.0)
        self.assertEqual(len(self.collector.bodies), 1)

    def test_a_stop_sends_the_rest_once(self) -> None:
        self.add(2)
        self.stop()
        self.assertEqual(self.collector.bodies, [b"2"])
        self.add(1)
        self.assertEqual((self.counted("dropped"), self.clock.getDelayedCalls()), (1.0, []))

    def test_a_stop_waits_only_so_long(self) -> None:
        self.collector.hangs = True
        self.add(2)
        stopping = Deferred.fromCoroutine(self.exporter.stop(0.5))
        self.assertNoResult(stopping)
        self.clock.advance(0.5)
        self.successResultOf(stopping)
        self.assertEqual(self.counted("failed"), 2.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
