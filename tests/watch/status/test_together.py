"""Machines are counted together: a week's rhythm is no surge, and neither is a machine that was silent for a while."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.status.machines import Figures, Machine
from hospproxy.watch.status.surges import Change, Reading
from hospproxy.watch.status.together import COUNTS, Together, added

from .test_surge_week import DAY_S, per_s
from .test_surges import STEP_S, poisson


def reading(requests: float, elapsed_s: float = STEP_S) -> Reading:
    return Reading(elapsed_s, requests, 0.0, requests / 4, 0.0, requests / 4, requests)


class Other:
    """Another machine, as its figures tell."""

    def __init__(self) -> None:
        self.seconds, self.counts = 0.0, (0.0,) * len(COUNTS)

    def counted(self, requests: float, seconds: float = STEP_S) -> None:
        self.seconds += seconds
        self.counts = added(self.counts, reading(requests, seconds))

    @property
    def told(self) -> Machine:
        return Machine(Figures("1.0", "b", 0.0, True, 1, 1, 0.0, 0.0, self.seconds, self.counts), 1.0)


def week(seed: int, scale: float) -> list[tuple[float, Change]]:
    """What is noticed on one of two machines within a week; the other stores its figures a little early or late."""
    chance, together, other, found = random.Random(seed), Together(), Other(), []
    told = other.told
    for number in range(int(7 * DAY_S / STEP_S)):
        at = number * STEP_S
        mean = per_s(at) * STEP_S * scale / 2
        other.counted(poisson(chance, mean))
        if chance.random() > 0.02:  # otherwise they come with the next
            told = other.told
        found += [(at / 3600, each) for each in together.observe(reading(poisson(chance, mean)), {"b": told})]
    return found


class TwoMachines(SynchronousTestCase):
    def test_a_week_has_no_false_alarm(self) -> None:
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}")
        self.assertEqual(week(seed, (1.0, 4.0)[seed % 2]), [], f"seed {seed}")

    def test_five_times_the_traffic_within_30_seconds(self) -> None:
        for seed in [random.SystemRandom().randrange(1 << 32) for _ in range(20)]:
            chance, together, other = random.Random(seed), Together(), Other()
            found: list[Change] = []
            for number in range(126):
                mean = 0.7 * STEP_S * (5.0 if number >= 120 else 1.0)
                other.counted(poisson(chance, mean))
                found += together.observe(reading(poisson(chance, mean)), {"b": other.told})
            self.assertEqual(
                [(each.signal, each.machines) for each in found if each.began and each.signal == "traffic"],
                [("traffic", 2)],
                f"seed {seed}",
            )

    def steady(self, together: Together, other: Other, steps: int) -> list[Change]:
        found: list[Change] = []
        for _ in range(steps):
            other.counted(20)
            found += together.observe(reading(20), {"b": other.told})
        return found

    def test_one_that_was_silent_for_a_while_brings_no_surge(self) -> None:
        together, other = Together(), Other()
        self.assertEqual(self.steady(together, other, 60), [])
        silent = other.told
        for _ in range(5):
            other.counted(20)
            self.assertEqual(together.observe(reading(20), {"b": silent}), [])
        self.assertEqual(self.steady(together, other, 20), [])

    def test_one_that_was_started_again_counts_from_then_on(self) -> None:
        together, other = Together(), Other()
        self.steady(together, other, 60)
        again = Other()
        again.counted(7)
        self.assertEqual(together.observe(reading(20), {"b": again.told}), [])
        self.assertEqual(self.steady(together, again, 60), [])
        self.assertAlmostEqual(together.surges.traffic.usual, 8.0, places=0)

    def test_a_surge_ends_when_a_machine_goes(self) -> None:
        together, other = Together(), Other()
        self.steady(together, other, 60)
        found: list[Change] = []
        for _ in range(6):
            other.counted(100)
            found += together.observe(reading(100), {"b": other.told})
        self.assertEqual([each.began for each in found], [True])
        [end] = together.observe(reading(100), None)
        self.assertEqual((end.signal, end.began, end.machines), ("traffic", False, 2))
        self.assertEqual(together.observe(reading(100), None), [])

    def test_counts_of_another_version_are_left_out(self) -> None:
        together = Together()
        told = Machine(Figures("9.0", "b", 0.0, True, 1, 1, 0.0, 0.0, 5.0, (1.0,)), 1.0)
        together.observe(reading(20), {"b": told})
        self.assertEqual(together.machines, 1)
