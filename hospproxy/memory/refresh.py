"""Renews answers that were given out past their time: one fetch at a time for each, few in all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ProxyError, RecordFailed
from ..interfaces import IMeter
from ..messages import Exchange, Priority, Response

REFRESH = "refresh"
"""Why the proxy asks, in the record."""
MOST = 32
"""At one time. HOSP has few places, and a client that waits goes first: more would only stand in the queue."""

_log = Logger()


class Refresher:
    """Asks HOSP again, as the client who was given the old answer.

    :param ask: asks through the chain.
    """

    def __init__(self, ask: Callable[..., Awaitable[Response]] | None, meter: IMeter) -> None:
        self._ask = ask
        self._meter = meter
        self._running: dict[bytes, Deferred[None]] = {}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def able(self) -> bool:
        """Whether anything can be renewed here."""
        return self._ask is not None

    def refresh(self, exchange: Exchange, key: bytes) -> None:
        """Begin to renew an answer, unless that has begun or too much is being renewed."""
        if key in self._running or len(self._running) >= MOST:
            return

        async def work() -> None:
            assert self._ask is not None
            await self._ask(exchange.call, on_behalf_of=exchange, own=REFRESH, priority=Priority.REFRESH)

        def over(outcome: object) -> None:
            self._running.pop(key, None)
            if isinstance(outcome, Failure) and not outcome.check(CancelledError, ProxyError, RecordFailed):
                _log.failure("an answer could not be renewed", outcome)
                self._meter.count("unhandled_errors_total")

        self._meter.count("cache_events_total", event="refresh_begun")
        task = self._running[key] = Deferred.fromCoroutine(work())
        task.addBoth(over)

    def stop(self) -> None:
        """End what is being renewed."""
        for work in list(self._running.values()):
            work.cancel()
