"""Writes records of the copy as JSON Lines and CSV."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final

import msgspec

from ..record.export.texts import cell
from .history import RecordAt

OWN_COLUMNS: Final = ("copy_state", "copy_since", "copy_seen")
"""What the copy says of a record, behind its own fields in CSV."""


def iso(seconds: float) -> str:
    """Return seconds since the epoch as ``2021-03-27T17:33:14.049Z``."""
    try:
        found = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.3f}"
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_lines(records: Iterable[RecordAt], to: IO[str]) -> tuple[int, int]:
    """Write a JSON object for each record.

    :return: how many were written, and how many could not be read.
    """
    written = unreadable = 0
    for one in records:
        if one.content is None:
            unreadable += 1
            continue
        line = {
            "resource": one.resource,
            "id": one.id,
            "state": one.state,
            "since": iso(one.since),
            "seen": iso(one.seen),
            "record": msgspec.Raw(one.content),
        }
        to.write(msgspec.json.encode(line).decode() + "\n")
        written += 1
    return written, unreadable


def write_table(records: Iterable[RecordAt], fields: Sequence[str], to: IO[str]) -> tuple[int, int]:
    """Write CSV (RFC 4180) of one resource, with a header. No cell can be taken for a formula.

    :param fields: of the records; others are left out.
    :return: how many were written, and how many could not be read.
    """
    table = csv.writer(to, lineterminator="\r\n")
    table.writerow([*fields, *OWN_COLUMNS])
    written = unreadable = 0
    for one in records:
        if one.content is None:
            unreadable += 1
            continue
        record: dict[str, Any] = msgspec.json.decode(one.content)
        cells = [_text(record.get(name)) for name in fields]
        table.writerow([*cells, one.state, iso(one.since), iso(one.seen)])
        written += 1
    return written, unreadable


def _text(value: Any) -> str:
    return cell(msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value)
