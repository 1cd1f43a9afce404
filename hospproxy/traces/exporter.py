"""Sends spans to a collector in batches, outside of all requests. A collector that is away costs nothing but spans."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..exchange.spans import Span
from ..interfaces import IMeter

MOST_WAITING: Final = 2048
"""Most spans that wait; of further ones, the oldest are dropped."""
MOST_AT_ONCE: Final = 256
EVERY_S: Final = 2.0
"""Seconds for which spans are collected before they are sent."""
PAUSE_S: Final = 30.0
"""Seconds without an attempt after a failure."""


class PosterLike(Protocol):
    """Posts a body to a collector; ``SignedPoster`` is one."""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a body to the collector in one POST.

        :raise Exception: the collector did not take it, or the result is unknown.
        """

    def close(self) -> Deferred[None]:
        """Close the idle connection to the collector."""


class Exporter:
    """Collects spans, and posts them. One POST at a time; what it fails to deliver is dropped and counted.

    :param write: makes the body of a POST.
    :param headers: of each POST.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        poster: PosterLike,
        write: Callable[[Sequence[Span]], bytes],
        headers: Mapping[str, str],
        meter: IMeter,
    ) -> None:
        self._reactor = reactor
        self._poster = poster
        self._write = write
        self._headers = {"Content-Type": "application/json", **headers}
        self._meter = meter
        self._waiting: deque[Span] = deque()
        self._timer: IDelayedCall | None = None
        self._sending: Deferred[None] | None = None
        self._failing = self._stopped = False
        self._not_before = 0.0
        """Monotonic seconds until which the collector is left in peace."""

    def add(self, span: Span) -> None:
        """Take a span that has ended. It takes a microsecond and never fails."""
        if self._stopped or len(self._waiting) >= MOST_WAITING:
            self._meter.count("trace_spans_total", result="dropped")
            if self._stopped:
                return
            self._waiting.popleft()
        self._waiting.append(span)
        if self._timer is None and self._sending is None:
            self._next(EVERY_S)

    async def stop(self, within_s: float) -> None:
        """Send what waits, once, and close the connection.

        :param within_s: seconds for that.
        """
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._sending is None and self._waiting and not self._failing:
            self._send()
        if self._sending is not None:
            sending = self._sending
            sending.addTimeout(within_s, self._reactor)
            await sending
        await self._poster.close()

    def _send(self) -> None:
        self._timer = None
        batch = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
        posting = Deferred.fromCoroutine(self._poster.post(self._write(batch), self._headers))
        self._sending = posting.addCallbacks(
            lambda _: self._sent(len(batch)), lambda failure: self._failed(len(batch), failure)
        )
        if self._sending.called:
            self._sending = None

    def _sent(self, spans: int) -> None:
        self._meter.count("trace_spans_total", spans, result="sent")
        if self._failing:
            self._failing = False
            self._log.info("traces are sent to the collector again")
        self._not_before = 0.0
        self._next(0.0 if len(self._waiting) >= MOST_AT_ONCE else EVERY_S)

    def _failed(self, spans: int, failure: Failure) -> None:
        self._meter.count("trace_spans_total", spans, result="failed")
        if not self._failing:
            self._failing = True
            why = "no time was left" if failure.check(TimeoutError) else failure.getErrorMessage()
            self._log.warn(
                "traces cannot be sent to the collector: {why}; spans are dropped, requests are not affected",
                why=why,
            )
        self._not_before = self._reactor.seconds() + PAUSE_S
        self._next(EVERY_S)

    def _next(self, seconds: float) -> None:
        self._sending = None
        if self._waiting and not self._stopped:
            wait_s = max(seconds, self._not_before - self._reactor.seconds())
            self._timer = self._reactor.callLater(wait_s, self._send)
