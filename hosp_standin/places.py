"""HOSP's few workers, and the queue before them."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import CancelledError, Deferred


class QueueFull(Exception):
    """All places are taken and the queue is full: HOSP answers 503."""


class Places:
    """
    A counted number of places and a first-come queue of bounded length.

    Arguments:
        limit: places; 0 is without limit.
        queue: how many may wait.
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
        """How many wait in the queue now."""
        return len(self._waiting)

    async def take(self) -> None:
        """
        Wait for a place; whoever took one must `leave` it.

        Raises:
            QueueFull: there is no room to wait.
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
        """Give the place to the one who has waited longest, or back."""
        if self._waiting:
            # The place stays taken: it goes to the next without a moment in which a newcomer could slip in.
            self._waiting.popleft().callback(None)
        else:
            self.taken -= 1
