from __future__ import annotations

from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.interfaces import IMeter
from hospproxy.watch.metrics import MAX_COMPLAINTS, MAX_SERIES, Metrics
from hospproxy.watch.table import METRICS, markdown


class Counting(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Metrics("1.2", strict=True)

    def test_interfaces(self) -> None:
        verifyObject(IMeter, self.meter)
        verifyObject(IMeter, NullMeter())

    def test_a_counter_counts_for_each_label(self) -> None:
        self.meter.count("looks_total", result="found")
        self.meter.count("looks_total", 2, result="notthere")
        self.assertEqual(self.meter.value("looks_total", result="found"), 1)
        self.assertEqual(self.meter.value("looks_total", result="notthere"), 2)

    def test_a_duration_falls_into_its_bucket(self) -> None:
        self.meter.observe("upstream_seconds", 4.4, route="/notes")
        self.assertEqual(self.meter.value("upstream_seconds_bucket", route="/notes", le="2.5"), 0)
        self.assertEqual(self.meter.value("upstream_seconds_bucket", route="/notes", le="5.0"), 1)
        self.assertEqual(self.meter.value("upstream_seconds_sum", route="/notes"), 4.4)

    def test_what_is_counted_in_cells_is_the_same(self) -> None:
        other = Metrics("1.2", strict=True)
        durations = (0.0, 0.001, 0.0049, 0.005, 0.0051, 0.3, 2.5, 4.4, 1e6)
        for times in (1, 2):
            count = self.meter.counter("looks_total", result="found")
            timer = self.meter.timer("upstream_seconds", route="/notes")
            for seconds in durations:
                count()
                timer(seconds)
                other.count("looks_total", result="found")
                other.observe("upstream_seconds", seconds, route="/notes")
            self.assertEqual(self.meter.value("looks_total", result="found"), times * len(durations))
            ours, theirs = (
                [line for line in each.render().splitlines() if line.startswith(b"hospproxy_")]
                for each in (self.meter, other)
            )
            self.assertEqual(ours, theirs)

    def test_a_cell_for_an_unknown_name_counts_nothing(self) -> None:
        self.assertRaises(KeyError, self.meter.counter, "no_such_total")
        self.assertRaises(KeyError, self.meter.timer, "looks_total", result="found")
        lenient = Metrics("1.2")
        lenient.counter("no_such_total")()
        lenient.timer("no_such_seconds")(1.0)
        self.assertNotIn(b"no_such", lenient.render())

    def test_a_gauge_is_read_when_somebody_looks(self) -> None:
        values = [1.0, 2.0]
        self.meter.gauge("gate_waiting", lambda: values[0])
        self.assertEqual(self.meter.value("gate_waiting"), 1)
        values.pop(0)
        self.assertEqual(self.meter.value("gate_waiting"), 2)

    def test_a_gauge_that_fails_takes_nothing_else_away(self) -> None:
        def broken() -> float:
            raise ValueError("broken gauge")

        self.meter.gauge("gate_waiting", broken)
        text = self.meter.render()
        self.assertIn(b"hospproxy_gate_waiting NaN", text)
        self.assertIn(b"hospproxy_build_info{", text)
        self.assertNotEqual(self.flushLoggedErrors(ValueError), [])

    def test_the_build_says_its_version(self) -> None:
        self.assertIn(b'version="1.2"', self.meter.render())


class Table(SynchronousTestCase):
    def test_all_of_it_can_be_counted_and_read(self) -> None:
        meter = Metrics(strict=True)
        for metric in METRICS:
            labels = dict.fromkeys(metric.labels, 'a "b"\n\\')
            labels |= {label: known[0] for label, known in metric.words.items()}
            if metric.kind == "counter":
                meter.count(metric.name, **labels)
            elif metric.kind == "histogram":
                meter.observe(metric.name, 0.1, **labels)
            elif metric.name != "build_info":
                meter.gauge(metric.name, lambda: 1.0, **labels)
        families = {family.name for family in text_string_to_metric_families(meter.render().decode())}
        wanted = {f"hospproxy_{metric.name.removesuffix('_total')}" for metric in METRICS}
        self.assertEqual(wanted - families, set())
        self.assertEqual([name for name in families if name.endswith("_created")], [])

    def test_buckets_rise(self) -> None:
        for metric in METRICS:
            self.assertEqual(list(metric.buckets), sorted(set(metric.buckets)), metric.name)
            self.assertEqual(bool(metric.buckets), metric.kind == "histogram", metric.name)

    def test_names_are_those_of_prometheus(self) -> None:
        for metric in METRICS:
            self.assertEqual(metric.name.endswith("_total"), metric.kind == "counter", metric.name)

    def test_the_page_is_current(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
        self.assertIn("\n" + markdown(), page)


class Mistakes(SynchronousTestCase):
    WRONG = (
        ("no_such_total", {}),
        ("looks_total", {}),
        ("looks_total", {"result": "found", "more": "y"}),
        ("record_sync_seconds", {}),  # a histogram is not counted
    )

    def test_strict_says_so(self) -> None:
        meter = Metrics(strict=True)
        for name, labels in self.WRONG:
            self.assertRaises(KeyError, meter.count, name, **labels)
        self.assertRaises(KeyError, meter.observe, "looks_total", 1.0, result="found")
        self.assertRaises(KeyError, meter.gauge, "looks_total", lambda: 1.0)

    def test_otherwise_it_is_logged_and_no_request_fails(self) -> None:
        meter = Metrics()
        for name, labels in self.WRONG * 3:
            meter.count(name, **labels)
        meter.count("retries_total", reason="absent")
        self.assertEqual(meter.value("retries_total", reason="absent"), 1)

    def test_a_word_that_is_not_declared_is_amistake(self) -> None:
        self.assertRaises(KeyError, Metrics(strict=True).count, "looks_total", result="perhaps")

    def test_otherwise_it_is_logged_once_and_counted_as_other(self) -> None:
        meter, said = Metrics(), []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        for _ in range(3):
            meter.count("looks_total", result="perhaps")
        self.assertEqual(meter.value("looks_total", result="other"), 3)
        self.assertEqual([event["what"] for event in said], ["counter looks_total{result='perhaps'}"])

    def test_complaints_are_bounded(self) -> None:
        meter = Metrics()
        for number in range(MAX_COMPLAINTS + 100):
            meter.count("looks_total", result=str(number))
        self.assertEqual(len(meter._complained), MAX_COMPLAINTS)

    def test_series_are_bounded(self) -> None:
        meter = Metrics(strict=True)
        for number in range(MAX_SERIES + 100):
            meter.count("alerts_total", rule=str(number))
        self.assertEqual(meter.value("alerts_total", rule=str(MAX_SERIES - 1)), 1)
        self.assertIsNone(meter.value("alerts_total", rule=str(MAX_SERIES)))
        self.assertEqual(meter.value("alerts_total", rule="other"), 100)
        self.assertLess(len(meter._children["alerts_total"]), MAX_SERIES + 2)

    def test_two_of_them_share_nothing(self) -> None:
        one, two = Metrics(strict=True), Metrics(strict=True)
        one.count("gate_refused_total", reason="full")
        self.assertEqual(two.value("gate_refused_total", reason="full"), None)
        self.assertNotIn("hospproxy_unhandled_errors", {family.name for family in REGISTRY.collect()})

    def test_the_null_meter_takes_anything(self) -> None:
        meter = NullMeter()
        self.assertIsNone(meter.count("x", 1, a="b"))
        self.assertIsNone(meter.observe("x", 1.0))
        self.assertIsNone(meter.gauge("x", lambda: 1.0))
