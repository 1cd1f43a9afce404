"""When a canary fails, passes, or is not decided."""

from __future__ import annotations

import random

from rollout.figures import Figures
from rollout.judgement import Sample, Verdict, judge
from rollout.plan import Rules
from twisted.trial.unittest import SynchronousTestCase

RULES = Rules(min_requests=300, min_s=60)


def side(requests: int = 1000, failed: int = 0, slow: int = 0, lines: int | None = 0, **more: int) -> Sample:
    """Figures of one side.

    :param slow: requests that took more than 0.1 s.
    """
    values = {"writes": requests // 4, "sent": requests // 4, "answered": requests // 4, **more}
    faster = {0.1: requests - slow, 1.0: requests, float("inf"): requests}
    return Sample(Figures("2", requests, failed, faster=faster, **values), lines)


def verdict(canary: Sample, baseline: Sample, look: int = 1, lasted_s: float = 100.0) -> tuple[Verdict, str]:
    found = judge(RULES, canary, baseline, look=look, lasted_s=lasted_s)
    return found.verdict, "; ".join(found.reasons)


class FailTests(SynchronousTestCase):
    def fails(self, canary: Sample, baseline: Sample, because: str) -> None:
        found, reasons = verdict(canary, baseline)
        self.assertIs(found, Verdict.FAIL, reasons)
        self.assertIn(because, reasons)

    def test_five_percent_of_failures(self) -> None:
        self.fails(side(300, 15), side(300), "failed: 15 of 300, baseline 0 of 300")

    def test_one_doubled_write(self) -> None:
        self.fails(side(sent=251), side(), "a write was doubled")
        self.fails(side(twice=1), side(), "stored twice")

    def test_it_fails_at_once_whatever_the_baseline_does(self) -> None:
        self.fails(side(1, twice=1), side(0), "stored twice")
        self.fails(side(1, records_lost=1), side(0), "audit record")
        self.fails(side(1, worker_restarts=1), side(0), "ended by themselves")

    def test_slow_ones(self) -> None:
        self.fails(side(slow=200), side(slow=20), "slower than 0.1 s: 200 of 1000, baseline 20 of 1000")

    def test_refused_ones(self) -> None:
        self.fails(side(refused=80), side(refused=5), "refused")

    def test_unknown_outcomes(self) -> None:
        self.fails(side(unknown=12), side(), "unknown outcome")

    def test_exceptions_and_lines_of_the_log(self) -> None:
        self.fails(side(bugs=20), side(), "unexpected exceptions: 20")
        self.fails(side(lines=25), side(lines=1), "lines of level error in the log: 25")

    def test_requests_that_vanish(self) -> None:
        self.fails(side(3), side(150), "answered 3 requests, baseline 150")


class PassTests(SynchronousTestCase):
    def test_equals(self) -> None:
        self.assertEqual(verdict(side(), side()), (Verdict.PASS, ""))

    def test_a_hosp_that_fails_for_both(self) -> None:
        self.assertIs(verdict(side(4000, 120, 400), side(4000, 125, 410))[0], Verdict.PASS)

    def test_what_cannot_be_compared_is_said(self) -> None:
        canary = Sample(Figures("2", 1000, writes=250, answered=250), None)
        found = judge(RULES, canary, side(), look=1, lasted_s=100)
        self.assertIs(found.verdict, Verdict.PASS)
        self.assertEqual(len(found.not_compared), 2)


class HoldTests(SynchronousTestCase):
    def test_too_few(self) -> None:
        found, reasons = verdict(side(200), side(1000))
        self.assertIs(found, Verdict.HOLD)
        self.assertEqual(reasons, "too few requests: canary 200 of 300")

    def test_too_short(self) -> None:
        self.assertEqual(verdict(side(), side(), lasted_s=59.0), (Verdict.HOLD, "too short: 59 s of 60 s"))

    def test_worse_than_chance_and_no_more_than_tolerated(self) -> None:
        found, reasons = verdict(side(20_000, 195), side(20_000))
        self.assertIs(found, Verdict.HOLD)
        self.assertIn("1.0 tolerated", reasons)

    def test_more_than_tolerated_and_perhaps_chance(self) -> None:
        self.assertIs(verdict(side(400, 8), side(400, 3))[0], Verdict.HOLD)

    def test_writes_that_are_still_to_come(self) -> None:
        found = judge(Rules(min_writes=300, min_s=0), side(), side(), look=1, lasted_s=1)
        self.assertEqual(found.reasons, ("too few writes: canary 250, baseline 250 of 300",))


class ChanceTests(SynchronousTestCase):
    """What becomes of canaries that are looked at again and again as their samples grow."""

    def run_one(self, chance: random.Random, failing: float, slow: float) -> Verdict:
        counts = [[0, 0, 0], [0, 0, 0]]
        for look, size in enumerate((75, 94, 118, 150, 190, 240, 300, 375, 470, 590, 740, 930, 1160), 1):
            for count, (fails, slows) in zip(counts, ((failing, slow), (0.01, 0.1)), strict=True):
                new = size - count[0]
                count[0] = size
                count[1] += sum(chance.random() < fails for _ in range(new))
                count[2] += sum(chance.random() < slows for _ in range(new))
            ours, theirs = (side(*count) for count in counts)
            found = judge(RULES, ours, theirs, look=look, lasted_s=100.0).verdict
            if found is not Verdict.HOLD:
                return found
        return Verdict.HOLD

    def outcomes(self, failing: float, slow: float) -> list[Verdict]:
        chance = random.Random(11)
        return [self.run_one(chance, failing, slow) for _ in range(60)]

    def test_good_ones_do_not_fail(self) -> None:
        found = self.outcomes(0.01, 0.1)
        self.assertLessEqual(found.count(Verdict.FAIL), 1)
        self.assertGreater(found.count(Verdict.PASS), 30)

    def test_six_percent_do_not_pass(self) -> None:
        found = self.outcomes(0.06, 0.1)
        self.assertEqual(found.count(Verdict.PASS), 0)
        self.assertGreater(found.count(Verdict.FAIL), 50)

    def test_slow_ones_do_not_pass(self) -> None:
        self.assertEqual(self.outcomes(0.01, 0.35).count(Verdict.FAIL), 60)
