"""Tests of hypotheses on counts, for few and many events alike. Pure; no approximation where a test may fail a canary.

Fisher's exact test: R. A. Fisher, "The Design of Experiments", 1935. The interval of a difference of shares is that of
R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

Z_95 = 1.6448536269514722
"""Quantile of the normal distribution: one-sided 95 %."""
_NOTHING = 60.0
"""A part that is smaller than the largest by so much, in logarithms, changes no digit of the sum."""


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _sum_of_logs(logs: Iterable[float]) -> float:
    """Return the sum of numbers that are given by their logarithms, and rise to one maximum before they fall."""
    found: list[float] = []
    highest = -math.inf
    for each in logs:
        highest = max(highest, each)
        found.append(each)
        if each < highest - _NOTHING:
            break  # all that follow are smaller still
    return (
        min(1.0, math.exp(highest) * math.fsum(math.exp(each - highest) for each in found)) if found else 0.0
    )


def fisher_more(hits: int, of: int, other_hits: int, of_other: int) -> float:
    """How likely chance alone gives the first of two samples so many of all hits, or more (one-sided p-value).

    :param hits: events among `of` tries; `other_hits` among `of_other` tries of the second sample.
    :return: 1 if a sample is empty: nothing can be said.
    """
    if not 0 <= hits <= of or not 0 <= other_hits <= of_other:
        raise ValueError(f"{hits} of {of} and {other_hits} of {of_other} are not samples")
    if not of or not of_other:
        return 1.0
    together = hits + other_hits
    every = _log_choose(of + of_other, together)
    highest = min(of, together)
    return _sum_of_logs(
        _log_choose(of, k) + _log_choose(of_other, together - k) - every for k in range(hits, highest + 1)
    )


def binomial_more(hits: int, tries: int, share: float) -> float:
    """How likely so many hits or more are, if each try is one with this probability (one-sided p-value)."""
    if not 0 <= hits <= tries or not 0.0 <= share <= 1.0:
        raise ValueError(f"{hits} of {tries} with {share} is not a sample")
    if hits == 0:
        return 1.0
    if share in (0.0, 1.0):
        return share
    log_hit, log_miss = math.log(share), math.log1p(-share)
    return _sum_of_logs(
        _log_choose(tries, k) + k * log_hit + (tries - k) * log_miss for k in range(hits, tries + 1)
    )


def wilson(hits: int, of: int, z: float = Z_95) -> tuple[float, float]:
    """Return the interval of Wilson for a share: (lowest, highest). (0, 1) if nothing was tried."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, z * z
    centre = (share + square / (2 * of)) / (1 + square / of)
    half = z * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, centre - half), min(1.0, centre + half)


def most_excess(hits: int, of: int, other_hits: int, of_other: int, z: float = Z_95) -> float:
    """Return by how much the first share may exceed the second at most (upper bound, one-sided 95 %)."""
    if not of or not of_other:
        return 1.0
    share, other = hits / of, other_hits / of_other
    highest, lowest = wilson(hits, of, z)[1], wilson(other_hits, of_other, z)[0]
    return share - other + math.sqrt((highest - share) ** 2 + (other - lowest) ** 2)


def spent(alpha: float, look: int) -> float:
    """Return how much of `alpha` the look with this number (from 1) may use; all looks together use `alpha`."""
    return alpha / (look * (look + 1))
