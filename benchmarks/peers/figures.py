"""Figures of repeated runs: medians with their spread, ratios of runs of the same round, wrk's summary. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from attrs import frozen

MARK = "HITS "
"""How the line begins in which our script for wrk reports; hits.lua prints it."""


class Failed(Exception):
    """A peer did not do what was measured; the message says what happened instead."""


@frozen
class Spread:
    """Median, lowest and highest of several runs."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """:raise ValueError: there are no values."""
        if not values:
            raise ValueError("no runs")
        return cls(median(values), min(values), max(values))

    def show(self, digits: int = 2) -> str:
        """``1.23 (1.10-1.40)``, the form of all tables; without the extremes if they are the same."""
        if self.low == self.high:
            return f"{self.middle:,.{digits}f}"
        return f"{self.middle:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times theirs ours is, compared within each round only: other load on the machine then affects both.

    :raise ValueError: different numbers of rounds, none, or a run of theirs that cost nothing measurable.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds beside {len(theirs)}")
    if not all(theirs):
        raise ValueError("a run cost less than one tick: make it longer")
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])


@frozen
class Load:
    """What a load generator counted in one run.

    :param seconds: wall time of the run.
    :param p50_s: from a request to its whole response; p99_s likewise.
    """

    requests: int
    seconds: float
    p50_s: float
    p99_s: float

    @property
    def rate(self) -> float:
        """Responses a second."""
        return self.requests / self.seconds


def read_wrk(output: str) -> Load:
    """Read the line that hits.lua prints at the end.

    :raise Failed: the line is missing, or a request failed: an error must not count as a cheap response.
    """
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise Failed(f"wrk reported nothing: {output[-500:]}")
    told: Mapping[str, Any] = json.loads(lines[-1][len(MARK) :])
    wrong = {name: told[name] for name in ("status", "connect", "read", "write", "timeout") if told[name]}
    if wrong or not told["requests"]:
        raise Failed(f"{told['requests']} responses, and failures: {wrong}")
    return Load(told["requests"], told["us"] / 1e6, told["p50"] / 1e6, told["p99"] / 1e6)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Quantile by nearest rank of sorted values; 0 for none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    :raise ValueError: a row has another number of cells than the heads.
    """
    if any(len(row) != len(heads) for row in rows):
        raise ValueError("a row has too few or too many cells")
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
