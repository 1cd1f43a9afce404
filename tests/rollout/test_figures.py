"""What is read from the metrics of an instance."""

from __future__ import annotations

from rollout.figures import Figures, NoFigures, Restarted, error_lines, read_figures
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.log_output import json_line
from hospproxy.watch.metrics import Metrics


def metrics() -> Metrics:
    """Metrics of a proxy that has served some requests."""
    made = Metrics("1.2", strict=True)
    for word, number in (("2xx", 6), ("4xx", 3), ("5xx", 2), ("none", 1)):
        for _ in range(number):
            made.count("requests_total", method="GET", route="/notes", status_class=word, cache="none")
    for route, seconds in (("/notes", 0.002), ("/notes", 3.0), ("/staffs", 40.0)):
        made.observe("request_seconds", seconds, route=route)
    for outcome, number in (("answered", 5), ("unknown", 2), ("found", 1), ("replayed", 4), ("twice", 1)):
        made.count("writes_total", float(number), outcome=outcome)
    made.count("upstream_writes_total", 6.0)
    made.count("unhandled_errors_total", 2.0)
    made.count("record_failures_total", 1.0)
    return made


def text(made: Metrics) -> str:
    return made.render().decode()


class ReadTests(SynchronousTestCase):
    """The names are those of the proxy itself: a metric that is renamed fails here."""

    def test_every_figure(self) -> None:
        found = read_figures(text(metrics()))
        self.assertEqual(found.version, "1.2")
        self.assertEqual((found.requests, found.failed, found.refused), (12, 3, 3))
        self.assertEqual((found.writes, found.unknown, found.twice), (8, 2, 1))
        self.assertEqual((found.sent, found.answered), (6, 5))
        self.assertEqual((found.bugs, found.records_lost), (2, 1))

    def test_times_are_added_up_over_routes(self) -> None:
        faster = read_figures(text(metrics())).faster
        self.assertEqual((faster[0.001], faster[0.0025], faster[5.0], faster[30.0]), (0, 1, 2, 2))
        self.assertEqual(faster[float("inf")], 3)

    def test_a_version_that_does_not_count_responses_to_writes(self) -> None:
        lines = [line for line in text(metrics()).splitlines() if "upstream_writes" not in line]
        self.assertIsNone(read_figures("\n".join(lines)).sent)

    def test_what_is_no_hospproxy(self) -> None:
        for wrong in ("", "<html>", "other_build_info 1", "hospproxy_build_info{ 1", "x\n" * 300_000):
            self.assertRaises(NoFigures, read_figures, wrong)

    def test_a_gauge_that_could_not_be_read_is_left_out(self) -> None:
        self.assertEqual(read_figures(text(metrics()) + "hospproxy_redis_up NaN\n").requests, 12)


class SinceTests(SynchronousTestCase):
    def test_what_came_since(self) -> None:
        made = metrics()
        before = read_figures(text(made))
        made.count("requests_total", method="GET", route="/notes", status_class="5xx", cache="none")
        made.observe("request_seconds", 0.3, route="/notes")
        grown = read_figures(text(made)).since(before)
        self.assertEqual((grown.requests, grown.failed, grown.sent), (1, 1, 0))
        self.assertEqual((grown.faster[0.25], grown.faster[0.5]), (0, 1))

    def test_a_counter_that_fell(self) -> None:
        before = read_figures(text(metrics()))
        self.assertRaises(Restarted, read_figures(text(Metrics("1.2"))).since, before)

    def test_over_json(self) -> None:
        found = read_figures(text(metrics()))
        self.assertEqual(Figures.from_json(found.to_json()), found)

    def test_two_instances_together(self) -> None:
        found = read_figures(text(metrics()))
        both = found.plus(found)
        self.assertEqual((both.requests, both.sent, both.faster[5.0]), (24, 12, 4))
        self.assertIsNone(found.plus(Figures()).sent)


class LogTests(SynchronousTestCase):
    def test_text_and_json(self) -> None:
        class Level:
            name = "error"

        lines = (
            "2026-11-29T02:00:00+0000 [hospproxy.chain#error] it failed",
            "2026-11-29T02:00:00+0000 [hospproxy.chain#info] no [x#error] here at the end",
            "2026-11-29T02:00:00+0000 [-] started",
            json_line({"log_level": Level, "log_format": "it failed", "log_time": 0.0}).strip(),
        )
        self.assertEqual(error_lines("\n".join(lines).encode()), 2)
