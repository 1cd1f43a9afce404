"""The addresses of the audit page: paths, query strings as filters of the trail, and filters as links. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

import attrs
from attrs import field, frozen

from ...record.search.filters import BadFilterError, Filters, decode_key, encode_key, parse
from ...record.search.rows import RowKey

_TEXT = 200
_MOST_PAIRS = 40

LABELS = {
    "staff": "Staff",
    "claimed": "Claimed name",
    "auditor": "Auditor",
    "patient": "Patient",
    "action": "Action",
    "outcome": "Outcome",
    "route": "Route",
    "resource": "Resource",
    "record_id": "Record",
    "address": "Address",
    "request_id": "Request",
    "status": "Status",
    "kind": "Kind",
    "since": "From",
    "until": "To",
    "own": "The proxy’s own requests too",
    "trouble": "Only trouble",
}


@frozen(slots=True)
class PageRoute:
    """A path that matches one of the audit page's routes.

    :param template: as records name it.
    :param action: as records name it: "search", "read", "export" or "log-out".
    :param values: of the template's parameters, in order.
    """

    template: str
    action: str
    values: tuple[str, ...] = ()


SEARCH = "/audit"
TROUBLE = "/audit/trouble"
PATIENT = "/audit/patients/{id}"
DISCLOSURES = "/audit/patients/{id}/disclosures"
EXTRACT = "/audit/patients/{id}/extract.html"
LOG_OUT = "/audit/log-out"
RECORD = "/audit/records/{trail}/{journal}/{seq}"
EXPORTS = {"/audit/export.csv": "csv", "/audit/export.jsonl": "jsonl", "/audit/export.fhir.ndjson": "fhir"}

_ACTIONS = {
    SEARCH: "search",
    TROUBLE: "search",
    PATIENT: "search",
    DISCLOSURES: "search",
    EXTRACT: "export",
    LOG_OUT: "log-out",
    RECORD: "read",
    **dict.fromkeys(EXPORTS, "export"),
}
_SPLIT = [(template, tuple(template.split("/")[1:])) for template in _ACTIONS]


def is_below(path: bytes) -> bool:
    """Whether the audit page serves a path."""
    return path == b"/audit" or path.startswith(b"/audit/")


def find(path: bytes) -> PageRoute | None:
    """Match a path; None if the audit page has no such path."""
    pieces = path.split(b"/")[1:]
    for template, steps in _SPLIT:
        if len(steps) == len(pieces):
            values = _match(steps, pieces)
            if values is not None:
                return PageRoute(template, _ACTIONS[template], values)
    return None


def _match(steps: tuple[str, ...], pieces: list[bytes]) -> tuple[str, ...] | None:
    values = []
    for step, piece in zip(steps, pieces, strict=True):
        if not step.startswith("{"):
            if step.encode() != piece:
                return None
            continue
        try:
            value = (
                unquote_to_bytes(piece).decode().replace("\0", "\ufffd")
            )  # as records store it: see match.text
        except UnicodeDecodeError:
            return None
        if not 0 < len(value) <= _TEXT:
            return None
        values.append(value)
    return tuple(values)


def path(template: str, *values: object) -> str:
    """Fill a template; return the path.

    :param values: of the template's parameters, in order.
    """
    given = iter(values)

    def filled(step: str) -> str:
        return quote(str(next(given)), safe="", errors="replace") if step.startswith("{") else step

    return "/".join(filled(step) for step in template.split("/"))


@frozen(slots=True)
class PageQuery:
    """A query string as filters, with the row to continue after.

    :param after: key of the last row that was shown.
    :param given: the query's parameters as given, to show the form again.
    """

    filters: Filters = field(factory=Filters)
    after: RowKey | None = None
    given: dict[str, str] = field(factory=dict)


def words_of(query: bytes | None) -> dict[str, str]:
    """Split a query string into name → value; empty form fields are left out.

    :raise BadFilterError: it has too many fields, is not UTF-8, or gives a name more than once.
    """
    text = (query or b"").decode("ascii", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=False, max_num_fields=_MOST_PAIRS, errors="strict")
    except UnicodeDecodeError:
        raise BadFilterError("query", "it must be UTF-8") from None
    except ValueError:
        raise BadFilterError("query", f"at most {_MOST_PAIRS} fields") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if not value.strip():
            continue
        if name in found:
            raise BadFilterError(name, "it is given more than once")
        found[name] = value.strip()
    return found


def question(given: dict[str, str], **fixed: Any) -> PageQuery:
    """Build the question from a query's parameters.

    :param fixed: filters that the page itself sets.
    :raise BadFilterError: a value cannot be used.
    """
    # <input type="datetime-local"> sends no time zone; the form says UTC, so it is read as UTC.
    filters = attrs.evolve(parse((name, value) for name, value in given.items() if name != "after"), **fixed)
    after = decode_key(given["after"]) if "after" in given else None
    return PageQuery(filters, after, given)


def pairs_of(filters: Filters) -> list[tuple[str, str]]:
    """Return the names and values of a query string for these filters."""
    given = attrs.asdict(filters, filter=lambda each, value: value != each.default)
    return [(name, _spelled(name, value)) for name, value in given.items()]


def _spelled(name: str, value: Any) -> str:
    if name in ("since", "until"):
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    return "1" if value is True else str(value)


def address(path: str, filters: Filters, after: RowKey | None = None, /, **changes: Any) -> str:
    """Build a link for these filters.

    :param changes: filters to replace; None removes one.
    """
    changed = attrs.evolve(filters, **changes)
    pairs = pairs_of(changed)
    if after is not None:
        pairs.append(("after", encode_key(after)))
    return f"{path}?{urlencode(pairs, errors='replace')}" if pairs else path
