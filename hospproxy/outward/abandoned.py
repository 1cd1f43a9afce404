"""Attempts that continue at HOSP after their client has left.

HOSP keeps working when a connection breaks. So when the client of a sent attempt leaves or its deadline passes, the
attempt's slot stays taken until HOSP has responded or must have finished. The proxy still reads the response and
learns from it, except for a write, whose connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..exchange.exchange import Exchange
from ..http.errors import FailedAfterSending, NotSent, ProxyError
from ..http.late_responses import AbandonedAttempt, Outcome
from ..http.messages import Response

_log = Logger()


class AttemptWait:
    """The wait for one attempt, which may end before the attempt does.

    :param attempt: fires with HOSP's response, or fails. Cancelling it closes the connection.
    :param is_sent: whether the request has been written.
    :param late: called when the time is up and no response has come.
    """

    def __init__(
        self,
        exchange: Exchange,
        attempt: Deferred[Response],
        is_sent: Callable[[], bool],
        late: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._is_sent = is_sent
        self._late = late
        self._waiter: Deferred[Response] = Deferred(lambda _: self._left())
        self._over: Deferred[Outcome] | None = None
        attempt.addBoth(self._ended)

    async def wait(self, clock: IReactorTime, left_s: float) -> Response:
        """Wait for the response of the attempt.

        :param left_s: maximum seconds to wait.
        :raise NotSent: the time was up before the request was sent.
        :raise FailedAfterSending: the time was up, and HOSP is still working on the request.
        """
        timer: IDelayedCall = clock.callLater(left_s, self._expire)
        try:
            return await self._waiter
        finally:
            if timer.active():
                timer.cancel()

    def _left(self) -> None:
        """The client has left: an attempt that was sent goes on, any other is cancelled."""
        if self._is_sent():
            self._leave_behind()
        else:
            self._attempt.cancel()

    def _expire(self) -> None:
        if not self._is_sent():
            self._waiter.errback(NotSent("The upstream server could not be reached in time."))
            self._late()
            self._attempt.cancel()
            return
        self._leave_behind()
        self._late()
        self._waiter.errback(
            FailedAfterSending("The upstream server did not respond in time.", timed_out=True)
        )

    def _leave_behind(self) -> None:
        self._over = Deferred(lambda _: self._attempt.cancel())
        self._exchange.last_attempt.left_behind = AbandonedAttempt(self._over)
        self._exchange.aftermath.begin()

    def _ended(self, outcome: Response | Failure) -> None:
        if self._over is not None:
            self._ended_late(outcome, self._over)
        elif self._waiter.called:
            pass  # It was cancelled before it was sent.
        elif isinstance(outcome, Failure):
            self._waiter.errback(outcome)
        else:
            self._waiter.callback(outcome)

    def _ended_late(self, outcome: Response | Failure, over: Deferred[Outcome]) -> None:
        result: Response | ProxyError | None = None
        if isinstance(outcome, Response):
            result = outcome
        elif isinstance(outcome.value, ProxyError):
            result = outcome.value
        elif not outcome.check(CancelledError):
            _log.failure(
                "an attempt failed after its client had left; this is a bug: report the traceback", outcome
            )
        self._exchange.aftermath.end(result if isinstance(result, Response) else None)
        if not over.called:
            over.callback(result)
