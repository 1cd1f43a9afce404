"""A report as text: tables and bars. Values of log lines are written so that they cannot control a terminal. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Iterator, Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from ..record.export.texts import columns_of, fitted, visible
from .bars import bar, duration, line, number, percent, size
from .figures import Report

_BOLD, _RED, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[0m"
_LONG: Final = {"month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%d %H:%M"}


def status_text(status: int | None) -> str:
    """The status of a failed or refused request."""
    if status is None:
        return "no response"
    return str(status) if status >= 400 else f"{status}, client left"


@frozen(slots=True)
class Screen:
    """What a terminal can show.

    :param width: columns.
    :param colour: it shows bold and red.
    :param blocks: it shows block characters.
    """

    width: int = 100
    colour: bool = False
    blocks: bool = True

    def heading(self, text: str) -> str:
        """The line above a table."""
        return f"{_BOLD}{text}{_PLAIN}" if self.colour else f"{text}\n{'-' * columns_of(text)}"

    def alarming(self, text: str, *, when: bool = True) -> str:
        """The text in red."""
        return f"{_RED}{text}{_PLAIN}" if self.colour and when and text else text

    def table(
        self, titles: Sequence[str], rows: Sequence[Sequence[str]], texts: Container[int]
    ) -> Iterator[str]:
        """Lines of a table. The widest text is cut if the table is wider than the screen.

        :param texts: the columns that hold texts; the others hold numbers.
        """
        cells = [titles, *rows]
        widths = [max(columns_of(row[n]) for row in cells) for n in range(len(titles))]
        over = sum(widths) + 2 * (len(widths) - 1) - self.width
        if over > 0:
            widest = max((n for n in range(len(titles)) if n in texts), key=lambda n: widths[n])
            widths[widest] = max(12, widths[widest] - over)
        for row in cells:
            shown = [
                fitted(text, widths[n]) if n in texts else text.rjust(widths[n]) for n, text in enumerate(row)
            ]
            yield "  ".join(shown).rstrip()


def lines(report: Report, screen: Screen) -> Iterator[str]:
    """The whole report, line by line."""
    yield from _summary(report, screen)
    for title, titles, rows, texts in _tables(report):
        if rows:
            yield ""
            yield screen.heading(title)
            yield from screen.table(titles, rows, texts)
    yield from _steps(report, screen)
    yield from _broken(report, screen)
    for note in report.notes:
        yield ""
        yield from textwrap.wrap(note, screen.width)


def _summary(report: Report, screen: Screen) -> Iterator[str]:
    counts, times = report.counts, report.durations
    sources = ", ".join(
        f"{name} ({files} {'file' if files == 1 else 'files'})" for name, files in report.sources
    )
    yield screen.heading(
        f"{number(counts.requests)} requests, {_time(report.first)} to {_time(report.last)} UTC"
    )
    yield f"read          {sources}"
    told = (
        f"{percent(counts.success)}; {number(counts.failed)} failed, {number(counts.refused)} refused (4xx)"
    )
    yield f"success       {screen.alarming(told, when=counts.success < 0.99)}"
    yield (
        f"durations     half within {duration(times.p50_ms)}, 95 % within {duration(times.p95_ms)},"
        f" 99 % within {duration(times.p99_ms)}, longest {duration(times.max_ms)}"
    )
    if report.untimed:
        yield f"              {number(report.untimed)} requests have no duration in the log"
    if report.sent_bytes:
        yield f"sent          {size(report.sent_bytes)}"


Table = tuple[str, tuple[str, ...], list[tuple[str, ...]], tuple[int, ...]]


def _first(shown: int, of: int) -> str:
    return f" (the first {shown} of {number(of)})" if shown < of else ""


def _tables(report: Report) -> Iterator[Table]:
    yield (
        "Routes" + _first(len(report.routes), report.route_count),
        ("route", "requests", "success", "failed", "4xx", "p50", "p95", "p99", "max"),
        [
            (
                visible(each.name),
                number(each.counts.requests),
                percent(each.counts.success),
                number(each.counts.failed),
                number(each.counts.refused),
                duration(each.durations.p50_ms),
                duration(each.durations.p95_ms),
                duration(each.durations.p99_ms),
                duration(each.durations.max_ms),
            )
            for each in report.routes
        ],
        (0,),
    )
    yield (
        "Errors",
        ("route", "status", "requests"),
        [(visible(each.name), status_text(each.status), number(each.requests)) for each in report.errors],
        (0, 1),
    )
    yield (
        "Slowest",
        ("time", "took", "status", "client", "request"),
        [
            (
                _time(each.moment),
                duration(each.ms),
                "none" if each.status is None else str(each.status),
                visible(each.client),
                visible(f"{each.method} {each.path}"),
            )
            for each in report.slowest
        ],
        (0, 3, 4),
    )
    yield (
        "Surges",
        ("from", "minutes", "requests", "failed", "busiest minute", "usual minute"),
        [
            (
                _time(each.begin),
                number(each.minutes),
                number(each.requests),
                number(each.failed),
                number(each.peak),
                number(each.usual),
            )
            for each in report.surges
        ],
        (0,),
    )
    yield (
        "Clients" + _first(len(report.clients), report.client_count),
        ("client", "requests", "success", "failed", "4xx"),
        [
            (
                visible(each.client),
                number(each.counts.requests),
                percent(each.counts.success),
                number(each.counts.failed),
                number(each.counts.refused),
            )
            for each in report.clients
        ],
        (0,),
    )


def _steps(report: Report, screen: Screen) -> Iterator[str]:
    yield ""
    yield screen.heading(
        {"hour": "Hour by hour", "day": "Day by day", "month": "Month by month"}[report.step]
    )
    most = max(each.counts.requests for each in report.steps)
    width = max(10, screen.width - 62)
    if len(report.steps) > 1:
        shown = [each.counts.requests for each in report.steps][-screen.width :]
        yield line(shown, blocks=screen.blocks)
    for each in report.steps:
        failed = screen.alarming(f"{number(each.counts.failed):>8} failed", when=each.counts.failed > 0)
        yield (
            f"{each.begin.strftime(_LONG[report.step]):16} {number(each.counts.requests):>11} {failed}"
            f"  p95 {duration(each.durations.p95_ms):>8}"
            f"  {bar(each.counts.requests, most, width, blocks=screen.blocks)}"
        ).rstrip()


def _broken(report: Report, screen: Screen) -> Iterator[str]:
    if report.broken:
        yield ""
        yield screen.heading(f"Lines that cannot be read: {number(report.broken)}")
        for each in report.examples:
            where = f"{each.file}:{each.line}" if each.line else each.file
            yield fitted(f"{visible(where)}: {visible(each.text)}", screen.width).rstrip()
    for name in report.damaged:
        yield f"damaged, nothing of it is counted: {visible(name)}"
    if report.skipped:
        yield f"{number(report.skipped)} other files in the folders are no logs"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
