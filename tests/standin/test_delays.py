from __future__ import annotations

import random
import statistics

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.delays import BadSetting, Delay


class DelayTests(SynchronousTestCase):
    def test_the_default_is_as_slow_as_hosp(self) -> None:
        randomness = random.Random(1)
        drawn = [Delay.parse("lognormal:4.4").draw(randomness) for _ in range(5000)]
        self.assertApproximates(statistics.mean(drawn), 4.4, 0.15)
        self.assertLessEqual(max(drawn), 20)
        self.assertGreaterEqual(min(drawn), 0.44)

    def test_fixed_and_none(self) -> None:
        self.assertEqual(Delay.parse("fixed:1.5").draw(random.Random(1)), 1.5)
        self.assertEqual(Delay.parse("none").draw(random.Random(1)), 0)

    @given(st.integers(), st.floats(0, 100), st.floats(0, 100))
    def test_uniform_stays_between(self, seed: int, one: float, other: float) -> None:
        low, high = sorted((one, other))
        drawn = Delay("uniform", low, high).draw(random.Random(seed))
        self.assertTrue(low <= drawn <= high)

    @given(st.integers(), st.floats(0.001, 50))
    def test_lognormal_stays_between(self, seed: int, mean: float) -> None:
        drawn = Delay("lognormal", mean, 60).draw(random.Random(seed))
        self.assertTrue(mean / 10 <= drawn <= 60)

    def test_parsed(self) -> None:
        self.assertEqual(Delay.parse("uniform:1:2"), Delay("uniform", 1, 2))
        self.assertEqual(Delay.parse("lognormal:1"), Delay("lognormal", 1, 20))
        self.assertEqual(Delay.parse("lognormal:1:3"), Delay("lognormal", 1, 3))

    def test_nonsense_is_refused_with_words(self) -> None:
        for text in (
            "",
            "slow",
            "none:1",
            "fixed",
            "fixed:x",
            "fixed:-1",
            "fixed:nan",
            "fixed:inf",
            "uniform:2:1",
            "uniform:1",
            "lognormal:0",
            "lognormal:5:4",
            "lognormal:21",
            "lognormal:1:2:3",
        ):
            problem = self.assertRaises(BadSetting, Delay.parse, text)
            self.assertIn(repr(text), str(problem))
