"""A bounded table of timestamps that may drop entries, but never to the advantage of a client that floods it. Pure."""

from __future__ import annotations

import heapq


class Marks:
    """For each key, the time (monotonic seconds) until which something counts against it.

    All that a key has done is in that one time, so the order of two keys never changes. Expired keys are dropped
    first, then those that expire soonest. Afterwards every key counts as at least as guilty as the guiltiest key that
    was dropped. So a flood of new keys cannot push out anybody's guilt, and makes other keys at most as guilty as
    each of its own.

    :param most: number of keys that are tracked one by one.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._until: dict[bytes, float] = {}
        self._floor = 0.0

    def __len__(self) -> int:
        return len(self._until)

    def of(self, key: bytes) -> float:
        """Return the time by which a key is judged; a time in the past counts as nothing."""
        return max(self._floor, self._until.get(key, 0.0))

    def own(self, key: bytes) -> float:
        """Return a key's own time, to add to.

        It leaves out the floor, or each dropped key would raise the next one's guilt.
        """
        return self._until.get(key, 0.0)

    def set(self, key: bytes, until: float, now: float) -> None:
        """Set a key's own time; above the bound, drop other keys as the class describes."""
        self._until[key] = until
        if len(self._until) > self._most:
            self._make_room(now)

    def clear(self, key: bytes) -> None:
        """Drop a key's own time; the floor still applies."""
        self._until.pop(key, None)

    def _make_room(self, now: float) -> None:
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key]
        over = len(self._until) - self._most
        if over <= 0:
            return
        # Drop an eighth more at once, so that the search costs little per added key.
        going = heapq.nsmallest(over + self._most // 8, self._until.items(), key=lambda item: item[1])
        for key, until in going:
            del self._until[key]
            self._floor = max(self._floor, until)
