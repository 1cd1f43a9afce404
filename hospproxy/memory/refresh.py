"""Background revalidation: renews entries that were served stale. One fetch per entry, few in all."""

from __future__ import annotations

from twisted.logger import Logger

from ..exchange.exchange import Identified
from ..http.errors import ProxyError, RecordFailed
from ..http.messages import Priority
from ..interfaces import Ask, IMeter
from ..process.background import Background

REFRESH = "refresh"
"""Value of ``own`` for these requests, in the audit record."""
MOST = 32
"""Maximum number at a time. HOSP has few slots, and waiting clients go first: more would only stand in the queue."""

_log = Logger()


class Revalidator:
    """Asks HOSP again, in the name of the client that was served the stale response.

    :param ask: ``OwnRequests.ask``; None: no background revalidation.
    """

    def __init__(self, ask: Ask | None, meter: IMeter) -> None:
        self._ask = ask
        self._meter = meter
        self._renewing: set[bytes] = set()
        self._background = Background(
            _log,
            "background revalidation of a cache entry failed; this is a bug: report the traceback",
            meter,
            expected=(ProxyError, RecordFailed),
        )

    def __len__(self) -> int:
        return len(self._renewing)

    @property
    def able(self) -> bool:
        """Whether background revalidation is possible."""
        return self._ask is not None

    def refresh(self, exchange: Identified, key: bytes) -> None:
        """Start to revalidate an entry, unless that is already running or the maximum is reached."""
        if key in self._renewing or len(self._renewing) >= MOST:
            return
        self._meter.count("cache_events_total", event="refresh_begun")
        self._renewing.add(key)
        self._background.run(self._renew(exchange), lambda _: self._renewing.discard(key))

    async def _renew(self, exchange: Identified) -> None:
        assert self._ask is not None
        await self._ask(exchange.call, on_behalf_of=exchange, own=REFRESH, priority=Priority.REFRESH)

    def stop(self) -> None:
        """Cancel all revalidation in progress."""
        self._background.stop()
