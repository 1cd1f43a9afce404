from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.workers.backoff import CALM_S, MOST_S, deaths, pause_s


class Backoff(SynchronousTestCase):
    def test_the_first_is_replaced_at_once_and_then_each_later(self) -> None:
        pauses, number = [], 0
        for _ in range(9):
            number = deaths(number, 1.0)
            pauses.append(pause_s(number))
        self.assertEqual(pauses, [0, 0.5, 1, 2, 4, 8, 16, 30, 30])

    def test_who_has_lived_for_long_is_replaced_at_once(self) -> None:
        self.assertEqual(deaths(7, CALM_S), 1)
        self.assertEqual(pause_s(deaths(7, CALM_S)), 0)
        self.assertEqual(deaths(7, CALM_S - 0.1), 8)

    @given(st.integers(0, 10**9))
    def test_it_rises_and_is_bounded(self, number: int) -> None:
        self.assertLessEqual(pause_s(number), pause_s(number + 1))
        self.assertLessEqual(pause_s(number), MOST_S)
