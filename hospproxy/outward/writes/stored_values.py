"""What the upstream stores for the values that it is sent, and whether a record holds them. Pure.

The rules are those of a Rails application, as far as they are certain: a number in a text column becomes its digits, an
invalid date becomes null. A value with an uncertain result is a ``DoubtfulValue``. So a record matches a write, does
not match, or may match. A record that may match counts neither as "found" nor as "absent".
"""

from __future__ import annotations

import datetime
import enum
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ...contract.contract import Operation
from ...http.messages import ABSENT, Json


@frozen(slots=True)
class DoubtfulValue:
    """A value for which it is unknown what the upstream stores."""

    value: Json


class ValueMatch(enum.IntEnum):
    """Whether a record holds what a write sets."""

    NO = 0
    MAYBE = 1
    YES = 2


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_LARGEST = 1 << 63
_COMPARED = 2_000
"""Number of characters to compare loosely. Two texts that agree up to there may be equal."""
_CUT = 255
"""A stored text of at least this length may be a longer one that the column has cut."""


def as_stored(document: Json, operation: Operation) -> dict[str, Json]:
    """The fields of a document as the upstream will return them; a ``DoubtfulValue`` where that is uncertain.

    Fields that are never returned are left out.
    """
    if document is ABSENT:
        return {}
    readable = operation.fields - operation.write_only
    if not isinstance(document, Mapping):
        return {name: DoubtfulValue(document) for name in readable}
    return {
        name: _stored(value, operation.columns.get(name, ""), operation.coercions.get(name))
        for name, value in document.items()
        if name not in operation.write_only
    }


def _stored(value: Json, column: str, coercion: str | None) -> Json:
    """One value of a document as the upstream stores it.

    :param column: JSON type of the column; "" if the contract does not say.
    :param coercion: the contract's rule for this field, if it has one.
    """
    if value is None:
        return None
    if coercion is not None:
        return _date(value) if coercion == "date-or-null" else DoubtfulValue(value)
    if column == "string":
        return _text(value)
    if column == "integer":
        whole = _is_number(value) and abs(value) < _LARGEST and value == int(value)
        return int(value) if whole else DoubtfulValue(value)
    if (column == "number" and not _is_number(value)) or (
        column == "boolean" and not isinstance(value, bool)
    ):
        return DoubtfulValue(value)
    return value


def _text(value: Json) -> Json:
    if isinstance(value, str):
        # A database refuses NUL, ends the text there, or keeps it.
        return DoubtfulValue(value) if "\0" in value else value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return DoubtfulValue(value)


def _date(value: Json) -> Json:
    """A plain date is stored as it is; a text without digits becomes null.

    Rails parses other texts in many ways ("3 May"), so their result is a Doubt.
    """
    if not isinstance(value, str):
        return DoubtfulValue(value)
    if not any(character.isdigit() for character in value):
        return None
    if not _DATE.match(value):
        return DoubtfulValue(value)
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        return DoubtfulValue(value)
    return value


def likeness(expected: Mapping[str, Json], row: Mapping[str, Any]) -> ValueMatch:
    """Whether a record holds these fields.

    :param expected: as ``as_stored`` returns them.
    """
    found = ValueMatch.YES
    # Numbers first: most records differ in one, and comparing them is cheap.
    for name, value in sorted(expected.items(), key=lambda item: isinstance(item[1], str | DoubtfulValue)):
        found = min(found, _like(value, row.get(name)))
        if found is ValueMatch.NO:
            break
    return found


def _like(value: Json, seen: Any) -> ValueMatch:
    if isinstance(value, DoubtfulValue):
        return ValueMatch.MAYBE
    if same(value, seen):
        return ValueMatch.YES
    if isinstance(value, bool) and not isinstance(seen, bool):
        return ValueMatch.MAYBE  # some databases store 1, "t" or "true"
    if _is_number(value) and _is_number(seen):
        return ValueMatch.NO
    return (
        ValueMatch.MAYBE if _loosely(value) == _loosely(seen) or _is_respelled(value, seen) else ValueMatch.NO
    )


def _loosely(value: Json) -> str:
    """Letters and digits only: an upstream may trim, normalise or replace the rest. Null equals an empty text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        whole = _is_number(value) and abs(value) < _LARGEST and value == int(value)
        return str(int(value)) if whole else repr(value)[:_COMPARED]
    plain = unicodedata.normalize("NFKD", value[:_COMPARED]).casefold()
    return "".join(one for one in plain if one.isalnum() and one < "\U00010000")


def _is_respelled(value: Json, seen: Any) -> bool:
    """Whether a text was cut to the length of its column, or a date got a time."""
    if not isinstance(value, str) or not isinstance(seen, str):
        return False
    cut = len(seen) >= _CUT and value.startswith(seen)
    return cut or (_DATE.match(value) is not None and seen.startswith(value))


def same(one: Json, other: Json) -> bool:
    """JSON equality: 1 equals 1.0, but true equals no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
