"""The rule by which a record matches the filters. Pure.

A database answers from its indexes, and must return the same rows as this module.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from typing import Any

from .filters import Filters

LOGIN_FAILURE = "log-in failure"
"""The value of ``Filters.action`` for failed log-ins. Records need not have this action: a 401 counts as well."""

HIDDEN = frozenset({"begin", "digest", "tombstone", "disclosure", "intent"})
"""Kinds shown only if asked for by name: they describe the trail itself, or another record follows them."""

Members = Mapping[str, Container[str]]
"""From the hash of a disclosure set to the ids of its patients."""

_TEXT = 200


def text(value: object) -> str | None:
    """A value of a record in the form used for comparison: ids may be numbers, and no database stores U+0000."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)[:_TEXT].replace("\0", "\ufffd")


def inner(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within a record; empty if there is none."""
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


def milliseconds(seconds: float) -> int:
    """Seconds as milliseconds, the unit for comparing times."""
    return round(seconds * 1000)


def time_of(record: Mapping[str, Any]) -> int | None:
    """The record's time in milliseconds since the epoch; None if it has none."""
    try:
        moment = datetime.fromisoformat(record["time"])
    except (KeyError, TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return milliseconds(moment.timestamp())


def person_of(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Id and name of the person who made the request, or on whose behalf the proxy made it."""
    for name in ("who", "on_behalf_of"):
        person = inner(record, name)
        found = text(person.get("id")), text(person.get("name"))
        if any(found):
            return found
    return None, None


def is_proved(record: Mapping[str, Any]) -> bool:
    """Whether HOSP confirmed who made the request: only then does the record hold a person's id."""
    return person_of(record)[0] is not None


def is_of_auditor(record: Mapping[str, Any]) -> bool:
    """A logged-in auditor looked at the trail. Auditors' names are separate from those of staff."""
    return record.get("kind") == "look" and not is_login_failure(record)


def status_of(record: Mapping[str, Any]) -> int | None:
    """Status of the response; None if the record holds no valid one."""
    value = record.get("status")
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1000 else None


def set_of(record: Mapping[str, Any]) -> str | None:
    """The hash of the set of patients that the response disclosed."""
    return text(inner(record, "disclosed").get("set"))


def is_login_failure(record: Mapping[str, Any]) -> bool:
    """The client's credentials were rejected."""
    return text(record.get("action")) == LOGIN_FAILURE or (
        record.get("kind") == "request" and status_of(record) == 401
    )


def is_trouble(record: Mapping[str, Any]) -> bool:
    """A failed log-in, a refusal or an alert."""
    return record.get("kind") == "alert" or record.get("outcome") == "refused" or is_login_failure(record)


def kept_kind(record: Mapping[str, Any]) -> str:
    """The record's kind in the form used for comparison."""
    return text(record.get("kind")) or "unreadable"


def kind_fits(kind: str, filters: Filters) -> bool:
    """Whether the filters include this kind. A request id includes the requests made on that request's behalf."""
    if filters.kind is not None:
        return kind == filters.kind
    return kind not in HIDDEN and (kind != "own" or filters.own or filters.request_id is not None)


def _is_of_person(record: Mapping[str, Any], filters: Filters) -> bool:
    """Whether the record matches ``staff``, ``claimed`` and ``auditor``: proved, only claimed, and looked at
    the trail.
    """
    number, name = person_of(record)
    proved, auditor = number is not None, is_of_auditor(record)
    return (
        (filters.staff is None or (proved and filters.staff in (number, name)))
        and (filters.claimed is None or (not proved and not auditor and filters.claimed == name))
        and (filters.auditor is None or (not proved and auditor and filters.auditor == name))
    )


def _is_of_patient(record: Mapping[str, Any], filters: Filters, members: Members) -> bool:
    if text(record.get("patient_id")) == filters.patient:
        return True
    disclosed = set_of(record)
    return disclosed is not None and filters.patient in members.get(disclosed, ())


def _is_of_action(record: Mapping[str, Any], filters: Filters) -> bool:
    if filters.action == LOGIN_FAILURE:
        return is_login_failure(record)
    return text(record.get("action")) == filters.action


def _is_of_request(record: Mapping[str, Any], filters: Filters) -> bool:
    behalf = inner(record, "on_behalf_of").get("request_id")
    return filters.request_id in (text(record.get("request_id")), text(behalf))


def _is_in_time(record: Mapping[str, Any], filters: Filters) -> bool:
    if filters.since is None and filters.until is None:
        return True
    at = time_of(record) or 0
    return (filters.since is None or at >= milliseconds(filters.since)) and (
        filters.until is None or at < milliseconds(filters.until)
    )


_EQUAL: tuple[tuple[str, Callable[[Mapping[str, Any]], object]], ...] = (
    ("outcome", lambda record: text(record.get("outcome"))),
    ("route", lambda record: text(record.get("route"))),
    ("resource", lambda record: text(record.get("resource"))),
    ("record_id", lambda record: text(record.get("record_id"))),
    ("address", lambda record: text(inner(record, "client").get("address"))),
    ("status", status_of),
)


def matches(record: Mapping[str, Any], filters: Filters, members: Members) -> bool:
    """Whether a record matches the filters.

    :param record: as in the journal (docs/audit.md).
    :param members: the known disclosure sets.
    """
    f = filters
    if not kind_fits(kept_kind(record), f) or (f.trouble and not is_trouble(record)):
        return False
    for name, of in _EQUAL:
        wanted = getattr(f, name)
        if wanted is not None and of(record) != wanted:
            return False
    return (
        _is_in_time(record, f)
        and _is_of_person(record, f)
        and (f.patient is None or _is_of_patient(record, f, members))
        and (f.action is None or _is_of_action(record, f))
        and (f.request_id is None or _is_of_request(record, f))
    )
