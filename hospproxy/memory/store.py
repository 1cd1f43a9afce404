"""The store of the first level: in this process, the least recently used go first, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from attrs import frozen
from zope.interface import implementer

from ..interfaces import ICacheStore
from ..messages import Response

# What CPython takes besides the bytes themselves, measured (tests/memory/test_store.py measures again).
ENTRY_OVERHEAD = 900
FIELD_OVERHEAD = 160
TAG_OVERHEAD = 500


@frozen(slots=True)
class Entry:
    """An answer as it is kept.

    :param response: without what belongs to one exchange alone.
    :param began: monotonic seconds at which HOSP's answer was at the earliest made: it is as old as that.
    :param fresh_until: monotonic seconds until which it may be served.
    """

    response: Response
    began: float
    fresh_until: float


def size_of(entry: Entry, tags: tuple[str, ...]) -> int:
    """Bytes of memory that an entry takes with its key and its places in the indexes."""
    headers = sum(FIELD_OVERHEAD + len(name) + len(value) for name, value in entry.response.headers)
    marks = sum(TAG_OVERHEAD + len(tag) for tag in tags)
    return ENTRY_OVERHEAD + len(entry.response.body) + headers + marks


@frozen(slots=True)
class _Held:
    entry: Any
    size: int
    tags: tuple[str, ...]


@implementer(ICacheStore)
class LruStore:
    """Keeps what was used last.

    :param max_bytes: bytes that all entries take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evicted = 0
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._keys_of: dict[str, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes) -> Any:
        """The entry under a key, fresh or not, or None."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held.entry

    def put(self, key: bytes, entry: Any, size: int, tags: tuple[str, ...]) -> None:
        """Keep an entry instead of what was there; one that is larger than the bound is not kept."""
        self._drop(key)
        if size > self.max_bytes:
            return
        while self.bytes + size > self.max_bytes:
            self._drop(next(iter(self._held)))
            self.evicted += 1
        self._held[key] = _Held(entry, size, tags)
        self.bytes += size
        for tag in tags:
            self._keys_of.setdefault(tag, set()).add(key)

    def drop_tag(self, tag: str) -> int:
        """Forget every entry that carries a tag; how many there were."""
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
            keys.discard(key)
            if not keys:
                del self._keys_of[tag]
