"""Background work: coroutines that nothing waits for, from their start to their end or to the end of the process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..interfaces import IMeter

Result = TypeVar("Result")


class Background:
    """Runs the background work of one part. An unexpected failure is logged with its traceback, and counted.

    :param log: of the part.
    :param message: the log line for a failure, a format for ``fields``.
    :param meter: counts failures as ``unhandled_errors_total``; None: they are not counted, because they need not be
        bugs, or because the process has no metrics.
    :param expected: failures of the work that are no bug. Work may always be cancelled.
    """

    def __init__(
        self,
        log: Logger,
        message: str,
        meter: IMeter | None = None,
        *,
        expected: tuple[type[Exception], ...] = (),
        **fields: Any,
    ) -> None:
        self._log = log
        self._message = message
        self._meter = meter
        self._expected = (CancelledError, *expected)
        self._fields = fields
        self._running: dict[Deferred[Any], None] = {}  # a set would iterate in the order of addresses

    def __len__(self) -> int:
        return len(self._running)

    def run(
        self,
        work: Coroutine[Any, Any, Result] | Deferred[Result],
        ended: Callable[[Result | Failure], object] | None = None,
    ) -> Deferred[None]:
        """Start a coroutine, or look after work that has started.

        :param ended: called with the outcome.
        :return: fires when the work and ``ended`` are over, and never fails: nobody needs to wait for it.
        """

        def over(outcome: Result | Failure) -> None:
            self._running.pop(running, None)
            if isinstance(outcome, Failure):
                self._report(outcome)
            if ended is not None:
                ended(outcome)

        running = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        self._running[running] = None
        return running.addBoth(over).addErrback(self._report)

    def stop(self) -> None:
        """Cancel all work that is still running."""
        for work in list(self._running):
            work.cancel()

    async def idle(self) -> None:
        """Wait until the work that is running now is over. Cancelling the wait does not cancel the work."""
        over: Deferred[None] = Deferred()
        left = len(self._running)
        if not left:
            return

        def one_over(_: object) -> None:
            nonlocal left
            left -= 1
            if not left and not over.called:
                over.callback(None)

        for work in list(self._running):
            work.addBoth(one_over)
        await over

    def _report(self, failure: Failure) -> None:
        if failure.check(*self._expected):
            return
        self._log.failure(self._message, failure, **self._fields)
        if self._meter is not None:
            self._meter.count("unhandled_errors_total")
