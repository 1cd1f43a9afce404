"""A report as JSON and as CSV, for other programs. Names and values are those of ``figures.py``. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, cast

import attrs

from ..record.export.texts import cell
from .figures import Counts, Report

_MEMBER_NAMES: Final = {
    "routes": ("method", "route"),
    "errors": ("method", "route", "status"),
    "slowest": ("moment", "method", "path"),
    "surges": ("begin",),
    "clients": ("client",),
    "steps": ("begin",),
}
"""The lists of a report whose members are rows of the CSV, and what tells the members apart."""


def moment(value: datetime) -> str:
    """A time in UTC by RFC 3339, with a fraction only if it has one."""
    return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds") + "Z"


def mapping(report: Report) -> dict[str, Any]:
    """Convert the report into dicts, lists and strings."""
    values: dict[str, Any] = attrs.asdict(report, recurse=False)
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if attrs.has(type(value)):
        plain: dict[str, Any] = {}
        for each in attrs.fields(type(cast("Any", value))):
            inner = _plain(getattr(value, each.name))
            # Counts and durations belong to the row that has them.
            plain |= inner if each.name in ("counts", "durations") else {each.name: inner}
        if isinstance(value, Counts):
            plain["success"] = round(value.success, 6)
        return plain
    return value


def as_json(value: Mapping[str, Any]) -> str:
    """One JSON document, for people too: no character of it can control a terminal."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def as_csv(reports: Mapping[str, Report]) -> str:
    """A row for each figure: ``report,table,row,figure,value``.

    :param reports: by name: "all", or "old" and "new".
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("report", "table", "row", "figure", "value"))
    for name, report in reports.items():
        for row in _rows(mapping(report)):
            writer.writerow([cell(each) for each in (name, *row)])
    return text.getvalue()


def _rows(values: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for table, value in values.items():
        if table in _MEMBER_NAMES:
            for member in value:
                names = _MEMBER_NAMES[table]
                row = " ".join("none" if member[name] is None else str(member[name]) for name in names)
                yield from ((table, row, name, inner) for name, inner in member.items() if name not in names)
        elif isinstance(value, dict):
            yield from (("totals", "", name, inner) for name, inner in value.items())
        elif not isinstance(value, list):
            yield "totals", "", table, value
