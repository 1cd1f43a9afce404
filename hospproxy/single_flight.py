"""Single-flight: run equal work once for all callers that want it at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Result = TypeVar("Result")


class Joint(Generic[Result]):
    """Runs equal work once: callers with an equal key wait for the same result.

    A caller that is cancelled leaves without disturbing the others; when all have left, the work is cancelled.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, _Work[Result]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def running(self, key: Hashable) -> bool:
        """Whether a call with this key would join work that is in flight."""
        return key in self._running

    async def join(self, key: Hashable, begin: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of the work under a key; start it if it is not in flight.

        :param key: equal keys mean equal work.
        :param begin: starts the work.
        :raise Exception: an exception of the work, for every caller that waits for it.
        """
        work = self._running.get(key)
        if work is None:
            work = self._running[key] = _Work()
            work.start(begin, lambda: self._running.pop(key, None))
        return await work.wait()


class _Work(Generic[Result]):
    def __init__(self) -> None:
        self._waiting: list[Deferred[Result]] = []
        self._task: Deferred[Result] | None = None
        self._outcome: Result | Failure | None = None
        self._done = False

    def start(self, begin: Callable[[], Awaitable[Result]], ended: Callable[[], object]) -> None:
        async def whole() -> Result:
            return await begin()

        def finish(outcome: Result | Failure) -> None:
            self._done, self._outcome = True, outcome
            ended()
            for waiter in self._waiting[:]:
                self._hand_over(waiter)

        self._task = Deferred.fromCoroutine(whole())
        self._task.addBoth(finish)

    def wait(self) -> Deferred[Result]:
        waiter: Deferred[Result] = Deferred(self._leave)
        if self._done:
            self._hand_over(waiter)
        else:
            self._waiting.append(waiter)
        return waiter

    def _hand_over(self, waiter: Deferred[Result]) -> None:
        outcome = self._outcome
        if isinstance(outcome, Failure):
            waiter.errback(Failure(outcome.value))
        else:
            waiter.callback(outcome)  # type: ignore[arg-type]

    def _leave(self, waiter: Deferred[Result]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        if not self._waiting and not self._done and self._task is not None:
            self._task.cancel()
