"""How often a patient's data were used, day by day, as bars of a drawing. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from attrs import frozen

from ...record.search.rows import IndexRow
from .fields import OUTCOMES
from .views import text

WIDTH, HEIGHT = 720, 96
"""Size of the drawing in its own units."""
MOST_BARS = 92
"""Longer periods have a bar for each week, or for several."""


@frozen(slots=True)
class TimelineBar:
    """One bar: a day, or some days from it on.

    :param label: the day, and how many uses.
    :param x: left edge; ``y`` is the upper one.
    """

    label: str
    count: int
    x: float
    y: float
    width: float
    height: float


@frozen(slots=True)
class Timeline:
    """The bars over a period, and what stands at their ends.

    :param days: of each bar.
    :param most: uses in the highest bar.
    """

    bars: tuple[TimelineBar, ...]
    days: int
    most: int
    first: str
    last: str


def timeline(rows: Sequence[IndexRow]) -> Timeline | None:
    """Count the requests that gave out or changed data, by day (UTC); None if there is no such request.

    :param rows: about one patient.
    """
    counts: Counter[date] = Counter()
    for row in rows:
        record = row.record
        if record.get("kind") == "request" and OUTCOMES.get(text(record, "outcome")) == "good":
            counts[datetime.fromtimestamp(row.key.time_ms / 1000, UTC).date()] += 1
    if not counts:
        return None
    first, last = min(counts), max(counts)
    length = (last - first).days + 1
    days = 1 if length <= MOST_BARS else 7 * -(-length // (7 * MOST_BARS))
    summed: Counter[int] = Counter()
    for day, many in counts.items():
        summed[(day - first).days // days] += many
    slots, most = -(-length // days), max(summed.values())
    return Timeline(
        bars=tuple(_bar(first, days, slots, most, at, summed[at]) for at in range(slots)),
        days=days,
        most=most,
        first=first.isoformat(),
        last=last.isoformat(),
    )


def _bar(first: date, days: int, slots: int, most: int, at: int, count: int) -> TimelineBar:
    slot = WIDTH / max(slots, 14)  # few days make no broad bars
    height = HEIGHT * count / most
    begin = first + timedelta(days=days * at)
    when = begin.isoformat() if days == 1 else f"{days} days from {begin.isoformat()}"
    return TimelineBar(
        label=f"{when}: {count}",
        count=count,
        x=round(slot * at, 1),
        y=round(HEIGHT - height, 1),
        width=round(slot * 0.8, 1),
        height=round(height, 1),
    )
