"""What goes on after a write was answered: finding out, and telling others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import RecordFailed
from ...interfaces import IMeter
from ...messages import Exchange

_log = Logger()


@frozen(slots=True)
class Later:
    """Whom to tell when a write whose client was told "unknown" is found, or found absent, later.

    :param forget: what the write made stale is stale again, and its account is settled; it may have to be waited for.
    :param record: keep the finding: exchange of the write, its reference, what was found.
    """

    forget: Callable[[Exchange], Awaitable[None] | None]
    record: Callable[[Exchange, str, str], Deferred[None]]


class GoingOn:
    """Work that nobody waits for. A mistake in it is said in the log."""

    def __init__(self, meter: IMeter) -> None:
        self._meter = meter
        self._works: dict[Deferred[None], None] = {}  # no set: their order must not be that of addresses

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin some, and let it go on."""

        def over(result: object) -> None:
            self._works.pop(going, None)
            if isinstance(result, Failure) and result.check(RecordFailed):
                _log.error(
                    "What was found out about a write could not be recorded: {why}", why=str(result.value)
                )
            elif isinstance(result, Failure) and not result.check(CancelledError):
                _log.failure("finding out about a write failed", result)
                self._meter.count("unhandled_errors_total")

        going = Deferred.fromCoroutine(work)
        self._works[going] = None
        going.addBoth(over)

    def stop(self) -> None:
        """End all of it."""
        for work in list(self._works):
            work.cancel()
