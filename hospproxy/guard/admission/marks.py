"""A bounded table of moments, which may forget but never to the gain of whoever fills it. Pure."""

from __future__ import annotations

import heapq


class Marks:
    """For each key the moment at which nothing speaks against it any more (monotonic seconds).

    Everything that a key has done is in that one moment, so the order of two keys never changes with time. What is
    over is forgotten first, then the least guilty. Everybody is taken to be at least as guilty as the
    guiltiest who had to be forgotten: a flood of new keys pushes nobody's guilt out, and makes others as guilty as
    each of its own keys at most.

    :param most: keys that are known one by one.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._until: dict[bytes, float] = {}
        self._floor = 0.0

    def __len__(self) -> int:
        return len(self._until)

    def of(self, key: bytes) -> float:
        """The moment by which a key is judged; one that has passed says nothing."""
        return max(self._floor, self._until.get(key, 0.0))

    def own(self, key: bytes) -> float:
        """The moment to add to. Others' guilt is not in it, or each key that is forgotten would raise the next's."""
        return self._until.get(key, 0.0)

    def set(self, key: bytes, until: float, now: float) -> None:
        """Move a key's moment."""
        self._until[key] = until
        if len(self._until) > self._most:
            self._make_room(now)

    def clear(self, key: bytes) -> None:
        """Nothing that is known one by one speaks against this key."""
        self._until.pop(key, None)

    def _make_room(self, now: float) -> None:
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key]
        over = len(self._until) - self._most
        if over <= 0:
            return
        # An eighth at once, so that the search costs little for each that is added.
        going = heapq.nsmallest(over + self._most // 8, self._until.items(), key=lambda item: item[1])
        for key, until in going:
            del self._until[key]
            self._floor = max(self._floor, until)
