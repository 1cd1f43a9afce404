from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.budget import BodyBudget
from hospproxy.errors import OverCapacity


class BudgetTests(SynchronousTestCase):
    def test_refuses_beyond_its_limit_and_counts_nothing(self) -> None:
        budget = BodyBudget(10)
        budget.reserve(10)
        error = self.assertRaises(OverCapacity, budget.reserve, 1)
        self.assertEqual((error.status, budget.used), (503, 10))
        self.assertIsNotNone(error.retry_after_s)
        budget.release(10)
        budget.reserve(1)
        self.assertEqual(budget.used, 1)

    def test_answers_take_room_from_bodies(self) -> None:
        budget = BodyBudget(10)
        budget.hold_answer(8)
        self.assertRaises(OverCapacity, budget.reserve, 3)
        budget.let_go(8)
        budget.reserve(3)

    def test_answers_that_wait_stop_further_requests(self) -> None:
        budget = BodyBudget(10)
        budget.reserve(10)
        budget.admit()
        budget.hold_answer(10)
        self.assertRaises(OverCapacity, budget.admit)
        budget.let_go(1)
        budget.admit()
