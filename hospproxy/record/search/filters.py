"""The filters of a search in the audit trail, parsed from a query string or command line; and page keys. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from .rows import RowKey, RowName


@frozen(slots=True, kw_only=True)
class Filters:
    """A record must match every filter that is given; None matches everything.

    :param staff: id or exact name of a member of staff whose credentials HOSP accepted; also matches requests
        that the proxy made on their behalf. Not matched: attempts that only claimed this name (see
        ``claimed``), and auditors of the same name.
    :param claimed: exact name that a client claimed but did not prove: wrong password, or refused before the
        check.
    :param auditor: exact name of a person who looked at the audit trail.
    :param patient: patient id; also matches records whose disclosure set holds the patient.
    :param action: "create", "read", …, "log-in failure".
    :param outcome: as listed in docs/audit.md.
    :param route: a path template.
    :param resource: "notes", …
    :param record_id: id of the resource.
    :param request_id: as clients get it in ``X-Request-Id``; also matches requests made on its behalf.
    :param address: of the client.
    :param kind: "request", "alert", …; None means all kinds that people ask about (all but begin, digest,
        tombstone, disclosure and intent).
    :param status: of the response.
    :param since: seconds since the epoch, inclusive.
    :param until: seconds since the epoch, exclusive.
    :param own: include the proxy's own requests.
    :param trouble: only failed log-ins, refusals and alerts.
    """

    staff: str | None = None
    claimed: str | None = None
    auditor: str | None = None
    patient: str | None = None
    action: str | None = None
    outcome: str | None = None
    route: str | None = None
    resource: str | None = None
    record_id: str | None = None
    request_id: str | None = None
    address: str | None = None
    kind: str | None = None
    status: int | None = None
    since: float | None = None
    until: float | None = None
    own: bool = False
    trouble: bool = False


MOST_CHARACTERS = 200
"""Longest text, in characters; records hold no longer ones."""

_LAST_S = 253_402_300_799.0
"""The last second of the year 9999. Later times (by an offset, or rounded up) could not be written out again."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z")
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)?\Z",
)
_KEY = re.compile(r"(\d{1,16})~([^~]{0,200})~(w\d{1,4})~(\d{1,18})\Z")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


class BadFilterError(ValueError):
    """A filter that cannot be used.

    :param field: its name, as given.
    :param words: what is wrong with it.
    """

    def __init__(self, field: str, words: str) -> None:
        super().__init__(f"{field}: {words}")
        self.field = field
        self.words = words


def _text(value: str) -> str:
    if len(value) > MOST_CHARACTERS:
        raise ValueError(f"it is longer than {MOST_CHARACTERS} characters")
    if _CONTROL.search(value):
        raise ValueError("it contains control characters")
    return value


def _status(value: str) -> int:
    if not re.fullmatch(r"[1-5][0-9][0-9]", value, re.ASCII):
        raise ValueError("it is not a status: give a number from 100 to 599")
    return int(value)


def _moment(value: str) -> float:
    if not (_DATE.match(value) or _DATE_TIME.match(value)) or not value.isascii():
        raise ValueError("it is neither a date (2026-11-24) nor a date and time (2026-11-24T13:15:36Z)")
    try:
        moment = datetime.fromisoformat(value.upper())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return min(max(moment.timestamp(), 0.0), _LAST_S)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"this time does not exist: {error}") from None


def _switch(value: str) -> bool:
    if value.lower() not in _WORDS:
        raise ValueError("it is neither true nor false")
    return _WORDS[value.lower()]


_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(
        (
            "staff",
            "claimed",
            "auditor",
            "patient",
            "action",
            "outcome",
            "route",
            "resource",
            "record_id",
            "request_id",
            "address",
            "kind",
        ),
        _text,
    ),
    "status": _status,
    "since": _moment,
    "until": _moment,
    "own": _switch,
    "trouble": _switch,
}
NAMES = tuple(_READ)
"""The names of all filters."""


def parse(pairs: Iterable[tuple[str, str]]) -> Filters:
    """Parse the filters of a search.

    :param pairs: decoded names and texts, as a form sends them; an empty text sets no filter. Dates without an
        offset are UTC.
    :raise BadFilterError: an unknown or repeated name, or a text that is not valid for its filter.
    """
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name not in _READ:
            raise BadFilterError(name[:MOST_CHARACTERS], "there is no filter of this name")
        if name in given:
            raise BadFilterError(name, "it is given more than once")
        stripped = value.strip()
        try:
            given[name] = _READ[name](stripped) if stripped else None
        except ValueError as error:
            raise BadFilterError(name, str(error)) from None
    filters = Filters(**{name: value for name, value in given.items() if value is not None})
    if filters.since is not None and filters.until is not None and filters.since >= filters.until:
        raise BadFilterError("until", "it must be later than since")
    return filters


def encode_key(key: RowKey) -> str:
    """A row's position in time order, as text for the URL of the next page."""
    return f"{key.time_ms}~{key.name.trail}~{key.name.journal}~{key.name.seq}"


def decode_key(value: str, field: str = "after") -> RowKey:
    """The key that a text encodes.

    :param field: the name of the parameter, for the error.
    :raise BadFilterError: the text is not a key.
    """
    match = _KEY.match(value) if value.isascii() and not _CONTROL.search(value) else None
    if match is None:
        raise BadFilterError(field, "it is not the key of a record")
    time_ms, trail, journal, seq = match.groups()
    return RowKey(int(time_ms), RowName(trail, journal, int(seq)))
