"""Background work after the response to a write: finding out its outcome, and telling other workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import RecordFailed
from ...exchange import Exchange
from ...interfaces import IMeter

_log = Logger()


@frozen(slots=True)
class Later:
    """Callbacks for when the outcome of a write is found out after its client was told "unknown".

    :param forget: invalidates the write's cache entries and settles its account; may return something to wait for.
    :param record: stores the outcome: exchange of the write, its reference, what was found.
    """

    forget: Callable[[Exchange], Awaitable[None] | None]
    record: Callable[[Exchange, str, str], Deferred[None]]


class GoingOn:
    """Runs work that nothing waits for. A failure is logged."""

    def __init__(self, meter: IMeter) -> None:
        self._meter = meter
        self._works: dict[Deferred[None], None] = {}  # a set would iterate in the order of addresses

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a coroutine in the background."""

        def over(result: object) -> None:
            self._works.pop(going, None)
            if isinstance(result, Failure) and result.check(RecordFailed):
                _log.error(
                    "audit: the late outcome of a write could not be recorded: {why}", why=str(result.value)
                )
            elif isinstance(result, Failure) and not result.check(CancelledError):
                _log.failure(
                    "finding out the outcome of a write failed; this is a bug: report the traceback", result
                )
                self._meter.count("unhandled_errors_total")

        going = Deferred.fromCoroutine(work)
        self._works[going] = None
        going.addBoth(over)

    def stop(self) -> None:
        """Cancel all work that is still running."""
        for work in list(self._works):
            work.cancel()
