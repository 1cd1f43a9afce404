"""Counts of the courier on their way into the metrics of the service."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.courier.messages import Counted, Told
from hospproxy.courier.meter import SentMeter
from hospproxy.courier.told import MOST, SILENT_S, Reported
from hospproxy.watch.metrics import Metrics


class Sent(SynchronousTestCase):
    def setUp(self) -> None:
        self.sent: list[Told] = []
        self.meter = SentMeter(self.sent.append)

    def test_counts_are_summed_and_sent_once(self) -> None:
        for _ in range(3):
            self.meter.count("alerts_total", rule="a")
        self.meter.count("record_files_total", 0, event="packed")
        self.meter.send()
        self.meter.send()
        counts = [
            Counted("alerts_total", {"rule": "a"}, 3.0),
            Counted("record_files_total", {"event": "packed"}, 0),
        ]
        self.assertEqual(self.sent, [Told(counts, []), Told([], [])])

    def test_only_gauges_that_have_changed(self) -> None:
        values = [1.0, 1.0, 2.0]
        self.meter.gauge("record_writer_up", lambda: values.pop(0), writer="w")
        for _ in range(3):
            self.meter.send()
        told = [[each.value for each in each.gauges] for each in self.sent]
        self.assertEqual(told, [[1.0], [], [2.0]])

    def test_a_log_line_about_a_gauge_may_ask_for_a_report_too(self) -> None:
        self.meter.gauge("record_writer_up", lambda: [self.meter.send(), 1.0][1], writer="a")
        self.meter.send()
        self.assertEqual(len(self.sent), 1)

    def test_a_gauge_that_fails_hides_no_other(self) -> None:
        self.meter.gauge("record_writer_up", lambda: 1 / 0, writer="a")
        self.meter.gauge("record_writer_up", lambda: 1, writer="b")
        self.meter.send()
        self.assertEqual([str(each.value) for each in self.sent[0].gauges], ["nan", "1.0"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class Received(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.metrics, self.records = Clock(), Metrics(strict=True), 100
        self.reported = Reported(self.metrics, self.clock, lambda: self.records)

    def told(self, up: float = 1.0, records: float = 0.0, seconds: float = 0.0) -> None:
        gauges = {"up": up, "behind_records": records, "behind_seconds": seconds}
        named = [Counted(f"record_writer_{name}", {"writer": "w"}, value) for name, value in gauges.items()]
        self.reported.received(Told([Counted("record_writer_carried_total", {"writer": "w"}, 5)], named))

    def shown(self) -> tuple[float | None, ...]:
        names = ("up", "behind_records", "behind_seconds", "carried_total")
        return tuple(self.metrics.value(f"record_writer_{name}", writer="w") for name in names)

    def test_counts_go_on_over_restarts(self) -> None:
        self.told()
        self.reported.ended()
        self.told()
        self.assertEqual(self.shown(), (1, 0, 0, 10))

    def test_while_it_is_silent_its_sinks_are_down_and_fall_behind(self) -> None:
        self.told(records=2, seconds=3)
        self.records = 150
        self.clock.advance(SILENT_S)
        self.assertEqual(self.shown(), (1, 2, 3, 5))
        self.clock.advance(1)
        self.assertEqual(self.shown(), (0, 52, 3 + SILENT_S + 1, 5))
        self.told()
        self.assertEqual(self.shown(), (1, 0, 0, 10))

    def test_one_that_has_ended_is_silent_at_once(self) -> None:
        self.told()
        self.reported.ended()
        self.assertEqual(self.shown(), (0, 0, 0, 5))
        self.records += 7
        self.clock.advance(2)
        self.assertEqual(self.shown(), (0, 7, 2, 5))

    def test_the_number_of_gauges_is_bounded(self) -> None:
        for number in range(MOST + 5):
            gauge = Counted("record_writer_up", {"writer": f"w{number}"}, 1.0)
            self.reported.received(Told([], [gauge]))
        self.assertEqual(len(self.reported._values), MOST)
