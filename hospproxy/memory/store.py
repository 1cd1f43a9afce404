"""The first level of the cache: in this process, bounded in bytes, least recently used entries evicted first."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any

from attrs import define, evolve, frozen
from zope.interface import implementer

from ..http.messages import Response
from ..interfaces import ICacheStore

# CPython's overhead besides the bytes themselves, as measured (tests/memory/test_store.py measures it again).
ENTRY_OVERHEAD = 900
FIELD_OVERHEAD = 160
TAG_OVERHEAD = 500


class EntryMark(enum.IntEnum):
    """What has happened to an entry since it was stored. A mark only rises until HOSP responds anew."""

    CLEAN = 0
    STRUCK = 1
    """A write may have changed it: not served while HOSP responds."""
    HIDDEN = 2
    """It lacks a write that its reader was told had been stored: never served to that reader again."""


@frozen(slots=True)
class EntryRequest:
    """The request of an entry, as far as needed to put another record into its response.

    :param operation: its id.
    :param query: its parameters.
    :param origin: scheme and host that the client used; addresses in the response begin with it.
    """

    operation: str = ""
    query: tuple[tuple[str, str], ...] = ()
    origin: str = ""


@frozen(slots=True)
class CacheEntry:
    """One cache entry: a stored response.

    :param response: without the fields that belong to one exchange only.
    :param began: monotonic seconds of the earliest time at which HOSP can have made the response; its age counts from
        here.
    :param fresh_until: monotonic seconds until which it is fresh.
    :param name: its key beyond this process.
    :param asked: its request.
    """

    response: Response
    began: float
    fresh_until: float
    name: bytes = b""
    asked: EntryRequest = EntryRequest()

    def saying(self, response: Response) -> CacheEntry:
        """The same entry with another response."""
        return evolve(self, response=response)


def size_of(entry: CacheEntry, tags: tuple[str, ...]) -> int:
    """Bytes of memory that an entry takes, including its key and its index entries."""
    headers = sum(FIELD_OVERHEAD + len(name) + len(value) for name, value in entry.response.headers)
    marks = sum(TAG_OVERHEAD + len(tag) for tag in tags)
    return ENTRY_OVERHEAD + len(entry.response.body) + headers + marks


@define(slots=True, eq=False)
class _Held:
    entry: Any
    size: int
    tags: tuple[str, ...]
    mark: EntryMark = EntryMark.CLEAN


@implementer(ICacheStore)
class LruStore:
    """Stores the most recently used entries.

    :param max_bytes: maximum bytes of all entries together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evicted = 0
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._keys_of: dict[str, dict[bytes, None]] = {}  # in the order in which they were stored

    def __len__(self) -> int:
        return len(self._held)

    def reload(self, max_bytes: int) -> None:
        """Apply a changed bound: evict what does not fit."""
        self.max_bytes = max_bytes
        while self.bytes > max_bytes:
            self._drop(next(iter(self._held)))
            self.evicted += 1

    def get(self, key: bytes) -> Any:
        """The entry under a key, fresh or not; None if there is none or it is marked."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held.entry if held.mark is EntryMark.CLEAN else None

    def kept(self, key: bytes) -> tuple[Any, EntryMark] | None:
        """The entry under a key and its mark; None if there is none."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held.entry, held.mark

    def put(
        self, key: bytes, entry: Any, size: int, tags: tuple[str, ...], mark: EntryMark = EntryMark.CLEAN
    ) -> None:
        """Store an entry in place of the old one. An entry larger than the bound is not stored."""
        self._drop(key)
        if size > self.max_bytes:
            return
        while self.bytes + size > self.max_bytes:
            self._drop(next(iter(self._held)))
            self.evicted += 1
        self._held[key] = _Held(entry, size, tags, mark)
        self.bytes += size
        for tag in tags:
            self._keys_of.setdefault(tag, {})[key] = None

    def mark_tag(self, tag: str, mark: EntryMark) -> None:
        """Raise the mark of every entry with a tag."""
        for key in self._keys_of.get(tag, ()):
            held = self._held[key]
            held.mark = max(held.mark, mark)

    def mark(self, key: bytes, mark: EntryMark) -> None:
        """Raise the mark of one entry."""
        held = self._held.get(key)
        if held is not None:
            held.mark = max(held.mark, mark)

    def tagged(self, tag: str) -> list[tuple[bytes, Any, tuple[str, ...], EntryMark]]:
        """Every entry with a tag, as (key, entry, tags, mark)."""
        return [
            (key, (held := self._held[key]).entry, held.tags, held.mark) for key in self._keys_of.get(tag, ())
        ]

    def drop_tag(self, tag: str) -> int:
        """Delete every entry with a tag; returns how many there were."""
        keys = tuple(self._keys_of.get(tag, ()))
        for key in keys:
            self._drop(key)
        return len(keys)

    def _drop(self, key: bytes) -> None:
        held = self._held.pop(key, None)
        if held is None:
            return
        self.bytes -= held.size
        for tag in held.tags:
            keys = self._keys_of[tag]
            keys.pop(key, None)
            if not keys:
                del self._keys_of[tag]
