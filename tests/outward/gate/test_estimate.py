from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.gate.estimate import FEWEST, Estimate


def learned(seconds: float, times: int = 200) -> Estimate:
    estimate = Estimate()
    for _ in range(times):
        estimate.learn(seconds, 5)
    return estimate


class EstimateTests(SynchronousTestCase):
    def test_when_to_come_back(self) -> None:
        estimate = Estimate(4.0)
        self.assertEqual(estimate.retry_after_s(0, 5), 1)
        self.assertEqual(estimate.retry_after_s(9, 5), 8)
        self.assertEqual(estimate.retry_after_s(500, 5), 30)

    def test_it_follows_what_happens(self) -> None:
        self.assertEqual(learned(0.5).retry_after_s(9, 5), 1)
        estimate = learned(0.5)
        for _ in range(200):
            estimate.learn(4.5, 5)
        self.assertEqual(estimate.retry_after_s(9, 5), 9)

    def test_who_cannot_get_a_place_in_time_waits_in_vain(self) -> None:
        estimate = learned(4.0)
        self.assertTrue(estimate.in_vain(ahead=40, limit=5, left_s=28))
        self.assertFalse(estimate.in_vain(ahead=27, limit=5, left_s=28))

    def test_a_limit_that_was_lower_of_late_counts(self) -> None:
        estimate = learned(4.0)
        for _ in range(200):
            estimate.learn(4.0, 3)
        self.assertEqual(round(estimate.wait_s(8, 5)), 12)
        self.assertEqual(estimate.wait_s(8, 1), 36)

    def test_nobody_is_refused_for_what_is_not_known_yet(self) -> None:
        self.assertFalse(learned(4.0, FEWEST - 1).in_vain(ahead=500, limit=5, left_s=1))
        self.assertTrue(learned(4.0, FEWEST).in_vain(ahead=500, limit=5, left_s=1))

    def test_a_short_queue_refuses_nobody(self) -> None:
        self.assertFalse(learned(20.0).in_vain(ahead=14, limit=5, left_s=1))

    def test_many_who_come_again_and_again_are_never_refused(self) -> None:
        """64 clients, 5 slots, random times of 0.4 s on average: every request gets a slot."""
        seed = random.randrange(1 << 32)
        chance, estimate = random.Random(seed), Estimate()
        for _ in range(5000):
            estimate.learn(chance.lognormvariate(-1.2, 0.75), 5)
            for limit in (3, 5):
                self.assertFalse(estimate.in_vain(ahead=59, limit=limit, left_s=28.0 * 7 / 8), seed)

    def test_what_is_kept_back_of_a_deadline(self) -> None:
        self.assertEqual(learned(4.0).reserve_s(28.0), 4.0)
        self.assertEqual(learned(4.0).reserve_s(4.0), 1.0)
