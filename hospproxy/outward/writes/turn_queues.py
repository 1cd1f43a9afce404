"""Queues for turns: one write at a time for a record, or for equal new records.

Bounded by the number of open writes.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...http.errors import OverCapacity


@define(slots=True, eq=False)
class _Queue:
    """One turn: how many writes hold it, and which wait for it, oldest first."""

    held: int = 1
    waiting: deque[Deferred[None]] = field(factory=deque)


class TurnQueues:
    """The turns of this process, and the writes that wait for them."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queues: dict[bytes, _Queue] = {}

    def __len__(self) -> int:
        """Number of turns that are held."""
        return len(self._queues)

    async def take(self, turn: bytes, deadline: float) -> None:
        """Wait until no other write holds the turn, then hold it.

        :param deadline: monotonic seconds.
        :raise OverCapacity: the turn did not come before the deadline.
        """
        queue = self._queues.get(turn)
        if queue is None:
            self._queues[turn] = _Queue()
            return
        mine: Deferred[None] = Deferred()
        queue.waiting.append(mine)
        mine.addTimeout(max(0.0, deadline - self._clock.seconds()), self._clock, _too_late)
        try:
            await mine
        except Exception:
            if mine in queue.waiting:
                queue.waiting.remove(mine)
            raise

    def hold(self, turn: bytes) -> None:
        """Hold a turn at once, for a write of an earlier process. Two processes may have left the same turn."""
        queue = self._queues.get(turn)
        if queue is None:
            self._queues[turn] = _Queue()
        else:
            queue.held += 1

    def give(self, turn: bytes) -> None:
        """Release a turn. The next write gets it as soon as no other write holds it."""
        queue = self._queues.get(turn)
        if queue is None:
            return
        queue.held -= 1
        while queue.held == 0 and queue.waiting:
            following = queue.waiting.popleft()
            if not following.called:
                queue.held = 1
                following.callback(None)
        if queue.held == 0:
            self._queues.pop(turn, None)


def _too_late(_result: object, _timeout: float) -> None:
    raise OverCapacity("An equal write, or one to the same record, is still in progress.")
