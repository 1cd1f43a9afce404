from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.sinks.pace import FULL, LATE_S, REST_S, TICK_S, JournalPace


class RequestsGoFirst(SynchronousTestCase):
    def test_what_little_there_is_is_carried_at_once(self) -> None:
        pace = JournalPace()
        for second in range(20):
            self.assertEqual(pace.rest_s(second * 100, float(second), 0.0, more=True), 0.0)
            self.assertEqual(pace.rest_s(second * 100, float(second), 0.0, more=False), TICK_S)

    def test_what_there_was_before_the_start_is_no_load(self) -> None:
        self.assertEqual(JournalPace().rest_s(1_000_000, 100.0, 9e9, more=True), 0.0)

    def test_under_load_there_is_a_rest_after_each_parcel_and_a_shorter_one_when_it_is_late(self) -> None:
        pace = JournalPace()
        pace.rest_s(0, 0.0, 0.0, more=False)
        for second in range(1, 10):
            self.assertEqual(pace.rest_s(second * 1000, float(second), 0.0, more=True), REST_S)
        self.assertEqual(pace.rest_s(9000, 9.1, LATE_S + 1, more=True), TICK_S)

    def test_in_a_process_of_its_own_only_full_parcels_follow_one_another(self) -> None:
        pace = JournalPace(apart=True)
        pace.rest_s(0, 0.0, 0.0, more=False)
        self.assertEqual(pace.rest_s(1000, 1.0, 0.0, more=True, behind=FULL), 0.0)
        self.assertEqual(pace.rest_s(2000, 2.0, 0.0, more=True, behind=FULL - 1), REST_S)
        self.assertEqual(pace.rest_s(2000, 3.0, 0.0, more=True, behind=1), 0.0)

    def test_when_it_is_over_the_rest_is_caught_up_with(self) -> None:
        pace = JournalPace()
        pace.rest_s(0, 0.0, 0.0, more=False)
        pace.rest_s(5000, 1.0, 0.0, more=True)
        self.assertEqual(pace.rest_s(5000, 2.0, 0.0, more=True), 0.0)
