from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.gate.limit import Limit

EVENTS = st.lists(st.sampled_from(["well", "overloaded", "anew"]), max_size=60)


class LimitTests(SynchronousTestCase):
    def test_it_begins_with_what_the_operator_allows(self) -> None:
        self.assertEqual(Limit(5).now, 5)

    def test_each_round_of_overload_takes_a_share(self) -> None:
        limit, seen = Limit(10), []
        for now in range(8):
            limit.overloaded(now, now)
            seen.append(limit.now)
        self.assertEqual(seen, [7, 5, 3, 2, 2, 1, 1, 1])

    def test_those_under_way_when_it_was_lowered_say_nothing_new(self) -> None:
        limit = Limit(10)
        self.assertTrue(limit.overloaded(0.0, 5.0))
        self.assertFalse(limit.overloaded(4.9, 6.0))
        self.assertEqual(limit.now, 7)
        self.assertTrue(limit.overloaded(5.0, 6.0))
        self.assertEqual(limit.now, 5)

    def test_it_grows_by_one_for_a_round_of_answers(self) -> None:
        limit = Limit(10)
        for now in range(9):
            limit.overloaded(now, now)
        seen = []
        for _ in range(60):
            limit.well()
            seen.append(limit.now)
        self.assertEqual(seen[0], 2)
        self.assertEqual((seen.index(3), seen.index(5), seen.index(10)), (1, 8, 43))

    def test_a_hosp_that_is_back_gets_half(self) -> None:
        limit = Limit(10)
        for now in range(9):
            limit.overloaded(now, now)
        limit.begin_anew(20)
        self.assertEqual(limit.now, 5)
        self.assertFalse(limit.overloaded(19, 21))

    @given(st.integers(1, 50), EVENTS)
    def test_it_stays_between_one_and_the_ceiling(self, ceiling: int, events: list[str]) -> None:
        limit = Limit(ceiling)
        for now, event in enumerate(events):
            before = limit.now
            if event == "well":
                limit.well()
                self.assertIn(limit.now - before, (0, 1))
            elif event == "overloaded":
                limit.overloaded(now, now)
                self.assertTrue(limit.now < before or limit.now <= 2)
            else:
                limit.begin_anew(now)
            self.assertTrue(1 <= limit.now <= ceiling)
