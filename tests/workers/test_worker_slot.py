"""How long the supervisor waits before it replaces a worker that has exited."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.child_process import CALM_S, LONGEST_PAUSE_S, exits_in_a_row, restart_pause_s


class RestartPauseTests(SynchronousTestCase):
    def test_the_first_is_replaced_at_once_and_then_each_later(self) -> None:
        pauses, number = [], 0
        for _ in range(9):
            number = exits_in_a_row(number, 1.0)
            pauses.append(restart_pause_s(number))
        self.assertEqual(pauses, [0, 0.5, 1, 2, 4, 8, 16, 30, 30])

    def test_who_has_lived_for_long_is_replaced_at_once(self) -> None:
        self.assertEqual(exits_in_a_row(7, CALM_S), 1)
        self.assertEqual(restart_pause_s(exits_in_a_row(7, CALM_S)), 0)
        self.assertEqual(exits_in_a_row(7, CALM_S - 0.1), 8)

    @given(st.integers(0, 10**9))
    def test_it_rises_and_is_bounded(self, number: int) -> None:
        self.assertLessEqual(restart_pause_s(number), restart_pause_s(number + 1))
        self.assertLessEqual(restart_pause_s(number), LONGEST_PAUSE_S)
