"""The values of a line by which an index finds it. Pure.

They follow the rule of ``match.py``, for the index in columns and for the one in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ..trail.scan import record_of
from .match import HIDDEN as HIDDEN_KINDS
from .match import (
    inner,
    is_login_failure,
    is_trouble,
    kept_kind,
    person_of,
    set_of,
    status_of,
    text,
    time_of,
)

LOGIN_FAILURE, OTHER_TROUBLE = 1, 2
"""Values of ``ColumnValues.trouble``."""
HIDDEN, SHOWN, OWN = 0, 1, 2
"""Values of ``ColumnValues.shown``."""

MOST_MS = (1 << 53) - 1


@frozen(slots=True)
class ColumnValues:
    """One record as column values.

    :param time_ms: time of the record; if it has none, that of the record before it.
    :param words: texts by column, and "kind".
    :param set: hash of the disclosure set that the record refers to.
    :param declares: of a disclosure record: hash of the set that it lists.
    :param patients: of a disclosure record: the ids that it lists.
    """

    time_ms: int
    shown: int
    trouble: int | None
    words: Mapping[str, str | None]
    status: int | None
    request_id: str | None
    for_request: str | None
    set: str | None
    declares: str | None
    patients: tuple[str, ...]

    @property
    def is_request(self) -> bool:
        """Whether it is a client's request."""
        return self.words["kind"] == "request"


def coded(line: bytes, before_ms: int) -> ColumnValues:
    """The values of a line. A line that cannot be read still gets a row, of kind "unreadable".

    :param before_ms: time of the record before it.
    """
    record = record_of(line)
    kind = kept_kind(record)
    at = time_of(record)
    declares, patients = _declared(record) if kind == "disclosure" else (None, ())
    return ColumnValues(
        time_ms=min(max(at, 0), MOST_MS) if at is not None else before_ms,
        shown=HIDDEN if kind in HIDDEN_KINDS else OWN if kind == "own" else SHOWN,
        trouble=_trouble(record),
        words=_words(record, kind),
        status=status_of(record),
        request_id=text(record.get("request_id")),
        for_request=text(inner(record, "on_behalf_of").get("request_id")),
        set=set_of(record),
        declares=declares,
        patients=patients,
    )


def _trouble(record: Mapping[str, Any]) -> int | None:
    if is_login_failure(record):
        return LOGIN_FAILURE
    return OTHER_TROUBLE if is_trouble(record) else None


def _words(record: Mapping[str, Any], kind: str) -> dict[str, str | None]:
    staff, name = person_of(record)
    return {
        "kind": kind,
        "staff": staff,
        "name": name,
        "patient": text(record.get("patient_id")),
        "action": text(record.get("action")),
        "outcome": text(record.get("outcome")),
        "route": text(record.get("route")),
        "resource": text(record.get("resource")),
        "record": text(record.get("record_id")),
        "address": text(inner(record, "client").get("address")),
    }


def _declared(record: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    patients = record.get("patients")
    members = patients if isinstance(patients, list) else []
    return text(record.get("set")), tuple({found: None for each in members if (found := text(each))})
