from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.budget import BodyBudget, BudgetShare
from hospproxy.http.errors import OverCapacity


class BudgetTests(SynchronousTestCase):
    def test_refuses_beyond_its_limit_and_counts_nothing(self) -> None:
        budget = BodyBudget(10)
        budget.reserve(10)
        error = self.assertRaises(OverCapacity, budget.reserve, 1)
        self.assertEqual((error.status, error.limit, budget.used), (503, "body_memory_bytes", 10))
        self.assertIsNotNone(error.retry_after_s)
        budget.hold(-10)
        budget.reserve(1)
        self.assertEqual(budget.used, 1)

    def test_what_is_here_already_takes_room_from_bodies(self) -> None:
        budget = BodyBudget(10)
        budget.hold(8)
        self.assertRaises(OverCapacity, budget.reserve, 3)
        budget.hold(-8)
        budget.reserve(3)

    def test_further_requests_need_room(self) -> None:
        budget = BodyBudget(10)
        budget.hold(9)
        budget.admit()
        budget.hold(1)
        self.assertRaises(OverCapacity, budget.admit)

    def test_pressed_before_it_is_full(self) -> None:
        budget = BodyBudget(10)
        budget.hold(8)
        self.assertFalse(budget.pressed)
        budget.hold(1)
        self.assertEqual((budget.pressed, budget.full), (True, False))


class HeldTests(SynchronousTestCase):
    def test_sizes_are_set_not_added(self) -> None:
        budget = BodyBudget(10)
        held = BudgetShare(budget)
        held.body(3)
        held.body(5)
        held.read(4)
        held.read(2)
        self.assertEqual(budget.used, 7)
        self.assertRaises(OverCapacity, held.body, 9)
        self.assertEqual(budget.used, 7)
        held.body(0)
        held.read(0)
        self.assertEqual(budget.used, 0)
