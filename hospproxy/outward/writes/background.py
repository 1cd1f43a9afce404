"""Background work after the response to a write: finding out its outcome, and telling other workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...exchange.exchange import Identified
from ...http.errors import RecordFailed
from ...interfaces import IMeter
from ...process.background import Background

_log = Logger()


@frozen(slots=True)
class LateOutcomes:
    """Callbacks for when the outcome of a write is found out after its client was told "unknown".

    :param forget: invalidates the write's cache entries and settles its account; may return something to wait for.
    :param record: stores the outcome: exchange of the write, its reference, what was found.
    """

    forget: Callable[[Identified], Awaitable[None] | None]
    record: Callable[[Identified, str, str], Deferred[None]]


class LateWork:
    """Runs what is left to do for a write after its response, such as finding out its outcome."""

    def __init__(self, meter: IMeter) -> None:
        self._background = Background(
            _log,
            "finding out the outcome of a write failed; this is a bug: report the traceback",
            meter,
            expected=(RecordFailed,),
        )

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a coroutine in the background."""
        self._background.run(work, _report)

    def stop(self) -> None:
        """Cancel all work that is still running."""
        self._background.stop()


def _report(outcome: object) -> None:
    if isinstance(outcome, Failure) and outcome.check(RecordFailed):
        _log.error("audit: the late outcome of a write could not be recorded: {why}", why=str(outcome.value))
