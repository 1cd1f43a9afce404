"""The store of the first level: in this process, the least recently used go first, bounded in bytes."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any

from attrs import define, evolve, frozen
from zope.interface import implementer

from ..interfaces import ICacheStore
from ..messages import Response

# What CPython takes besides the bytes themselves, measured (tests/memory/test_store.py measures again).
ENTRY_OVERHEAD = 900
FIELD_OVERHEAD = 160
TAG_OVERHEAD = 500


class Mark(enum.IntEnum):
    """What has happened to an answer since it was kept; it only rises until HOSP answers anew."""

    CLEAN = 0
    STRUCK = 1
    """A write may have changed what it says: nobody gets it while HOSP answers."""
    HIDDEN = 2
    """It does not show what its reader was told to be stored: that reader never gets it again."""


@frozen(slots=True)
class Asked:
    """The question, as far as it must be known to put another record into the answer.

    :param operation: its id.
    :param query: its parameters.
    :param origin: scheme and host that the client used; addresses in the answer begin with it.
    """

    operation: str = ""
    query: tuple[tuple[str, str], ...] = ()
    origin: str = ""


@frozen(slots=True)
class Entry:
    """An answer as it is kept.

    :param response: without what belongs to one exchange alone.
    :param began: monotonic seconds at which HOSP's answer was at the earliest made: it is as old as that.
    :param fresh_until: monotonic seconds until which it may be served.
    :param name: its key beyond this process.
    """

    response: Response
    began: float
    fresh_until: float
    name: bytes = b""
    asked: Asked = Asked()

    def saying(self, response: Response) -> Entry:
        """The same entry with another answer."""
        return evolve(self, response=response)


def size_of(entry: Entry, tags: tuple[str, ...]) -> int:
    """Bytes of memory that an entry takes with its key and its places in the indexes."""
    headers = sum(FIELD_OVERHEAD + len(name) + len(value) for name, value in entry.response.headers)
    marks = sum(TAG_OVERHEAD + len(tag) for tag in tags)
    return ENTRY_OVERHEAD + len(entry.response.body) + headers + marks


@define(slots=True, eq=False)
class _Held:
    entry: Any
    size: int
    tags: tuple[str, ...]
    mark: Mark = Mark.CLEAN


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
        """The entry under a key, fresh or not, or None; one that was marked counts as none."""
        found = self.kept(key)
        return None if found is None or found[1] is not Mark.CLEAN else found[0]

    def kept(self, key: bytes) -> tuple[Any, Mark] | None:
        """The entry under a key, whatever its mark, and that."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held.entry, held.mark

    def put(self, key: bytes, entry: Any, size: int, tags: tuple[str, ...], mark: Mark = Mark.CLEAN) -> None:
        """Keep an entry instead of what was there; one that is larger than the bound is not kept."""
        self._drop(key)
        if size > self.max_bytes:
            return
        while self.bytes + size > self.max_bytes:
            self._drop(next(iter(self._held)))
            self.evicted += 1
        self._held[key] = _Held(entry, size, tags, mark)
        self.bytes += size
        for tag in tags:
            self._keys_of.setdefault(tag, set()).add(key)

    def mark_tag(self, tag: str, mark: Mark) -> None:
        """Mark every entry that carries a tag, unless it is marked higher."""
        for key in self._keys_of.get(tag, ()):
            held = self._held[key]
            held.mark = max(held.mark, mark)

    def mark(self, key: bytes, mark: Mark) -> None:
        """Mark one entry, unless it is marked higher."""
        held = self._held.get(key)
        if held is not None:
            held.mark = max(held.mark, mark)

    def tagged(self, tag: str) -> list[tuple[bytes, Any, tuple[str, ...], Mark]]:
        """Every entry that carries a tag, with its key, all its tags and its mark."""
        return [
            (key, (held := self._held[key]).entry, held.tags, held.mark) for key in self._keys_of.get(tag, ())
        ]

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
