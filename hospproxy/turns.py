"""Long work, a slice at a time, so that nobody else waits for more than one slice."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

Result = TypeVar("Result")


class Turns:
    """Runs one slice of work in each turn of the reactor, however much work there is; the oldest waits first.

    :param clock: runs what is due in its next turn.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Deferred[None]] = deque()
        self._due = False
        self.slices = 0

    async def run(self, work: Generator[None, None, Result]) -> Result:
        """Do a piece of work to its end.

        :param work: yields after each slice; a slice takes a few milliseconds.
        :return: what it returns. It raises what the work raises.
        """
        try:
            while True:
                await self._turn()
                self.slices += 1
                next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        finally:
            work.close()

    def _turn(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        self._schedule()
        return turn

    def _schedule(self) -> None:
        if self._waiting and not self._due:
            self._due = True
            self._clock.callLater(0, self._next)

    def _next(self) -> None:
        self._due = False
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.called:  # else its work was cancelled
                self._schedule()
                turn.callback(None)
                return
