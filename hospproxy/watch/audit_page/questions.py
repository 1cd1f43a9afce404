"""Between a query string and what is asked of the trail: reading it, and writing it into links. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import attrs
from attrs import field, frozen

from ...record.reading.filters import Filters
from ...record.reading.parsing import BadFilterError, decode_key, encode_key, parse
from ...record.reading.rows import Key

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
class Question:
    """What somebody asks.

    :param after: the last row that was shown.
    :param given: the query's own words, for showing a form again whose values cannot be used.
    """

    filters: Filters = field(factory=Filters)
    after: Key | None = None
    given: dict[str, str] = field(factory=dict)


def words_of(query: bytes | None) -> dict[str, str]:
    """Name → value of a query string; a field of a form that was left empty is left out.

    :raise BadFilterError: too many, or a name that stands twice.
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


def question(given: dict[str, str], **fixed: Any) -> Question:
    """What these words ask.

    :param fixed: filters that the page itself sets.
    :raise BadFilterError: a value cannot be used.
    """
    # <input type="datetime-local"> sends no zone; the form says UTC, and so it is read.
    filters = attrs.evolve(parse((name, value) for name, value in given.items() if name != "after"), **fixed)
    after = decode_key(given["after"]) if "after" in given else None
    return Question(filters, after, given)


def pairs_of(filters: Filters) -> list[tuple[str, str]]:
    """The query string's names and values that ask for this."""
    given = attrs.asdict(filters, filter=lambda each, value: value != each.default)
    return [(name, _spelled(name, value)) for name, value in given.items()]


def _spelled(name: str, value: Any) -> str:
    if name in ("since", "until"):
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    return "1" if value is True else str(value)


def address(path: str, filters: Filters, after: Key | None = None, /, **changes: Any) -> str:
    """A link that asks for this.

    :param changes: filters that differ; None leaves one out.
    """
    changed = attrs.evolve(filters, **changes)
    pairs = pairs_of(changed)
    if after is not None:
        pairs.append(("after", encode_key(after)))
    return f"{path}?{urlencode(pairs, errors='replace')}" if pairs else path
