"""Small maps with an exact bound. When they must forget something, they err on the safe side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class LastChanges(Generic[Key]):
    """When each key changed last, as a number of a rising sequence.

    A forgotten key counts as changed at the latest change of any forgotten key. So too much is taken for stale, never
    too little.

    :param most: maximum number of keys to track separately.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._floor = 0
        self._last: OrderedDict[Key, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def note(self, key: Key, sequence: int) -> None:
        """Note that a key has changed."""
        self._last.pop(key, None)
        self._last[key] = sequence
        if len(self._last) > self._most:
            # Forget half at once: each rise of the floor makes every unknown key look changed.
            for _ in range(len(self._last) - self._most // 2):
                _, self._floor = self._last.popitem(last=False)

    def note_all(self, sequence: int) -> None:
        """Note that everything has changed."""
        self._floor = sequence
        self._last.clear()

    def of(self, key: Key) -> int:
        """Sequence number of the last change; 0 for never."""
        return max(self._floor, self._last.get(key, 0))


class OpenCounts:
    """Number of open things for each key, or for all keys (None).

    Beyond the bound, a thing counts for all keys until as many have ended.

    :param most: maximum number of keys to track separately.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, int] = {}
        self._of_all = 0
        self._overflow = 0

    def __len__(self) -> int:
        return len(self._of)

    def add(self, key: str | None) -> None:
        """One more is open for this key."""
        if key is None:
            self._of_all += 1
        elif key in self._of or len(self._of) < self._most:
            self._of[key] = self._of.get(key, 0) + 1
        else:
            self._overflow += 1

    def end(self, key: str | None) -> None:
        """One has ended for this key. Does nothing if none is open."""
        if key is None:
            self._of_all = max(0, self._of_all - 1)
        elif key in self._of:
            self._of[key] -= 1
            if not self._of[key]:
                del self._of[key]
        else:
            self._overflow = max(0, self._overflow - 1)

    def holds(self, key: str) -> bool:
        """Whether something is open that concerns this key."""
        return key in self._of or self._of_all > 0 or self._overflow > 0

    def counts(self, key: str | None) -> bool:
        """Whether something is open under exactly this key, or may be."""
        return self._of_all > 0 if key is None else key in self._of or self._overflow > 0
