"""Charts as positions and texts, which the template of the page draws as SVG. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from .bars import duration, number, percent
from .figures import Report, StepFigures
from .tables import STEP_TIMES

WIDTH: Final = 720
HEIGHT: Final = 200
LEFT: Final = 62
BOTTOM: Final = 22
TOP: Final = 8
"""Of a chart, in units of its viewBox; the drawing is right of LEFT, above BOTTOM and below TOP."""

_LABELS: Final = 6


@frozen(slots=True)
class Bar:
    """A step of a chart: its requests, and at its foot those that failed."""

    x: float
    width: float
    y: float
    height: float
    failed_y: float
    failed_height: float
    text: str


@frozen(slots=True)
class Curve:
    """A line through the steps that have a value.

    :param path: the ``d`` of an SVG path.
    """

    name: str
    path: str


@frozen(slots=True)
class Chart:
    """A chart over the steps of a report, as positions in pixels.

    :param ticks: (y, label) of the values at its left.
    :param times: (x, label) of the times below it.
    """

    title: str
    ticks: tuple[tuple[float, str], ...]
    times: tuple[tuple[float, str], ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Curve, ...] = ()


def charts(report: Report) -> tuple[Chart, ...]:
    """The charts of a report: requests, and durations if there are any, over its steps."""
    found = [_requests(report)]
    if report.durations.max_ms is not None:
        found.append(_durations(report))
    return tuple(found)


def nice(value: float) -> float:
    """The next value that is easy to read: 1, 2 or 5 with zeros."""
    step = 1.0
    while step * 10 <= value:
        step *= 10
    while step > value > 0:
        step /= 10
    return next((step * factor for factor in (1, 2, 5, 10) if step * factor >= value), step)


def _slot(moment: datetime, first: datetime, step: str) -> int:
    if step == "month":
        return (moment.year - first.year) * 12 + moment.month - first.month
    return round((moment - first).total_seconds() / (3600 if step == "hour" else 86400))


@frozen(slots=True)
class _Axes:
    report: Report
    most: float

    @property
    def slots(self) -> int:
        steps = self.report.steps
        return _slot(steps[-1].begin, steps[0].begin, self.report.step) + 1

    @property
    def slot_width(self) -> float:
        return (WIDTH - LEFT) / self.slots

    def x(self, step: StepFigures) -> float:
        """Left edge of a step's slot, in pixels."""
        return LEFT + _slot(step.begin, self.report.steps[0].begin, self.report.step) * self.slot_width

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - BOTTOM - TOP) * (1 - value / self.most)

    def ticks(self, text: Callable[[float], str]) -> tuple[tuple[float, str], ...]:
        return tuple((round(self.y(value), 1), text(value)) for value in (0, self.most / 2, self.most))

    def times(self) -> tuple[tuple[float, str], ...]:
        steps = self.report.steps
        every = -(-len(steps) // _LABELS)
        return tuple(
            (round(self.x(step) + self.slot_width / 2, 1), step.begin.strftime(STEP_TIMES[self.report.step]))
            for step in steps[::every]
        )


def _requests(report: Report) -> Chart:
    axes = _Axes(report, max(2, nice(max(step.counts.requests for step in report.steps))))
    base = axes.y(0)
    gap = min(2.0, axes.slot_width / 5)

    def bar(step: StepFigures) -> Bar:
        top, failed = axes.y(step.counts.requests), axes.y(step.counts.failed)
        return Bar(
            round(axes.x(step), 2),
            round(axes.slot_width - gap, 2),
            round(top, 2),
            round(base - top, 2),
            round(failed, 2),
            round(base - failed, 2),
            f"{step.begin.strftime(STEP_TIMES[report.step])}: {number(step.counts.requests)} requests,"
            f" {number(step.counts.failed)} failed, success {percent(step.counts.success)}",
        )

    title = f"Requests in each {report.step}; failed ones at the foot"
    return Chart(title, axes.ticks(number), axes.times(), bars=tuple(map(bar, report.steps)))


def _durations(report: Report) -> Chart:
    axes = _Axes(report, max(1.0, nice(max(step.durations.p99_ms or 0 for step in report.steps))))
    values: dict[str, Callable[[StepFigures], float | None]] = {
        "p99": lambda step: step.durations.p99_ms,
        "p95": lambda step: step.durations.p95_ms,
        "p50": lambda step: step.durations.p50_ms,
    }
    lines = tuple(
        Curve(name, _path(axes, [(each, of(each)) for each in report.steps])) for name, of in values.items()
    )
    return Chart(f"Durations in each {report.step}", axes.ticks(duration), axes.times(), lines=lines)


def _path(axes: _Axes, values: Sequence[tuple[StepFigures, float | None]]) -> str:
    """A step of a stair for each value, so that a single one is seen too."""
    parts: list[str] = []
    for step, value in values:
        if value is not None:
            x, y = axes.x(step), axes.y(value)
            parts.append(f"{'L' if parts else 'M'}{x:.1f} {y:.1f}H{x + axes.slot_width:.1f}")
    return "".join(parts)
