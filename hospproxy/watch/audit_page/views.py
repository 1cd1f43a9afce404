"""Converts records into what a page shows: text, tones and links. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import define, frozen

from ...record.search.filters import Filters
from ...record.search.match import is_of_auditor, is_proved
from ...record.search.rows import IndexRow
from . import routes
from .fields import OUTCOMES
from .routes import LABELS, address

NO_FILTERS = Filters()
CHANGES = frozenset({"create", "update", "delete"})
_VERBS = {
    "create": ("created", "create"),
    "read": ("read", "read"),
    "update": ("changed", "change"),
    "delete": ("deleted", "delete"),
    "search": ("listed", "list"),
    "execute": ("screened", "screen"),
    "export": ("exported", "export"),
}
"""Action → verb for what was done ("read"), and for what was tried."""


def clock(seconds: float) -> str:
    """Format a time for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def machine_time(seconds: float) -> str:
    """Format a time for machines (RFC 3339, UTC)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@frozen(slots=True)
class TableCell:
    """A text, with a link if ``href`` is set."""

    text: str
    href: str | None = None


@frozen(slots=True)
class RowView:
    """One record as a row of a list, with all texts as they are shown.

    :param machine: the time in RFC 3339.
    :param what: what was done ("read patient 7").
    :param tone: of the outcome: "good", "warn", "bad" or "plain".
    :param note: a short remark ("in a list of 12 patients", "alert", …).
    :param href: link to the record.
    """

    time: str
    machine: str
    who: TableCell
    what: str
    patient: TableCell
    outcome: str
    status: str
    tone: str
    where: TableCell
    request: TableCell
    note: str
    href: str


def row_view(row: IndexRow, filters: Filters = NO_FILTERS) -> RowView:
    """Convert a record into the row that a list shows for it.

    :param filters: those of the page; links in the row narrow them.
    """
    record = row.record
    seconds = row.key.time_ms / 1000
    outcome = text(record, "outcome") or text(record, "reason") or text(record, "rule") or "–"
    return RowView(
        time=clock(seconds),
        machine=machine_time(seconds),
        who=_who(record, filters),
        what=what(record),
        patient=_patient(record),
        outcome=outcome,
        status=text(record, "status"),
        tone="bad" if record.get("kind") in ("alert", "gap") else OUTCOMES.get(outcome, "plain"),
        where=_narrowed(filters, "address", text(record, "client", "address")),
        request=_request(record),
        note=_note(row),
        href=href(row),
    )


def href(row: IndexRow) -> str:
    """Return the link to the page of one record."""
    name = row.key.name
    return routes.path(routes.RECORD, name.trail, name.journal, name.seq)


def text(record: Mapping[str, Any], *path: str) -> str:
    """Return a value inside a record as text; "" if there is none, or it is an object or list."""
    value: Any = record
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return "" if value is None or isinstance(value, Mapping | list) else str(value)


def who_name(record: Mapping[str, Any]) -> str:
    """Name the person in a record, or describe who acted if there is no name."""
    name = _called(record, "who")
    if name:
        return name
    if text(record, "kind") == "admin":
        operator = text(record, "operator", "user") or text(record, "operator", "way")
        return f"{operator} (operator)" if operator else "–"
    certainty = text(record, "who", "certainty")
    if certainty == "proxy":
        behalf = _called(record, "on_behalf_of")
        return f"the proxy, for {behalf}" if behalf else "the proxy itself"
    return {"none": "nobody (no credentials)", "claimed": "not known (claimed)"}.get(certainty, "–")


def _called(record: Mapping[str, Any], which: str) -> str:
    """Return a name or an id, marked "(claimed)" or "(auditor)" where it is no verified member of staff."""
    name = text(record, which, "name") or text(record, which, "id")
    kind = {"claimed": " (claimed)", "auditor": " (auditor)"}.get(text(record, which, "certainty"), "")
    return name + kind if name else ""


def what(record: Mapping[str, Any]) -> str:
    """Describe in a few words what was done."""
    kind = text(record, "kind")
    if kind == "admin":
        return text(record, "text")
    if kind == "alert":
        return text(record, "text") or f"alert: {text(record, 'rule')}"
    if kind == "gap":
        return f"{text(record, 'lost')} records were lost"
    if text(record, "action") == "log-in failure":
        return "failed to log in to the audit page" if kind == "look" else "failed to log in"
    return (
        _verb(record)
        + _object(record)
        + {"intent": ", about to be sent", "finding": ": found out later"}.get(kind, "")
    )


def _verb(record: Mapping[str, Any]) -> str:
    action = text(record, "action")
    if not action:
        return f"sent a {text(record, 'method') or 'request'} that the contract does not define"
    done, tried = _VERBS.get(action, (action, action))
    if text(record, "kind") == "intent":
        return tried
    return done if OUTCOMES.get(text(record, "outcome"), "good") == "good" else f"tried to {tried}"


def _object(record: Mapping[str, Any]) -> str:
    if text(record, "kind") == "look":
        return " the audit trail" if not text(record, "record_id") else " a record of the audit trail"
    number, resource = text(record, "record_id"), text(record, "resource")
    if number or text(record, "action") == "create":
        resource = resource.removesuffix("s")
    return "".join(f" {each}" for each in (resource, number) if each)


def _who(record: Mapping[str, Any], filters: Filters) -> TableCell:
    label = who_name(record)
    asked = text(record, "who", "name") or text(record, "who", "id")
    if not asked:
        asked = text(record, "on_behalf_of", "name") or text(record, "on_behalf_of", "id")
    if not asked:
        return TableCell(label)
    whose = "staff" if is_proved(record) else "auditor" if is_of_auditor(record) else "claimed"
    persons = {"staff": None, "claimed": None, "auditor": None, whose: asked}
    return TableCell(label, address(routes.SEARCH, filters, None, **persons))


def _patient(record: Mapping[str, Any]) -> TableCell:
    patient = text(record, "patient_id")
    return TableCell(patient, routes.path(routes.PATIENT, patient)) if patient else TableCell("")


def _narrowed(filters: Filters, name: str, value: str) -> TableCell:
    return TableCell(value, address(routes.SEARCH, filters, None, **{name: value}) if value else None)


def _request(record: Mapping[str, Any]) -> TableCell:
    value = text(record, "on_behalf_of", "request_id") or text(record, "request_id")
    return TableCell(value, address(routes.SEARCH, Filters(request_id=value, own=True)) if value else None)


def _note(row: IndexRow) -> str:
    record = row.record
    count = text(record, "disclosed", "count")
    if row.by_list:
        return f"in a list of {count} patients" if count else "in a list"
    said = {
        "alert": "alert",
        "gap": "gap",
        "look": "audit",
        "admin": "admin",
        "own": text(record, "own"),
    }.get(text(record, "kind"), "")
    return said or (f"{count} patients" if count else "")


@frozen(slots=True)
class FilterChip:
    """An active filter, with a link that removes it."""

    label: str
    value: str
    href: str


def chips(path: str, filters: Filters, fixed: Iterable[str] = ()) -> list[FilterChip]:
    """Make a chip for each active filter, so that the user can remove it.

    :param fixed: filters that the page itself sets, and that cannot be removed.
    """
    found = []
    for name, label in LABELS.items():
        value = getattr(filters, name)
        if name in fixed or value is None or value is False:
            continue
        shown = clock(value) if name in ("since", "until") else "" if value is True else str(value)
        without = False if value is True else None
        found.append(FilterChip(label, shown, address(path, filters, None, **{name: without})))
    return found


@define(slots=True)
class PersonCounts:
    """Counts of what one person did with one patient's data.

    :param read: reads of the patient's own records.
    :param listed: reads of lists that the patient was in.
    """

    name: str
    href: str | None
    read: int = 0
    listed: int = 0
    changed: int = 0
    refused: int = 0
    first: str = ""
    last: str = ""


def people(rows: Iterable[IndexRow], patient: str) -> list[PersonCounts]:
    """Count what each person did with a patient's data; the most recent person comes first.

    A claimed name counts as a separate person: the client that tried a wrong password may be someone else. Looks of
    auditors do not count: they look at the trail, not at the patient.

    :param rows: newest first.
    """
    found: dict[str, PersonCounts] = {}
    for row in rows:
        record = row.record
        if record.get("kind") != "request":
            continue
        name = who_name(record)
        person = found.get(name)
        when = clock(row.key.time_ms / 1000)
        if person is None:
            link = _who(record, Filters(patient=patient)).href
            person = found[name] = PersonCounts(name, link, last=when)
        person.first = when
        if OUTCOMES.get(text(record, "outcome")) != "good":
            person.refused += 1
        elif row.by_list:
            person.listed += 1
        elif record.get("action") in CHANGES:
            person.changed += 1
        else:
            person.read += 1
    return list(found.values())
