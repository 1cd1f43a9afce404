"""Numbers as texts and as bars for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"


def bar(value: float, most: float, width: int, *, blocks: bool) -> str:
    """A bar of at most ``width`` columns; something is seen of every value above 0.

    :param most: the value of a full bar.
    :param blocks: the terminal can show block characters.
    """
    if most <= 0 or value <= 0:
        return ""
    eighths = max(1, round(min(value / most, 1) * width * 8))
    if not blocks:
        return "#" * max(1, eighths // 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def line(values: Sequence[float], *, blocks: bool) -> str:
    """A column for each value, as high as the value is beside the highest."""
    most = max(values, default=0)
    levels = _LEVELS if blocks else ".:-=+*%#"
    return "".join(" " if not value else levels[min(7, int(value / most * 8))] for value in values)


def number(value: float) -> str:
    """With groups of three: 12 345."""
    return f"{value:,.0f}".replace(",", " ")


def percent(share: float) -> str:
    """A share as percent; never 100 % if one is missing, never 0 % if there is one.

    :param share: from 0 to 1.
    """
    text = f"{share * 100:.2f}"
    if text == "100.00" and share < 1:
        return "> 99.99 %"
    return "< 0.01 %" if text == "0.00" and share > 0 else f"{text} %"


def duration(ms: float | None) -> str:
    """A duration in the unit in which it is read best."""
    if ms is None:
        return "–"
    if 0 < ms < 1:
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s" if ms < 60_000 else f"{ms / 60_000:.1f} min"


def size(count: float) -> str:
    """Bytes in the unit in which they are read best."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} TB"
