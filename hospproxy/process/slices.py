"""Run long work in slices, so that other work never waits for more than one slice."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

Result = TypeVar("Result")


class SliceQueue:
    """Runs one slice of work per reactor iteration, however much work there is; first come, first served.

    :param clock: calls what is due in its next iteration.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Deferred[None]] = deque()
        self._due = False
        self.slices = 0

    async def run(self, work: Generator[None, None, Result]) -> Result:
        """Run a piece of work to its end.

        :param work: yields after each slice; a slice takes a few milliseconds.
        :return: what the work returns; exceptions of the work are raised here.
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
            if not turn.called:  # otherwise its work was cancelled
                self._schedule()
                turn.callback(None)
                return
