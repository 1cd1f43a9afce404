"""A report as text: tables and bars. Values of log lines are written so that they cannot control a terminal. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from attrs import frozen

from ..record.export.texts import columns_of, fitted, visible
from .bars import bar, duration, line, number, percent, size
from .comparison import Comparison
from .figures import Report
from .tables import STEP_TIMES, STEP_TITLES, Table, tables, time_text

_BOLD, _RED, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[0m"


@frozen(slots=True)
class Screen:
    """What the terminal can show, and how text looks in it.

    :param width: columns.
    :param colour: it shows bold and red.
    :param blocks: it shows block characters.
    """

    width: int = 100
    colour: bool = False
    blocks: bool = True

    def heading(self, text: str) -> str:
        """Format the line above a table."""
        return f"{_BOLD}{text}{_PLAIN}" if self.colour else f"{text}\n{'-' * columns_of(text)}"

    def alarming(self, text: str, *, when: bool = True) -> str:
        """Show the text in red, if the terminal has colours."""
        return f"{_RED}{text}{_PLAIN}" if self.colour and when and text else text

    def table(self, table: Table) -> Iterator[str]:
        """Lines of a table. The widest text is cut if the table is wider than the screen."""
        titles, texts = table.titles, table.texts
        cells = [titles, *table.rows]
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
    for table in tables(report):
        if table.rows:
            yield ""
            yield screen.heading(table.title)
            yield from screen.table(table)
    yield from _steps(report, screen)
    yield from _broken(report, screen)
    for note in report.notes:
        yield ""
        yield from textwrap.wrap(note, screen.width)


def comparison_lines(compared: Comparison, screen: Screen, top: int) -> Iterator[str]:
    """What changed between two reports, line by line.

    :param top: routes that are shown.
    """
    yield screen.heading("What changed")
    for place, sentence in enumerate(compared.sentences, 1):
        yield from textwrap.wrap(f"{place}. {sentence}", screen.width, subsequent_indent="   ")
    for table in compared.tables(top):
        yield ""
        yield screen.heading(table.title)
        yield from screen.table(table)
    for title, report in (("old", compared.old), ("new", compared.new)):
        yield from _broken(report, screen)
        for note in report.notes:
            yield ""
            yield from textwrap.wrap(f"{title}: {note}", screen.width)


def _summary(report: Report, screen: Screen) -> Iterator[str]:
    counts, times = report.counts, report.durations
    sources = ", ".join(
        f"{name} ({files} {'file' if files == 1 else 'files'})" for name, files in report.sources
    )
    yield screen.heading(
        f"{number(counts.requests)} requests, {time_text(report.first)} to {time_text(report.last)} UTC"
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


def _steps(report: Report, screen: Screen) -> Iterator[str]:
    yield ""
    yield screen.heading(STEP_TITLES[report.step])
    most = max(each.counts.requests for each in report.steps)
    width = max(10, screen.width - 62)
    if len(report.steps) > 1:
        shown = [each.counts.requests for each in report.steps][-screen.width :]
        yield line(shown, blocks=screen.blocks)
    for each in report.steps:
        failed = screen.alarming(f"{number(each.counts.failed):>8} failed", when=each.counts.failed > 0)
        yield (
            f"{each.begin.strftime(STEP_TIMES[report.step]):16} {number(each.counts.requests):>11} {failed}"
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
