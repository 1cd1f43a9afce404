"""What changed between two reports, in three sentences and side by side. The sentences follow rules. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt
from typing import Final

from attrs import frozen

from ..record.export.texts import visible
from .bars import duration, number, percent, size
from .figures import Counts, Durations, Report, RouteFigures
from .tables import Table

FEW: Final = 100
"""Fewer requests than this are too few to compare."""

_SAME: Final = 0.1
"""Durations and shares that differ by less than this part are called the same."""

_NOTABLE: Final = 0.005
"""A route stands out if its share of failures changed by this much."""


@frozen(slots=True)
class Comparison:
    """Two reports, such as before and after the proxy."""

    old: Report
    new: Report

    @property
    def sentences(self) -> tuple[str, str, str]:
        """What changed: success, durations, and what a reader should look at next."""
        return (
            _success(self.old.counts, self.new.counts),
            _durations(self.old.durations, self.new.durations),
            self._next(),
        )

    def tables(self, top: int) -> Iterator[Table]:
        """The figures of both periods side by side.

        :param top: routes that are shown.
        """
        yield Table(
            "Both periods",
            ("", "old", "new"),
            [(name, text(self.old), text(self.new)) for name, text in _TOTALS.items()],
        )
        routes = list(self._pairs())
        titles = ("route", "requests old", "new", "success old", "new", "p95 old", "new")
        rows = [
            (
                visible((new or old or _NONE).name),
                *_both(old, new, lambda each: number(each.counts.requests)),
                *_both(old, new, lambda each: percent(each.counts.success)),
                *_both(old, new, lambda each: duration(each.durations.p95_ms)),
            )
            for old, new in routes[:top]
        ]
        yield Table("Routes", titles, rows)

    def _pairs(self) -> Iterator[tuple[RouteFigures | None, RouteFigures | None]]:
        """The same route in both periods, the most used now first; then those that are used no more."""
        old = {each.name: each for each in self.old.routes}
        for new in self.new.routes:
            yield old.pop(new.name, None), new
        for left in old.values():
            yield left, None

    def _next(self) -> str:
        fewest = min(self.old.counts.requests, self.new.counts.requests)
        if fewest < FEW:
            return f"One of the periods has only {number(fewest)} requests, so the differences may be chance."
        pairs = [(old, new) for old, new in self._pairs() if old is not None and new is not None]
        changed = [
            (abs(_share(new.counts) - _share(old.counts)) * new.counts.requests, old, new)
            for old, new in pairs
            if abs(_share(new.counts) - _share(old.counts)) >= _NOTABLE and not _same(old.counts, new.counts)
        ]
        if changed:
            _, old, new = max(changed, key=lambda each: each[0])
            return (
                f"The largest change is at {visible(new.name)}: {percent(_share(new.counts))} of its requests"
                f" fail now, {percent(_share(old.counts))} did before."
            )
        return "No route stands out: each fails about as often as before."


_NONE: Final = RouteFigures("", "", Counts(0, 0, 0), Durations(None, None, None, None))


def _both(
    old: RouteFigures | None, new: RouteFigures | None, text: Callable[[RouteFigures], str]
) -> tuple[str, str]:
    return (text(old) if old else "–", text(new) if new else "–")


_TOTALS: Final[dict[str, Callable[[Report], str]]] = {
    "from": lambda each: each.first.strftime("%Y-%m-%d %H:%M"),
    "to": lambda each: each.last.strftime("%Y-%m-%d %H:%M"),
    "requests": lambda each: number(each.counts.requests),
    "success": lambda each: percent(each.counts.success),
    "failed": lambda each: number(each.counts.failed),
    "refused (4xx)": lambda each: number(each.counts.refused),
    "p50": lambda each: duration(each.durations.p50_ms),
    "p95": lambda each: duration(each.durations.p95_ms),
    "p99": lambda each: duration(each.durations.p99_ms),
    "longest": lambda each: duration(each.durations.max_ms),
    "sent": lambda each: size(each.sent_bytes),
    "surges": lambda each: number(len(each.surges)),
    "clients": lambda each: number(each.client_count),
    "lines that cannot be read": lambda each: number(each.broken),
}


def _share(counts: Counts) -> float:
    return counts.failed / counts.requests


def _same(old: Counts, new: Counts) -> bool:
    """Whether the shares of failures are alike, or differ by no more than chance makes likely."""
    before, now = _share(old), _share(new)
    whole = (old.failed + new.failed) / (old.requests + new.requests)
    # Two standard errors of the difference of two shares.
    chance = 2 * sqrt(whole * (1 - whole) * (1 / old.requests + 1 / new.requests))
    return abs(now - before) <= max(chance, _SAME * before)


def _success(old: Counts, new: Counts) -> str:
    if not old.failed and not new.failed:
        return "No request fails now, and none failed before."
    told = f"{percent(new.success)} of the requests succeed now, {percent(old.success)} did before"
    if _same(old, new):
        return f"Success is about the same: {told}."
    if _share(new) < _share(old):
        return f"More requests succeed: of 1 000, {_of_thousand(new)} fail now and {_of_thousand(old)} failed before."
    return f"Fewer requests succeed: of 1 000, {_of_thousand(new)} fail now and {_of_thousand(old)} failed before."


def _of_thousand(counts: Counts) -> str:
    return f"{_share(counts) * 1000:.3g}"


def _durations(old: Durations, new: Durations) -> str:
    if old.p50_ms is None or new.p50_ms is None or old.p95_ms is None or new.p95_ms is None:
        return "One of the periods has no durations, so they cannot be compared."
    changes = [_change(old.p50_ms, new.p50_ms), _change(old.p95_ms, new.p95_ms)]
    told = (
        f"half are done within {duration(new.p50_ms)} now and {duration(old.p50_ms)} before,"
        f" 95 % within {duration(new.p95_ms)} now and {duration(old.p95_ms)} before"
    )
    if changes == [0, 0]:
        return f"Requests take about as long: {told}."
    if min(changes) >= 0:
        return f"Requests take longer: {told}."
    if max(changes) <= 0:
        return f"Requests are faster: {told}."
    return f"Most requests are {'faster' if changes[0] < 0 else 'slower'}, the slow ones are not: {told}."


def _change(old: float, new: float) -> int:
    """-1 for clearly faster, 1 for clearly slower."""
    if abs(new - old) <= max(_SAME * old, 1.0):
        return 0
    return 1 if new > old else -1
