from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.status.figures import series, total, totals
from hospproxy.watch.status.history import WINDOWS, Bucket, History

NOW = 1_700_000_000.0
MINUTES, HOUR, DAY, WEEK = WINDOWS


class Rings(SynchronousTestCase):
    def setUp(self) -> None:
        self.history = History()

    def add(self, now: float, number: float = 1.0) -> None:
        self.history.add(now, 5.0, {"request|GET /notes|2xx": number}, {"gate_waiting": number})

    def number(self, window: int, now: float) -> float:
        buckets = self.history.shown(WINDOWS[window], now)
        return total(buckets).get("request|GET /notes|2xx", 0.0)

    def test_windows_are_as_long_as_their_names(self) -> None:
        self.assertEqual([each.length_s for each in WINDOWS], [300, 3600, 86400, 7 * 86400])

    def test_each_window_has_every_sample_within_it(self) -> None:
        for step in range(0, 7200, 5):
            self.add(NOW + step)
        now = NOW + 7195
        self.assertEqual(self.number(0, now), 60)
        self.assertTrue(708 <= self.number(1, now) <= 720)
        self.assertEqual([self.number(2, now), self.number(3, now)], [1440, 1440])

    def test_what_is_old_is_no_longer_shown(self) -> None:
        self.add(NOW)
        for window in WINDOWS:
            self.assertEqual(total(self.history.shown(window, NOW + window.length_s + window.step_s)), {})

    def test_a_peak_is_the_largest_value(self) -> None:
        for value in (3.0, 9.0, 4.0):
            self.add(NOW, value)
        [bucket] = self.history.shown(WEEK, NOW)
        self.assertEqual((bucket.peaks["gate_waiting"], bucket.seconds), (9, 15))

    def test_a_clock_that_is_set_back_shows_nothing_of_the_future(self) -> None:
        self.add(NOW + 30 * 86400)
        self.add(NOW)
        for index in range(4):
            self.assertEqual(self.number(index, NOW), 1)

    @given(st.lists(st.floats(0, 4e9, allow_nan=False), max_size=200))
    def test_whatever_the_clock_does_rings_stay_small_and_in_order(self, times: list[float]) -> None:
        history = History()
        for now in times:
            history.add(now, 5.0, {"a": 1.0}, {})
            for window in WINDOWS:
                starts = [bucket.start for bucket in history.rings[window.name]]
                self.assertLessEqual(len(starts), window.buckets)
                self.assertEqual(starts, sorted(set(starts)))

    def test_bytes_and_back(self) -> None:
        for step in range(0, 1000, 5):
            self.add(NOW + step)
        encoded = msgspec.json.encode(self.history.rings)
        again = History()
        again.load(msgspec.json.decode(encoded, type=dict[str, list[Bucket]]))
        self.assertEqual(again.rings, self.history.rings)

    def test_damaged_rings_are_refused(self) -> None:
        for ring in (
            [Bucket(7)],  # not a multiple of the step
            [Bucket(10), Bucket(5)],
            [Bucket(5), Bucket(5)],
            [Bucket(5 * n) for n in range(61)],
        ):
            self.assertRaises(ValueError, self.history.load, {"5m": ring})

    def test_yesterday_at_this_hour(self) -> None:
        self.add(NOW, 7.0)
        found = self.history.at(NOW + 50)
        self.assertEqual([bucket.counts["request|GET /notes|2xx"] for bucket in found], [7, 7])


class Series(SynchronousTestCase):
    def test_one_value_for_each_step_and_a_gap_where_nothing_ran(self) -> None:
        history = History()
        history.add(NOW - 60, 5.0, {"request|GET /notes|2xx": 8.0, "request|GET /notes|5xx": 2.0}, {})
        history.add(NOW, 5.0, {}, {})
        lines = series(history.shown(MINUTES, NOW), MINUTES, NOW)
        self.assertEqual({len(line) for line in lines.values()}, {60})
        self.assertEqual(lines["time"][-1], NOW)
        self.assertEqual(lines["requests_per_s"][-13], 2)
        self.assertEqual(lines["success"][-13], 0.8)
        self.assertEqual((lines["requests_per_s"][-1], lines["success"][-1]), (0, None))
        self.assertIsNone(lines["requests_per_s"][-2])

    def test_an_empty_window(self) -> None:
        found = totals([])
        self.assertEqual((found["users"]["success"], found["users"]["per_s"], found["routes"]), (None, 0, []))
        self.assertEqual({len(line) for line in series([], DAY, NOW).values()}, {96})
