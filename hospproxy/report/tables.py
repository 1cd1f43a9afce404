"""The tables of a report as texts, for the terminal and the page. Pure.

Texts of log lines are made visible here: no character in them controls, reverses or hides anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from ..record.export.texts import visible
from .bars import duration, number, percent
from .figures import Report

STEP_TIMES: Final = {"month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%d %H:%M"}
STEP_TITLES: Final = {"hour": "Hour by hour", "day": "Day by day", "month": "Month by month"}
"""How the time of a step is written, and the title over all steps."""


@frozen(slots=True)
class Table:
    """Rows of texts under their titles.

    :param texts: the columns that hold texts; the others hold numbers.
    """

    title: str
    titles: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: tuple[int, ...] = (0,)


def status_text(status: int | None) -> str:
    """The status of a failed or refused request."""
    if status is None:
        return "no response"
    return str(status) if status >= 400 else f"{status}, client left"


def time_text(moment: datetime) -> str:
    """Format a time to the second, without its zone."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _first(shown: int, of: int) -> str:
    return f" (the first {shown} of {number(of)})" if shown < of else ""


def tables(report: Report) -> Iterator[Table]:
    """The tables in the order in which they are read; a table may be empty."""
    yield Table(
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
    )
    yield Table(
        "Errors",
        ("route", "status", "requests"),
        [(visible(each.name), status_text(each.status), number(each.requests)) for each in report.errors],
        (0, 1),
    )
    yield Table(
        "Slowest",
        ("time", "took", "status", "client", "request"),
        [
            (
                time_text(each.moment),
                duration(each.ms),
                "none" if each.status is None else str(each.status),
                visible(each.client),
                visible(f"{each.method} {each.path}"),
            )
            for each in report.slowest
        ],
        (0, 3, 4),
    )
    yield Table(
        "Surges",
        ("from", "minutes", "requests", "failed", "busiest minute", "usual minute"),
        [
            (
                time_text(each.begin),
                number(each.minutes),
                number(each.requests),
                number(each.failed),
                number(each.peak),
                number(each.usual),
            )
            for each in report.surges
        ],
    )
    yield Table(
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
    )
