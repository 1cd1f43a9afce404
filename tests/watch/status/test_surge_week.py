"""A week with its rhythm is no surge. Each test prints its seeds."""

from __future__ import annotations

import math
import random

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.status.surges import Change, Reading, Surges

from .test_surges import STEP_S, poisson

DAY_S = 86400


def per_s(at: float) -> float:
    """Requests a second at a time of the week: quiet nights, a steep morning, fewer at the week's end."""
    hour, day = at % DAY_S / 3600, at // DAY_S
    up, down = 1 / (1 + math.exp(-4 * (hour - 7))), 1 / (1 + math.exp(2.5 * (hour - 19)))
    return float(0.4 + 8 * up * down * (0.4 if day >= 5 else 1.0))


def week(seed: int, *, together: int = 1) -> list[tuple[float, Change]]:
    """What is noticed within a week of Poisson noise.

    :param together: requests that come at once, as when a client opens a page.
    """
    chance, surges, found = random.Random(seed), Surges(), []
    quarters: list[float] = []  # requests a second of each quarter of an hour, as the recorder keeps them
    within = 0
    for number in range(int(7 * DAY_S / STEP_S)):
        at = number * STEP_S
        requests = poisson(chance, per_s(at) * STEP_S / together) * together
        attempts = min(5, requests // 4 + bool(requests))
        within += requests
        if (number + 1) % 180 == 0:
            quarters.append(within / 900)
            within = 0
        yesterday = len(quarters) - 96
        reading = Reading(
            STEP_S,
            requests,
            sum(chance.random() < 0.006 for _ in range(requests)),
            attempts,
            sum(chance.random() < 0.03 for _ in range(attempts)),
            attempts,
            sum(min(20.0, chance.lognormvariate(1.35, 0.5)) for _ in range(attempts)),
            float(chance.random() < 0.01),
        )
        found += [
            (at / 3600, change)
            for change in surges.observe(reading, quarters[yesterday] if yesterday >= 0 else 0.0)
        ]
    return found


class AWeek(SynchronousTestCase):
    def test_no_false_alarm(self) -> None:
        seeds = [random.SystemRandom().randrange(1 << 32) for _ in range(2)]
        print(f"seeds {seeds}")
        for seed in seeds:
            self.assertEqual(week(seed), [], f"seed {seed}")

    def test_no_false_alarm_when_clients_send_four_requests_at_once(self) -> None:
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}")
        self.assertEqual(week(seed, together=4), [], f"seed {seed}")
