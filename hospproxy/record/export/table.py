"""The columns of the CSV export, as documented in docs/export.md. Add new columns at the end. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from ..search.rows import IndexRow
from .texts import cell

Record = Mapping[str, Any]
Column = Callable[[IndexRow], object]


def inner(record: Record, name: str) -> Record:
    """An object within a record; empty if there is none."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def person(record: Record) -> Record:
    """Who made the request; for the proxy's own requests, the person on whose behalf."""
    behalf = inner(record, "on_behalf_of")
    return behalf or inner(record, "who")


def _field(name: str) -> Column:
    return lambda row: _plain(row.record.get(name))


def _of(name: str, field: str) -> Column:
    return lambda row: _plain(inner(row.record, name).get(field))


def _plain(value: object) -> object:
    """Join a list into one cell; pass other values on unchanged."""
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return value


def _words(row: IndexRow) -> object:
    return row.record.get("text") or row.record.get("reason")


def _name(row: IndexRow, certainty: str) -> object:
    """The name, only if it has this certainty: counting a person's rows must not count attempts in their name."""
    who = person(row.record)
    return _plain(who.get("name")) if who.get("certainty") == certainty else None


COLUMNS: dict[str, Column] = {
    "time": _field("time"),
    "kind": _field("kind"),
    "action": _field("action"),
    "outcome": _field("outcome"),
    "status": _field("status"),
    "staff_id": lambda row: _plain(person(row.record).get("id")),
    "staff_name": lambda row: _name(row, "verified"),
    "certainty": lambda row: _plain(person(row.record).get("certainty")),
    "own": _field("own"),
    "address": _of("client", "address"),
    "method": _field("method"),
    "route": _field("route"),
    "resource": _field("resource"),
    "record_id": _field("record_id"),
    "patient_id": _field("patient_id"),
    "patients_disclosed": _of("disclosed", "count"),
    "disclosure_set": _of("disclosed", "set"),
    "in_list": lambda row: row.by_list,
    "request_id": _field("request_id"),
    "reference": _field("reference"),
    "answered_by": _field("answered_by"),
    "duration_ms": _field("duration_ms"),
    "rule_hits": _field("rule_hits"),
    "text": _words,
    "trail": lambda row: row.key.name.trail,
    "journal": lambda row: row.key.name.journal,
    "seq": lambda row: row.key.name.seq,
    "hash": lambda row: sha256(row.line).hexdigest(),
    "claimed_name": lambda row: _name(row, "claimed"),
    "auditor_name": lambda row: _name(row, "auditor"),
}


class CsvWriter:
    """Makes the lines of a CSV file as in RFC 4180, one row at a time."""

    def __init__(self) -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, lineterminator="\r\n")

    def header(self) -> bytes:
        return self._line(list(COLUMNS))

    def row(self, row: IndexRow) -> bytes:
        return self._line([cell(of(row)) for of in COLUMNS.values()])

    def _line(self, cells: list[str]) -> bytes:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._writer.writerow(cells)
        return self._buffer.getvalue().encode()
