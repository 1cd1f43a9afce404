from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.merge import Overview, summable
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.status.counts import MOST_KEYS, NEEDED, sample_of, since
from hospproxy.watch.table import METRICS

from .samples import attempted, overview, served


class Samples(SynchronousTestCase):
    def test_the_needed_metrics_exist(self) -> None:
        self.assertEqual(set(NEEDED) - {metric.name for metric in METRICS}, set())

    def test_workers_are_summed(self) -> None:
        one, two = Metrics(strict=True), Metrics(strict=True)
        served(one, 3, cache="hit")
        served(two, 4, "5xx", cache="none")
        attempted(two, 2, "5xx")
        sample = sample_of(overview(one, two))
        self.assertEqual(sample.counters["request|GET /notes|2xx"], 3)
        self.assertEqual(sample.counters["request|GET /notes|5xx"], 4)
        self.assertEqual(sample.counters["cache|hit"], 3)
        self.assertNotIn("cache|none", sample.counters)
        self.assertEqual((sample.counters["hosp|5xx"], sample.counters["hosp_seconds"]), (2, 8))

    def test_workers_that_have_ended_still_count(self) -> None:
        ended, alive = Metrics(strict=True), Metrics(strict=True)
        served(ended, 3)
        served(alive, 4)
        seen = overview(alive)
        rest = summable(ended.snapshot({}).families)
        sample = sample_of(Overview(seen.seen, {}, rest))
        self.assertEqual(sample.counters["request|GET /notes|2xx"], 7)

    def test_each_bar_of_ahistogram_counts_its_own(self) -> None:
        meter = Metrics(strict=True)
        for seconds in (0.2, 0.2, 3.0, 100.0):
            served(meter, 1, seconds=seconds)
        bars = {
            key: n for key, n in sample_of(overview(meter)).counters.items() if key.startswith("took|") and n
        }
        self.assertEqual(bars, {"took|0.25": 2, "took|5.0": 1, "took|+Inf": 1})

    def test_gauges_are_added_or_the_worst_one_counts(self) -> None:
        one, two = Metrics(strict=True), Metrics(strict=True)
        for meter, waiting, limit, lease in ((one, 3.0, 5.0, 1.0), (two, 4.0, 2.0, 0.0)):
            meter.gauge("gate_waiting", lambda waiting=waiting: waiting)
            meter.gauge("gate_limit", lambda limit=limit: limit)
            meter.gauge("sharing_lease", lambda lease=lease: lease)
            meter.gauge("record_writer_up", lambda lease=lease: lease, writer="syslog")
            meter.gauge("certificate_expiry_seconds", lambda limit=limit: limit, file="a.pem")
        one.gauge("gate_in_flight", lambda: float("nan"))
        sample = sample_of(overview(one, two))
        self.assertEqual(sample.gauges["gate_waiting"], 7)
        self.assertEqual(sample.gauges["gate_limit"], 5)
        self.assertEqual(sample.gauges["sharing_lease"], 0)
        self.assertEqual(sample.gauges["gate_in_flight"], 0)
        self.assertEqual((dict(sample.files), sample.sinks["syslog"][0]), ({"a.pem": 2.0}, False))

    def test_keys_are_bounded(self) -> None:
        meter = Metrics(strict=True)
        for number in range(MOST_KEYS + 50):
            meter.count("requests_total", method="GET", route=f"/{number}", status_class="2xx", cache="none")
            meter.count("upstream_requests_total", route=f"/{number}", outcome="2xx")
        self.assertLessEqual(len(sample_of(overview(meter)).counters), MOST_KEYS)


class Growth(SynchronousTestCase):
    def test_only_what_was_counted(self) -> None:
        self.assertEqual(since({"a": 1, "b": 5}, {"a": 3, "b": 5, "c": 2}), {"a": 2, "c": 2})

    def test_acounter_that_began_again(self) -> None:
        self.assertEqual(since({"a": 10}, {"a": 3}), {"a": 3})
