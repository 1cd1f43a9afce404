"""Decides whether a canary is as good as its baseline. Pure.

A canary *fails* if it is worse beyond chance, and by more than is tolerated. It *passes* if it is, at 95 %, not worse
by more than is tolerated. Between the two nothing is decided: it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from .exact_tests import binomial_more, fisher_more, most_excess, spent
from .figures import Figures
from .plan import Rules


class Verdict(Enum):
    """What is known of a canary."""

    PASS = "pass"
    FAIL = "fail"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and what it rests on.

    :param reasons: one sentence each; why it fails, or what is missing to pass.
    :param not_compared: what the instances do not count, or too little of.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """What was counted of one side since traffic began.

    :param error_lines: lines of its log with level error or critical; None: its log cannot be read from here.
    """

    figures: Figures
    error_lines: int | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """Hits among tries on both sides, and by how many points the canary's share may be higher."""

    name: str
    hits: int
    of: int
    other_hits: int
    of_other: int
    tolerated: float

    @property
    def excess(self) -> float:
        """By how much the canary's share is higher."""
        if not self.of or not self.of_other:
            return 0.0
        return self.hits / self.of - self.other_hits / self.of_other

    def __str__(self) -> str:
        return f"{self.name}: {self.hits} of {self.of}, baseline {self.other_hits} of {self.of_other}"


def broken(canary: Sample) -> str:
    """Return why the canary fails at once, without comparing it with the baseline; "" if it does not."""
    figures = canary.figures
    if figures.twice:
        return f"{figures.twice} write(s) stored twice"
    if figures.sent is not None and figures.sent > figures.answered:
        more = figures.sent - figures.answered
        return f"HOSP carried out {more} write(s) more than were asked for: a write was doubled"
    if figures.worker_restarts:
        return f"{figures.worker_restarts} worker(s) ended by themselves"
    if figures.records_lost:
        return f"{figures.records_lost} audit record(s) could not be written"
    return ""


def judge(
    rules: Rules, canary: Sample, baseline: Sample, *, look: int, lasted_s: float, beside: bool = True
) -> Judgement:
    """Compare canary and baseline.

    :param look: how often this was asked before, and once more. Every look takes its part of ``rules.alpha``.
    :param lasted_s: seconds since both get traffic.
    :param beside: whether both got the same share of the traffic at the same time.
    """
    reason = broken(canary)
    if reason:
        return Judgement(Verdict.FAIL, (reason,))
    ours, theirs = canary.figures, baseline.figures
    shares = [*_shares(rules, ours, theirs)]
    alpha = spent(rules.alpha, look) / (len(shares) + 4)
    worse = [str(each) for each in shares if _is_worse(each, alpha)]
    worse += _events(canary, baseline, alpha)
    if beside and _vanish(ours.requests, theirs.requests, alpha):
        worse.append(f"answered {ours.requests} requests, baseline {theirs.requests}")
    if worse:
        return Judgement(Verdict.FAIL, tuple(worse))
    missing = [*_missing(rules, ours, theirs, lasted_s)]
    if not missing:
        missing = [
            f"not decided: {each} (at most {100 * bound:.1f} points more, {100 * each.tolerated:.1f} tolerated)"
            for each in shares
            if (bound := most_excess(each.hits, each.of, each.other_hits, each.of_other)) > each.tolerated
        ]
    return Judgement(
        Verdict.HOLD if missing else Verdict.PASS, tuple(missing), tuple(_not_compared(canary, baseline))
    )


def _is_worse(share: Share, alpha: float) -> bool:
    return share.excess > share.tolerated and (
        fisher_more(share.hits, share.of, share.other_hits, share.of_other) < alpha
    )


def _shares(rules: Rules, ours: Figures, theirs: Figures) -> Iterator[Share]:
    tries = ours.requests, theirs.requests
    yield Share("failed", ours.failed, tries[0], theirs.failed, tries[1], rules.failed_points / 100)
    yield Share("refused (4xx)", ours.refused, tries[0], theirs.refused, tries[1], rules.refused_points / 100)
    all_ours, all_theirs = max(ours.faster.values(), default=0), max(theirs.faster.values(), default=0)
    for bound in sorted(ours.faster.keys() & theirs.faster.keys()):
        slow, slow_there = all_ours - ours.faster[bound], all_theirs - theirs.faster[bound]
        # At a bound that all or none exceed on both sides there is nothing to compare.
        if 0 < slow + slow_there < all_ours + all_theirs:
            tolerated = rules.slower_points / 100
            yield Share(f"slower than {bound:g} s", slow, all_ours, slow_there, all_theirs, tolerated)


def _events(canary: Sample, baseline: Sample, alpha: float) -> Iterator[str]:
    """Rare events, compared by how many of all of them are the canary's."""
    ours, theirs = canary.figures, baseline.figures
    if (
        ours.unknown > theirs.unknown
        and fisher_more(ours.unknown, ours.writes, theirs.unknown, theirs.writes) < alpha
    ):
        yield (
            f"writes with unknown outcome: {ours.unknown} of {ours.writes},"
            f" baseline {theirs.unknown} of {theirs.writes}"
        )
    tries = ours.requests + theirs.requests
    share = ours.requests / tries if tries else 0.5
    if binomial_more(ours.bugs, ours.bugs + theirs.bugs, share) < alpha:
        yield f"unexpected exceptions: {ours.bugs}, baseline {theirs.bugs}"
    lines, lines_there = canary.error_lines, baseline.error_lines
    if (
        lines is not None
        and lines_there is not None
        and binomial_more(lines, lines + lines_there, share) < alpha
    ):
        yield f"lines of level error in the log: {lines}, baseline {lines_there}"


def _vanish(ours: int, theirs: int, alpha: float) -> bool:
    """Whether a canary counts next to nothing of its share: it accepts connections, and does not answer."""
    return ours < 0.2 * theirs and binomial_more(theirs, ours + theirs, 0.5) < alpha


def _missing(rules: Rules, ours: Figures, theirs: Figures, lasted_s: float) -> Iterator[str]:
    if lasted_s < rules.min_s:
        yield f"too short: {lasted_s:.0f} s of {rules.min_s:g} s"
    for name, have, least in (
        ("canary", ours.requests, rules.min_requests),
        ("baseline", theirs.requests, rules.min_requests),
    ):
        if have < least:
            yield f"too few requests: {name} {have} of {least}"
    if min(ours.writes, theirs.writes) < rules.min_writes:
        yield f"too few writes: canary {ours.writes}, baseline {theirs.writes} of {rules.min_writes}"


def _not_compared(canary: Sample, baseline: Sample) -> Iterator[str]:
    if canary.figures.sent is None:
        yield "doubled writes, except those that the canary itself reports"
    if canary.error_lines is None or baseline.error_lines is None:
        yield "lines of level error in the log"
