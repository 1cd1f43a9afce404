"""What memory does while HOSP is silent: who waits for HOSP is given what is kept, and HOSP goes on being asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ProxyError, RecordFailed
from ..messages import Response

_log = Logger()


class Stalls(Protocol):
    """Whether HOSP answers nothing for longer than it usually takes (outward.gate.stall)."""

    @property
    def stalled(self) -> bool:
        """Whether that is so now."""

    def noticed(self) -> Deferred[None]:
        """Fires when that is noticed; at once if it is so now. It may be cancelled."""


class NeverStalls:
    """Nobody notices it."""

    stalled = False

    def noticed(self) -> Deferred[None]:
        """Never fires."""
        return Deferred()


async def unless_stalled(
    fetch: Coroutine[Any, Any, Response], stalls: Stalls, kept: Callable[[], Awaitable[Response | None]]
) -> Response:
    """HOSP's answer; what was kept, once HOSP is silent for too long. Then the fetch goes on, for the next who asks.

    :param fetch: gets HOSP's answer.
    :param kept: gives what may be given instead; None: there is nothing, so HOSP is waited for.
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
    """HOSP has stalled; the fetch goes on."""


class _Fetching:
    """A fetch that can be waited for more than once, and be left to itself."""

    def __init__(self, fetch: Coroutine[Any, Any, Response]) -> None:
        self._outcome: Response | Failure | None = None
        self._waiter: Deferred[Response] | None = None
        self._let_go = False
        self._task = Deferred.fromCoroutine(fetch)
        self._task.addBoth(self._ended)

    def outcome(self) -> Deferred[Response]:
        """What comes of it. Cancelling this ends the fetch."""
        waiter: Deferred[Response] = Deferred(lambda _: self.cancel())
        self._waiter = waiter
        if self._outcome is not None:
            self._hand_over(self._outcome)
        return waiter

    def interrupt(self) -> None:
        """End the wait, if there is one, and not the fetch."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and self._outcome is None:
            waiter.errback(_Interrupted())

    def cancel(self) -> None:
        """End the fetch."""
        self._task.cancel()

    def let_go(self) -> None:
        """Nobody waits for it any more; only a mistake in it is told."""
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
            _log.failure("a fetch failed that nobody waited for any more", outcome)
