"""A report, or a comparison of two, as one HTML file: no script, nothing from elsewhere, values escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from ..record.export.texts import visible
from . import charts
from .bars import duration, number, percent, size
from .documents import moment
from .figures import Report
from .tables import Table, tables, time_text

if TYPE_CHECKING:
    from jinja2 import Environment


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # Imported when a page is asked for: the terminal needs none.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("hospproxy.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        visible=visible, number=number, percent=percent, duration=duration, size=size, time=time_text
    )
    return made


def page(
    reports: Mapping[str, Report],
    now: datetime,
    sentences: Sequence[str] = (),
    side_by_side: Sequence[Table] = (),
) -> str:
    """Render the report as one self-contained HTML page.

    :param reports: by title, which may be empty for a single report.
    :param now: when it was made, UTC.
    :param sentences: what changed, of a comparison.
    :param side_by_side: its tables.
    """
    return (
        _environment()
        .get_template("report.html")
        .render(
            parts=[
                {
                    "title": title,
                    "report": report,
                    "charts": charts.charts(report),
                    "tables": [table for table in tables(report) if table.rows],
                }
                for title, report in reports.items()
            ],
            sentences=sentences,
            side_by_side=side_by_side,
            now=moment(now),
            chart=charts,
        )
    )
