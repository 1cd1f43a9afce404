"""HOSP's few workers ("places", slots), and the queue in front of them."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import CancelledError, Deferred


class QueueFull(Exception):
    """All slots are taken and the queue is full: HOSP responds with 503."""


class Places:
    """A fixed number of slots and a first-come, first-served queue of bounded length.

    Arguments:
        limit: number of slots; 0 means no limit.
        queue: how many requests may wait.
    """

    def __init__(self, limit: int, queue: int) -> None:
        self.limit = limit
        self.queue = queue
        self.taken = 0
        self.most_taken = 0
        self.most_waiting = 0
        self._waiting: deque[Deferred[None]] = deque()

    @property
    def waiting(self) -> int:
        """Number of requests in the queue."""
        return len(self._waiting)

    async def take(self) -> None:
        """Wait for a slot. Call `leave` to release it.

        Raises:
            QueueFull: the queue is full.
        """
        if self.limit and self.taken >= self.limit:
            if len(self._waiting) >= self.queue:
                raise QueueFull
            turn: Deferred[None] = Deferred()
            self._waiting.append(turn)
            self.most_waiting = max(self.most_waiting, len(self._waiting))
            try:
                await turn
            except CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                raise
            return
        self.taken += 1
        self.most_taken = max(self.most_taken, self.taken)

    def leave(self) -> None:
        """Pass the slot to the request that has waited longest, or free it."""
        if self._waiting:
            # The slot stays taken: it passes directly to the next, so that no newcomer can take it in between.
            self._waiting.popleft().callback(None)
        else:
            self.taken -= 1
