"""Single-flight: run equal work once for all callers that want it at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..http.errors import ProxyError, RecordFailed

Result = TypeVar("Result")
_log = Logger()


class Flight(Generic[Result]):
    """One piece of work, and the callers that wait for its result.

    A caller that is cancelled leaves without disturbing the others; when all have left, the work is cancelled.
    """

    __slots__ = ("_abandoned", "_ended", "_outcome", "_task", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Deferred[Result]] = []
        self._abandoned: Callable[[], object] = _nothing
        self._task: Deferred[None] | None = None
        self._outcome: Result | Failure | None = None
        self._ended = False

    def start(
        self,
        begin: Callable[[], Awaitable[Result]],
        *,
        abandoned: Callable[[], object],
        ended: Callable[[Result | Failure, bool], object],
    ) -> None:
        """Start the work. It runs independently of its callers.

        :param abandoned: called when all have left, before the work is cancelled: let no further caller join, because
            work may take a while to end.
        :param ended: called with the outcome and whether anybody gets it, before those who wait do.
        """

        async def whole() -> Result:
            return await begin()

        def over(outcome: Result | Failure) -> None:
            self._ended, self._outcome = True, outcome
            # It refers to the holder of this flight. Without it nothing here waits for the garbage collector.
            self._abandoned = _nothing
            waiting, self._waiting = self._waiting, []
            ended(outcome, bool(waiting))
            for waiter in waiting:
                if not waiter.called:  # one who got it may have cancelled another
                    self._hand_over(waiter)

        self._abandoned = abandoned
        self._task = Deferred.fromCoroutine(whole()).addBoth(over)

    def wait(self) -> Deferred[Result]:
        """Return a Deferred of the result. Cancel it to leave."""
        waiter: Deferred[Result] = Deferred(self._leave)
        if self._ended:
            self._hand_over(waiter)
        else:
            self._waiting.append(waiter)
        return waiter

    def send_away(self, waiter: Deferred[Result], error: Exception) -> None:
        """End the wait of one caller with an error. The others keep waiting."""
        self._leave(waiter)
        waiter.errback(error)

    def _hand_over(self, waiter: Deferred[Result]) -> None:
        outcome = self._outcome
        if isinstance(outcome, Failure):
            # A separate Failure for each: the first to read a shared one would change its traceback for the rest.
            waiter.errback(Failure(outcome.value))
        else:
            waiter.callback(outcome)  # type: ignore[arg-type]

    def _leave(self, waiter: Deferred[Result]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        if not self._waiting and not self._ended and self._task is not None:
            self._abandoned()
            self._task.cancel()


class SingleFlight(Generic[Result]):
    """Runs equal work once: callers with an equal key wait for the same result."""

    def __init__(self) -> None:
        self._joinable: dict[Hashable, Flight[Result]] = {}

    def __len__(self) -> int:
        return len(self._joinable)

    def running(self, key: Hashable) -> bool:
        """Whether a call with this key would join work that is in flight."""
        return key in self._joinable

    async def join(self, key: Hashable, begin: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of the work under a key; start it if it is not in flight.

        :param key: equal keys mean equal work.
        :param begin: starts the work.
        :raise Exception: an exception of the work, for every caller that waits for it.
        """
        flight = self._joinable.get(key)
        if flight is None:
            flight = self._started(key, begin)
        return await flight.wait()

    def _started(self, key: Hashable, begin: Callable[[], Awaitable[Result]]) -> Flight[Result]:
        def close() -> None:
            if self._joinable.get(key) is flight:
                del self._joinable[key]

        def ended(outcome: Result | Failure, heard: bool) -> None:
            close()
            if not heard:
                _report(outcome)

        flight = self._joinable[key] = Flight[Result]()
        flight.start(begin, abandoned=close, ended=ended)
        return flight


def _nothing() -> None:
    """For work that has ended: nobody can abandon it."""


def _report(outcome: object) -> None:
    if isinstance(outcome, Failure) and not outcome.check(CancelledError, ProxyError, RecordFailed):
        _log.failure(
            "work failed after all its callers had left; this is a bug: report the traceback", outcome
        )
