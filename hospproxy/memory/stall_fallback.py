"""What the cache does while HOSP is silent: waiting clients get a stored response, and the fetch continues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..http.errors import ProxyError, RecordFailed
from ..http.messages import Response

_log = Logger()


class StallSignal(Protocol):
    """Tells whether HOSP is silent for longer than usual (outward.gate.stall)."""

    @property
    def stalled(self) -> bool:
        """Whether HOSP is suspected to have stalled."""

    def noticed(self) -> Deferred[None]:
        """Fires when a stall is suspected; at once if one is suspected now. May be cancelled."""


class NoStallSignal:
    """For a proxy without stall detection."""

    stalled = False

    def noticed(self) -> Deferred[None]:
        """Return a Deferred that never fires."""
        return Deferred()


async def unless_stalled(
    fetch: Coroutine[Any, Any, Response], stalls: StallSignal, kept: Callable[[], Awaitable[Response | None]]
) -> Response:
    """HOSP's response, or a stored one once HOSP is silent for too long. The fetch then continues for later requests.

    :param fetch: gets HOSP's response.
    :param kept: returns what may be served instead; None: there is nothing, so wait for HOSP.
    """
    fetching = _Fetching(fetch)
    outcome, signal = fetching.outcome(), stalls.noticed()
    signal.addCallbacks(lambda _: fetching.interrupt(), lambda _: None)
    try:
        return await outcome
    except _Interrupted:
        pass
    finally:
        signal.cancel()
    try:
        response = await kept()
    except BaseException:
        fetching.cancel()
        raise
    if response is not None:
        fetching.let_go()
        return response
    return await fetching.outcome()


class _Interrupted(Exception):
    """HOSP has stalled; the fetch continues."""


class _Fetching:
    """A fetch that can be waited for more than once, and can continue by itself."""

    def __init__(self, fetch: Coroutine[Any, Any, Response]) -> None:
        self._outcome: Response | Failure | None = None
        self._waiter: Deferred[Response] | None = None
        self._let_go = False
        self._task = Deferred.fromCoroutine(fetch)
        self._task.addBoth(self._ended)

    def outcome(self) -> Deferred[Response]:
        """The result of the fetch. Cancelling this cancels the fetch."""
        waiter: Deferred[Response] = Deferred(lambda _: self.cancel())
        self._waiter = waiter
        if self._outcome is not None:
            self._hand_over(self._outcome)
        return waiter

    def interrupt(self) -> None:
        """End the wait, if there is one, but not the fetch."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and self._outcome is None:
            waiter.errback(_Interrupted())

    def cancel(self) -> None:
        self._task.cancel()

    def let_go(self) -> None:
        """Let the fetch continue with nothing waiting for it. Only an unexpected failure is logged."""
        self._let_go = True
        if isinstance(self._outcome, Failure):
            self._tell(self._outcome)

    def _ended(self, outcome: Response | Failure) -> None:
        self._outcome = outcome
        if self._waiter is not None:
            self._hand_over(outcome)
        elif self._let_go and isinstance(outcome, Failure):
            self._tell(outcome)

    def _hand_over(self, outcome: Response | Failure) -> None:
        waiter, self._waiter = self._waiter, None
        assert waiter is not None
        if isinstance(outcome, Failure):
            waiter.errback(outcome)
        else:
            waiter.callback(outcome)

    def _tell(self, outcome: Failure) -> None:
        if not outcome.check(CancelledError, ProxyError, RecordFailed):
            _log.failure(
                "a fetch failed after its client got a cached response; this is a bug: report the traceback",
                outcome,
            )
