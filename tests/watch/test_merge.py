from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.merge import KeptCounts, Overview, Snapshot, merged, missing, reasons, summable
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.table import METRICS, OF_WORKERS


def samples(text: bytes) -> dict[str, float]:
    """Samples by name and labels."""
    return {
        f"{each.name}{sorted(each.labels.items())}": each.value
        for family in text_string_to_metric_families(text.decode())
        for each in family.samples
    }


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.meters = [Metrics("1.2", strict=True) for _ in range(3)]

    def overview(self, *slots: int, kept: KeptCounts | None = None) -> Overview:
        seen = {slot: self.meters[slot].snapshot({}) for slot in slots}
        rest = [] if kept is None else kept.without(slots)
        gone = {slot: "gone" for slot in range(3) if slot not in slots}
        return Overview(seen, gone, rest, {1: 4}, {2: 5})


class Merging(Case):
    def test_counters_and_durations_are_summed(self) -> None:
        for number, meter in enumerate(self.meters):
            meter.count("looks_total", number + 1, result="found")
            meter.observe("upstream_seconds", 4.4, route="/notes")
        self.meters[1].count("looks_total", result="notthere")
        found = samples(merged(self.overview(0, 1, 2)))
        self.assertEqual(found["hospproxy_looks_total[('result', 'found')]"], 6)
        self.assertEqual(found["hospproxy_looks_total[('result', 'notthere')]"], 1)
        self.assertEqual(found["hospproxy_upstream_seconds_bucket[('le', '5.0'), ('route', '/notes')]"], 3)
        self.assertEqual(found["hospproxy_upstream_seconds_bucket[('le', '2.5'), ('route', '/notes')]"], 0)
        self.assertAlmostEqual(found["hospproxy_upstream_seconds_sum[('route', '/notes')]"], 13.2)

    def test_what_one_process_has_is_told_by_worker(self) -> None:
        for number, meter in enumerate(self.meters):
            meter.gauge("gate_waiting", lambda number=number: float(number))  # type: ignore[misc]
        found = samples(merged(self.overview(0, 2)))
        self.assertEqual(found["hospproxy_gate_waiting[('worker', '2')]"], 2)
        self.assertNotIn("hospproxy_gate_waiting[]", found)
        self.assertNotIn("hospproxy_gate_waiting[('worker', '1')]", found)
        for name in ("process_resident_memory_bytes", "process_cpu_seconds_total"):
            self.assertIn(f"{name}[('worker', '0')]", found)
            self.assertNotIn(f"{name}[]", found)

    def test_workers_themselves(self) -> None:
        found = samples(merged(self.overview(0, 2)))
        self.assertEqual(found["hospproxy_workers_running[]"], 2)
        self.assertEqual(
            [found[f"hospproxy_worker_up[('worker', '{slot}')]"] for slot in range(3)], [1, 0, 1]
        )
        self.assertEqual(found["hospproxy_worker_restarts_total[('worker', '1')]"], 4)
        self.assertEqual(found["hospproxy_worker_scrape_failed_total[('worker', '2')]"], 5)

    def test_every_metric_is_there_and_each_once(self) -> None:
        text = merged(self.overview(0, 1, 2)).decode()
        for metric in (*METRICS, *OF_WORKERS):
            family = f"hospproxy_{metric.name}"
            self.assertEqual(text.count(f"# TYPE {family} "), 1, metric.name)

    def test_labels_are_escaped(self) -> None:
        self.meters[0].count("alerts_total", rule='a "b"\n\\')
        self.meters[1].count("alerts_total", rule='a "b"\n\\')
        found = samples(merged(self.overview(0, 1)))
        self.assertEqual(found["hospproxy_alerts_total" + str([("rule", 'a "b"\n\\')])], 2)

    def test_a_process_alone_has_none_of_this(self) -> None:
        text = self.meters[0].render()
        self.assertNotIn(b'worker="', text)
        self.assertNotIn(b"workers_running", text)


class KeptTests(Case):
    def total(self, *slots: int, kept: KeptCounts) -> float:
        overview = self.overview(*slots, kept=kept)
        for slot, snapshot in overview.seen.items():
            kept.saw(slot, snapshot)
        return samples(merged(overview))["hospproxy_looks_total[('result', 'found')]"]

    def test_a_sum_never_falls(self) -> None:
        kept = KeptCounts()
        for meter in self.meters:
            meter.count("looks_total", 10, result="found")
        self.assertEqual(self.total(0, 1, 2, kept=kept), 30)
        self.assertEqual(self.total(0, 2, kept=kept), 30)  # one worker does not respond
        kept.ended(1)
        self.assertEqual(self.total(0, 2, kept=kept), 30)
        self.meters[1] = Metrics(strict=True)  # its successor
        self.meters[1].count("looks_total", 1, result="found")
        self.assertEqual(self.total(0, 1, 2, kept=kept), 31)
        kept.ended(1)
        kept.ended(1)  # it never responded
        self.assertEqual(self.total(0, kept=kept), 31)

    def test_states_and_processes_are_not_kept(self) -> None:
        kinds = {each.kind for each in summable(self.meters[0].snapshot({}).families)}
        names = [each.name for each in summable(self.meters[0].snapshot({}).families)]
        self.assertEqual(kinds, {"counter", "histogram"})
        self.assertEqual([name for name in names if name.startswith("process_")], [])


class Readiness(SynchronousTestCase):
    def test_reasons_name_their_worker(self) -> None:
        overview = Overview({0: Snapshot([], {}), 1: Snapshot([], {"journal": "full"})}, {2: "gone"})
        self.assertEqual(reasons(overview), {"worker 1 journal": "full"})
        self.assertEqual(missing(overview), {"worker 2": "gone"})

    def test_one_that_stops_alone_takes_no_connections(self) -> None:
        """TERM to one worker must not take the whole machine out of service."""
        well, stopping = (
            Snapshot([], {}),
            Snapshot([], {"draining": "stopping", "listeners": "not listening"}),
        )
        for slot in (0, 1):
            overview = Overview({slot: stopping, 1 - slot: well}, {})
            self.assertEqual(reasons(overview), {})
            self.assertEqual(missing(overview), {f"worker {slot}": "it drains, and will be replaced"})
        ending = Overview({0: stopping, 1: stopping}, {2: "gone"})
        self.assertIn("worker 0 draining", reasons(ending))
        self.assertEqual(missing(ending), {"worker 2": "gone"})
