"""Small maps with an exact bound, which may forget but never to the unsafe side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class LastChanges(Generic[Key]):
    """When each thing changed last, as a number of a rising sequence.

    Of what it had to forget it says that it changed as late as the latest of the forgotten: too much is taken
    for stale, never too little.

    :param most: things whose change is known one by one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._floor = 0
        self._last: OrderedDict[Key, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def note(self, key: Key, sequence: int) -> None:
        """A thing has changed."""
        self._last.pop(key, None)
        self._last[key] = sequence
        if len(self._last) > self._most:
            # Half at once: each rise of the floor makes everything unknown look changed.
            for _ in range(len(self._last) - self._most // 2):
                _, self._floor = self._last.popitem(last=False)

    def note_all(self, sequence: int) -> None:
        """Everything has changed."""
        self._floor = sequence
        self._last.clear()

    def of(self, key: Key) -> int:
        """The number of the last change; 0 for never."""
        return max(self._floor, self._last.get(key, 0))


class Counts:
    """How many things of a kind are open for each key, or for all keys (None).

    Beyond the bound a thing counts for all keys until as many have ended.

    :param most: keys that are told apart.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, int] = {}
        self._of_all = 0
        self._overflow = 0

    def __len__(self) -> int:
        return len(self._of)

    def add(self, key: str | None) -> None:
        """One more is open."""
        if key is None:
            self._of_all += 1
        elif key in self._of or len(self._of) < self._most:
            self._of[key] = self._of.get(key, 0) + 1
        else:
            self._overflow += 1

    def end(self, key: str | None) -> None:
        """One has ended; without one open nothing happens."""
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
        """Whether something is open under just this key, or may be."""
        return self._of_all > 0 if key is None else key in self._of or self._overflow > 0
