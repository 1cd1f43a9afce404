"""Writes wait until those of earlier processes are known: each may be the retry of one of them."""

from __future__ import annotations

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from ...errors import ProxyError
from ...messages import Exchange


class Recovery:
    """Holds writes back until `over` is called, each no longer than to its deadline."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[Deferred[None], None] | None = {}

    async def wait(self, exchange: Exchange) -> None:
        """Wait until earlier writes are known; at once if they are.

        :raise ProxyError: 503, they are not known by the deadline. Nothing was sent.
        """
        if self._waiting is None:
            return
        recovered: Deferred[None] = Deferred()
        self._waiting[recovered] = None
        try:
            await recovered.addTimeout(max(0.0, exchange.deadline - self._clock.seconds()), self._clock)
        except TimeoutError:
            raise ProxyError(
                "What became of earlier writes is not known yet, so nothing was sent.",
                status=503,
                retry_after_s=5,
            ) from None
        finally:
            if self._waiting is not None:
                self._waiting.pop(recovered, None)

    def over(self) -> None:
        """They are known: whatever waits goes on."""
        waiting, self._waiting = self._waiting or {}, None
        for recovered in waiting:
            recovered.callback(None)
