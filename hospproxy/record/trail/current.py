"""When files are rotated, the state of the file that is being written, and the group that is appended next."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from attrs import define, field, frozen

from ...options.audit_section import AuditSettings
from .files import JournalFile
from .hash_chain import ChainHead

_MOST_SETS = 5000
"""Patient sets that are remembered as present in the file. A forgotten one is written again."""

_HASHED = 2047
"""Bytes that are hashed in one call."""


@define(slots=True)
class CurrentFile:
    """The file that is being written."""

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
        """Count and hash bytes that are now on disk."""
        self.records += records
        self.size += len(data)
        # hashlib releases the interpreter's lock for more than 2047 bytes. Getting the lock back beside a busy
        # reactor takes far longer than hashing them.
        for at in range(0, len(data), _HASHED):
            self.content.update(data[at : at + _HASHED])

    def remember(self, sets: dict[str, None]) -> None:
        """Note sets that the file now holds; forget the oldest ones beyond the limit."""
        self.sets.update(sets)
        while len(self.sets) > _MOST_SETS:
            del self.sets[next(iter(self.sets))]


@frozen(slots=True)
class RecordGroup:
    """Chained lines, ready to be appended.

    :param head: the chain's head after them.
    :param sets: patient sets that this group adds to the file.
    :param of_sets: how many of the records are disclosure records.
    """

    data: bytes
    records: int
    head: ChainHead
    sets: dict[str, None]
    of_sets: int


@frozen(slots=True)
class RingAppend:
    """A group that the ring is to append.

    :param at: where the file ends.
    """

    file: JournalFile
    at: int
    group: RecordGroup


def within(passed: float, limit: float) -> bool:
    """Whether the limit has not passed yet.

    If the wall clock was set back by more than the limit, this is False, so that nothing is put off for long.
    """
    return -limit < passed < limit


_DEFAULTS: Final = AuditSettings()


@frozen(slots=True, kw_only=True)
class RotationPlan:
    """When a file is rotated, and how much space is reserved.

    :param rotate_bytes: a file of this many bytes is closed and the next one begun.
    :param rotate_s: a file of this age, in seconds, is closed too.
    :param digest_s: seconds between two signed digests.
    :param reserve_bytes: bytes allocated in advance for a full disk; 0 for none.
    """

    rotate_bytes: int = _DEFAULTS.rotate_bytes
    rotate_s: float = _DEFAULTS.rotate_s
    digest_s: float = 3600.0
    reserve_bytes: int = 0
