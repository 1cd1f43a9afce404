"""What is known of the file that is written now, and of the group that goes to it next."""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import define, field, frozen

from .files import JournalFile
from .linking import Head

_MOST_SETS = 5000
"""Sets of patients that are known to stand in the present file. One that was forgotten is written again."""

_HASHED = 2047
"""Bytes that are hashed at once."""


@define(slots=True)
class Current:
    """The file that is written now."""

    file: JournalFile
    name: str
    number: int
    begun: float
    signed_at: float
    reserve: bool = False
    records: int = 0
    size: int = 0
    content: Any = field(factory=hashlib.sha256)
    sets: dict[str, None] = field(factory=dict)

    def add(self, data: bytes, records: int) -> None:
        """So much more is on disk."""
        self.records += records
        self.size += len(data)
        # hashlib lets go of the interpreter's lock for more than 2047 bytes, and getting it back beside a busy reactor
        # takes far longer than hashing them.
        for at in range(0, len(data), _HASHED):
            self.content.update(data[at : at + _HASHED])

    def remember(self, sets: dict[str, None]) -> None:
        """What stands in it now; the oldest are forgotten."""
        self.sets.update(sets)
        while len(self.sets) > _MOST_SETS:
            del self.sets[next(iter(self.sets))]


@frozen(slots=True)
class Group:
    """Chained lines, ready to be appended.

    :param head: of the chain after them.
    :param sets: those that are in it, and were not in the file.
    :param of_sets: how many of the records tell of them.
    """

    data: bytes
    records: int
    head: Head
    sets: dict[str, None]
    of_sets: int


@frozen(slots=True)
class Append:
    """What somebody else is to append.

    :param at: where the file ends.
    """

    file: JournalFile
    at: int
    group: Group


def within(passed: float, limit: float) -> bool:
    """Whether it is not yet time; a wall clock that was set back by much does not put things off."""
    return -limit < passed < limit
