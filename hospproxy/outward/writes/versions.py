"""Fingerprints of records as last seen. They tell without a clock whether a record has changed. Bounded. Pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import field, frozen

MOST_FIELDS = 100
MOST_LETTERS = 2_000
"""Maximum total length of the field names of a record. A record beyond this or MOST_FIELDS is not remembered."""


@frozen(slots=True)
class RecordVersion:
    """The state of a record at one moment. Its values cannot be read from it.

    :param prints: a fingerprint of each field.
    :param passed_over: fields whose value depends on the caller.
    """

    prints: Mapping[str, bytes] = field(repr=False)
    passed_over: frozenset[str] = frozenset()

    @classmethod
    def of(cls, row: Mapping[str, Any], passed_over: frozenset[str] = frozenset()) -> RecordVersion:
        """Fingerprint a record as it is now."""
        return cls(
            {name: _print(value) for name, value in row.items() if name not in passed_over}, passed_over
        )

    def is_of(self, row: Mapping[str, Any]) -> bool:
        """Whether every field of the record is as it was then."""
        return RecordVersion.of(row, self.passed_over).prints == self.prints

    def has(self, values: Mapping[str, Any]) -> bool:
        """Whether the record had these values."""
        return all(self.prints.get(name) == _print(value) for name, value in values.items())


class RecordVersions:
    """Versions of the records that were last read or changed.

    :param passed_over: fields whose value depends on the caller, such as a record's own address.
    :param most: maximum number of records to remember.
    """

    def __init__(self, passed_over: frozenset[str] = frozenset(), *, most: int = 5_000) -> None:
        self._passed_over = passed_over
        self._most = most
        self._versions: OrderedDict[tuple[str, str], RecordVersion] = OrderedDict()

    def keep(self, resource: str, number: str, row: Mapping[str, Any]) -> None:
        """Remember a record as the upstream has just returned it."""
        place = resource, number
        self._versions.pop(place, None)
        if len(row) > MOST_FIELDS or sum(map(len, row)) > MOST_LETTERS:
            return
        self._versions[place] = RecordVersion.of(row, self._passed_over)
        while len(self._versions) > self._most:
            self._versions.popitem(last=False)

    def last(self, resource: str, number: str | None) -> RecordVersion | None:
        """The last seen version of a record; None if it has not been seen."""
        return None if number is None else self._versions.get((resource, number))


def _print(value: Any) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=8).digest()
