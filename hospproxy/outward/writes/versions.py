"""Fingerprints of records as they were last seen: whether one has changed is told without a clock. Bounded. Pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import field, frozen

MOST_FIELDS = 100
MOST_LETTERS = 2_000
"""Of all names of a record's fields together: one beyond either is not remembered."""


@frozen(slots=True)
class Version:
    """A record at one moment. Values cannot be read from it.

    :param prints: a fingerprint of each field.
    :param passed_over: fields that differ with whoever asks.
    """

    prints: Mapping[str, bytes] = field(repr=False)
    passed_over: frozenset[str] = frozenset()

    @classmethod
    def of(cls, row: Mapping[str, Any], passed_over: frozenset[str] = frozenset()) -> Version:
        """The version that a record is."""
        return cls(
            {name: _print(value) for name, value in row.items() if name not in passed_over}, passed_over
        )

    def is_of(self, row: Mapping[str, Any]) -> bool:
        """Whether a record is in every field as it was then."""
        return Version.of(row, self.passed_over).prints == self.prints

    def has(self, values: Mapping[str, Any]) -> bool:
        """Whether the record had these values."""
        return all(self.prints.get(name) == _print(value) for name, value in values.items())


class Versions:
    """The versions of the records that were asked for, or changed, last.

    :param passed_over: fields that differ with whoever asks, such as a record's own address.
    :param most: records that are remembered.
    """

    def __init__(self, passed_over: frozenset[str] = frozenset(), *, most: int = 5_000) -> None:
        self._passed_over = passed_over
        self._most = most
        self._versions: OrderedDict[tuple[str, str], Version] = OrderedDict()

    def keep(self, resource: str, number: str, row: Mapping[str, Any]) -> None:
        """Remember a record as the upstream gave it just now."""
        place = resource, number
        self._versions.pop(place, None)
        if len(row) > MOST_FIELDS or sum(map(len, row)) > MOST_LETTERS:
            return
        self._versions[place] = Version.of(row, self._passed_over)
        while len(self._versions) > self._most:
            self._versions.popitem(last=False)

    def last(self, resource: str, number: str | None) -> Version | None:
        """The record as it was last seen; None if it was not."""
        return None if number is None else self._versions.get((resource, number))


def _print(value: Any) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=8).digest()
