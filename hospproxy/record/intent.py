"""Records each write before it is sent to HOSP."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..exchange.exchange import Identified
from ..http.errors import ProxyError, RecordFailed
from ..http.messages import Response
from ..interfaces import IJournal, IProcessor, Proceed
from .describe import Describer

RETRY_AFTER_S = 30
"""Seconds. A full or failing disk seldom recovers sooner."""


@implementer(IProcessor)
class Intent:
    """Records a write before it is sent.

    If the process dies, the journal still shows which writes were in flight.
    """

    def __init__(self, journal: IJournal, describer: Describer, clock: IReactorTime) -> None:
        self._journal = journal
        self._describer = describer
        self._clock = clock

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        """Record a write, then proceed; other requests pass through.

        :raise ProxyError: 503, if the record could not be written. Nothing was sent.
        """
        if not self.passes(exchange):
            passed_s = self._clock.seconds() - exchange.arrived
            try:
                await self._journal.append(self._describer.intent(exchange, passed_s))
            except RecordFailed as failed:
                exchange.trace.outcome = "not recorded"
                raise ProxyError(
                    "The write was not sent, because it could not be recorded.",
                    status=503,
                    retry_after_s=RETRY_AFTER_S,
                ) from failed
        return await proceed(exchange)

    def passes(self, exchange: Identified) -> bool:
        """Only writes are recorded before they are sent."""
        return not exchange.call.operation.is_write
