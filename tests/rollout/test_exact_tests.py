"""The tests of hypotheses, against values of others and against counting all possibilities."""

from __future__ import annotations

import random
from itertools import combinations
from math import comb

from hypothesis import given
from hypothesis import strategies as st
from rollout.exact_tests import binomial_more, fisher_more, most_excess, spent, wilson
from twisted.trial.unittest import SynchronousTestCase

SAMPLES = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair)))


class FisherTests(SynchronousTestCase):
    def test_the_lady_tasting_tea(self) -> None:
        self.assertAlmostEqual(fisher_more(3, 4, 1, 4), 17 / 70)
        self.assertAlmostEqual(fisher_more(4, 4, 0, 4), 1 / 70)

    def test_as_counting_every_division_of_the_hits(self) -> None:
        for of, of_other, together, hits in ((5, 4, 3, 2), (3, 6, 4, 1), (4, 4, 0, 0), (2, 5, 7, 2)):
            all_ways = [
                sum(each < of for each in ways) for ways in combinations(range(of + of_other), together)
            ]
            wanted = sum(number >= hits for number in all_ways) / len(all_ways)
            self.assertAlmostEqual(fisher_more(hits, of, together - hits, of_other), wanted)

    @given(SAMPLES, SAMPLES)
    def test_in_exact_numbers(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        (hits, of), (more, of_other) = one, other
        together = hits + more
        wanted = sum(comb(of, k) * comb(of_other, together - k) for k in range(hits, min(of, together) + 1))
        wanted_p = wanted / comb(of + of_other, together) if of and of_other else 1.0
        self.assertAlmostEqual(fisher_more(hits, of, more, of_other), wanted_p, places=9)

    def test_large_samples_do_not_overflow(self) -> None:
        self.assertLess(fisher_more(5_000, 100_000, 0, 100_000), 1e-300)
        self.assertGreater(fisher_more(5_000, 100_000, 5_000, 100_000), 0.5)

    def test_what_is_no_sample(self) -> None:
        for wrong in ((3, 2, 0, 1), (-1, 2, 0, 1), (0, 1, 2, 1)):
            self.assertRaises(ValueError, fisher_more, *wrong)


class BinomialTests(SynchronousTestCase):
    def test_coins(self) -> None:
        self.assertAlmostEqual(binomial_more(8, 10, 0.5), 56 / 1024)
        self.assertAlmostEqual(binomial_more(10, 10, 0.5), 1 / 1024)

    def test_ends(self) -> None:
        self.assertEqual(binomial_more(0, 0, 0.5), 1.0)
        self.assertEqual((binomial_more(1, 3, 0.0), binomial_more(3, 3, 1.0)), (0.0, 1.0))
        self.assertRaises(ValueError, binomial_more, 4, 3, 0.5)


class BoundTests(SynchronousTestCase):
    def test_wilson_as_in_newcombes_paper(self) -> None:
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263, 15 of 148.
        for hits, of, low, high in (
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
        ):
            found = wilson(hits, of, 1.959964)
            self.assertAlmostEqual(found[0], low, places=4)
            self.assertAlmostEqual(found[1], high, places=4)

    def test_difference_as_in_newcombes_paper(self) -> None:
        # The same author on differences, table II, method 10: 56 of 70 and 48 of 80, to 0.3339.
        self.assertAlmostEqual(most_excess(56, 70, 48, 80, 1.959964), 0.3339, places=4)

    def test_nothing_tried_proves_nothing(self) -> None:
        self.assertEqual(most_excess(0, 0, 0, 100), 1.0)
        self.assertEqual(wilson(0, 0), (0.0, 1.0))

    def test_an_excess_is_rarely_above_its_bound(self) -> None:
        chance, above = random.Random(7), 0
        for _ in range(400):
            one, other = (sum(chance.random() < 0.1 for _ in range(150)) for _ in range(2))
            above += most_excess(one, 150, other, 150) < 0.0
        self.assertLess(above, 400 * 0.09)

    def test_all_looks_together_spend_all_of_it(self) -> None:
        self.assertAlmostEqual(sum(spent(0.01, look) for look in range(1, 100_000)), 0.01, places=6)
