"""The rules notice a sudden change; tests print the seed with which one fails."""

from __future__ import annotations

import math
import random

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.status.changes import words
from hospproxy.watch.status.surges import NEW_USUAL_S, WARM_UP_S, Change, Reading, Surges

STEP_S = 5.0


def poisson(chance: random.Random, mean: float) -> int:
    """A random number of this mean."""
    if mean > 30:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, number, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        number, product = number + 1, product * chance.random()
    return number


class Hospital:
    """A hospital at one hour of the day, in steps of five seconds."""

    def __init__(self, seed: int, per_s: float = 4.0, hosp_s: float = 4.4) -> None:
        self.chance, self.surges = random.Random(seed), Surges()
        self.per_s, self.hosp_s, self.passed_s = per_s, hosp_s, 0.0
        self.fails, self.hosp_fails, self.refused = 0.005, 0.03, 0.0

    def step(self) -> list[Change]:
        chance = self.chance
        requests = poisson(chance, self.per_s * STEP_S)
        attempts = min(5, max(1, requests // 4))
        self.passed_s += STEP_S
        return self.surges.observe(
            Reading(
                STEP_S,
                requests,
                sum(chance.random() < self.fails for _ in range(requests)),
                attempts,
                sum(chance.random() < self.hosp_fails for _ in range(attempts)),
                attempts,
                sum(
                    min(20.0, chance.lognormvariate(math.log(self.hosp_s) - 0.125, 0.5))
                    for _ in range(attempts)
                ),
                poisson(chance, self.refused * STEP_S),
            )
        )

    def run(self, seconds: float) -> list[Change]:
        found: list[Change] = []
        for _ in range(int(seconds / STEP_S)):
            found += self.step()
        return found

    def seconds_until(self, signal: str, most: float = 120.0, *, began: bool = True) -> float:
        """Seconds until this signal begins or ends; more than ``most`` if it does not."""
        since = self.passed_s
        while self.passed_s - since <= most:
            if any(change.signal == signal and change.began is began for change in self.step()):
                break
        return self.passed_s - since


class Noticing(SynchronousTestCase):
    def each(self, per_s: float = 4.0, number: int = 8) -> list[tuple[int, Hospital]]:
        """Hospitals after a calm hour."""
        made = []
        for seed in range(number):
            hospital = Hospital(seed, per_s)
            self.assertEqual(hospital.run(3600), [], f"seed {seed}")
            made.append((seed, hospital))
        return made

    def test_five_times_the_traffic_within_30_seconds(self) -> None:
        for per_s in (1.0, 4.0, 40.0):
            for seed, hospital in self.each(per_s):
                hospital.per_s *= 5
                self.assertLessEqual(hospital.seconds_until("traffic"), 30.0, f"seed {seed}, {per_s}/s")

    def test_asurge_on_aquiet_night(self) -> None:
        for seed, hospital in self.each(0.02):
            hospital.per_s = 40.0
            self.assertLessEqual(hospital.seconds_until("traffic"), 10.0, f"seed {seed}")

    def test_half_of_the_requests_fail(self) -> None:
        for seed, hospital in self.each():
            hospital.fails = 0.5
            self.assertLessEqual(hospital.seconds_until("errors"), 20.0, f"seed {seed}")

    def test_hosp_fails(self) -> None:
        for seed, hospital in self.each():
            hospital.hosp_fails = 0.95
            self.assertLessEqual(hospital.seconds_until("hosp_errors"), 30.0, f"seed {seed}")

    def test_hosp_becomes_three_times_slower(self) -> None:
        for seed, hospital in self.each():
            hospital.hosp_s *= 3
            self.assertLessEqual(hospital.seconds_until("hosp_latency"), 30.0, f"seed {seed}")

    def test_ten_refusals_asecond(self) -> None:
        for seed, hospital in self.each():
            hospital.refused = 10.0
            self.assertLessEqual(hospital.seconds_until("refusals"), 10.0, f"seed {seed}")

    def test_an_end_is_noticed_and_the_usual_is_as_before(self) -> None:
        for seed, hospital in self.each(number=10):
            usual = hospital.surges.traffic.usual
            hospital.per_s *= 5
            hospital.seconds_until("traffic")
            hospital.run(120)
            hospital.per_s /= 5
            self.assertLessEqual(hospital.seconds_until("traffic", began=False), 60.0, f"seed {seed}")
            self.assertLess(hospital.surges.traffic.usual, usual * 1.5, f"seed {seed}")

    def test_what_stays_becomes_usual(self) -> None:
        for seed, hospital in self.each(number=5):
            hospital.per_s *= 5
            hospital.seconds_until("traffic")
            found = hospital.run(NEW_USUAL_S + 3600)
            self.assertEqual(
                [(each.signal, each.began) for each in found], [("traffic", False)], f"seed {seed}"
            )
            self.assertLess(abs(hospital.surges.traffic.usual - hospital.per_s), 2.0)

    def test_one_wild_sample_is_no_surge(self) -> None:
        surges = Surges()
        for _ in range(100):
            surges.observe(Reading(STEP_S, requests=20.0))
        self.assertEqual(surges.observe(Reading(STEP_S, requests=20_000.0)), [])
        self.assertLess(surges.traffic.usual, 5.0)
        self.assertEqual(surges.observe(Reading(STEP_S, requests=20.0)), [])

    def test_nothing_within_aminute_of_astart(self) -> None:
        hospital = Hospital(1, per_s=50.0)
        self.assertEqual(hospital.run(WARM_UP_S), [])
        self.assertEqual(hospital.run(600), [])

    def test_yesterdays_rush_hour_is_usual(self) -> None:
        surges = Surges()
        for _ in range(100):
            surges.observe(Reading(STEP_S, requests=5.0))
        for _ in range(20):
            self.assertEqual(surges.observe(Reading(STEP_S, requests=100.0), known_per_s=20.0), [])

    def test_asample_after_along_sleep_says_nothing(self) -> None:
        surges = Surges()
        for _ in range(100):
            surges.observe(Reading(STEP_S, requests=5.0))
        before = surges.dump()
        for elapsed_s in (3600.0, 0.0, -5.0):
            self.assertEqual(surges.observe(Reading(elapsed_s, requests=1e6)), [])
        self.assertEqual(surges.dump(), before)


class Keeping(SynchronousTestCase):
    def test_what_was_learnt_needs_no_warm_up(self) -> None:
        hospital = Hospital(3)
        hospital.run(3600)
        later = Hospital(4, per_s=20.0)
        later.surges.load(hospital.surges.dump())
        self.assertLessEqual(later.seconds_until("traffic"), 20.0)

    def test_damaged_values_are_refused(self) -> None:
        for learnt in ([], [1.0], [-1.0, 1.0, 1.0, 1.0], [float("nan"), 1.0, 1.0, 1.0], [1e300] * 4):
            self.assertRaises(ValueError, Surges().load, {"traffic": learnt})


class Words(SynchronousTestCase):
    def test_every_signal_has_words(self) -> None:
        for watch in Surges().watches:
            self.assertIn(watch.signal, words(Change(watch.signal, True, 0.5, 0.1)))
            self.assertIn("45 s", words(Change(watch.signal, False, 0.5, 0.1, 45.0)))
