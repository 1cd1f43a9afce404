"""Queues of writes that go one at a time: to one record, or to equal new ones. Bounded by the writes that are open."""

from __future__ import annotations

from collections import deque

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...errors import OverCapacity


@define(slots=True, eq=False)
class _Queue:
    """One turn: how many writes hold it, and who waits for it, oldest first."""

    held: int = 1
    waiting: deque[Deferred[None]] = field(factory=deque)


class TurnQueues:
    """All turns of this process."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queues: dict[bytes, _Queue] = {}

    def __len__(self) -> int:
        """How many turns are held."""
        return len(self._queues)

    async def take(self, turn: bytes, deadline: float) -> None:
        """Wait until nobody else holds a turn, and hold it.

        :param deadline: monotonic seconds.
        :raise OverCapacity: it did not come before the deadline.
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
        """Hold a turn at once, for a write of an earlier process. Two processes can have left writes of one turn."""
        queue = self._queues.get(turn)
        if queue is None:
            self._queues[turn] = _Queue()
        else:
            queue.held += 1

    def give(self, turn: bytes) -> None:
        """Hold it no more: the next goes as soon as no other write holds it."""
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
    raise OverCapacity("An equal write, or one to the same record, is still under way.")
