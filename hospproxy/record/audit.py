"""The outermost station: no answer without a record."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import RecordFailed
from ..interfaces import IJournal, IProcessor, Proceed
from ..messages import Exchange, Response
from .describe import Answer, Describer


@implementer(IProcessor)
class Audit:
    """Records every exchange, whatever its outcome, before its answer may leave.

    :param when_full: answers clients in the chain's place while the disk is full; without one the chain goes on.
    """

    _log = Logger()

    def __init__(
        self,
        journal: IJournal,
        describer: Describer,
        clock: IReactorTime,
        when_full: Callable[[Exchange], Response] | None = None,
    ) -> None:
        self._journal = journal
        self._describer = describer
        self._clock = clock
        self._when_full = when_full

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        """Await the answer, then its record.

        :raise RecordFailed: it could not be kept, so nothing may be answered.
        """
        try:
            answer = self._refusal(exchange) or await proceed(exchange)
        except CancelledError as gone:
            await self._record_of_gone(exchange, gone)
            raise
        except Exception as error:
            await self._record(exchange, error)
            raise
        await self._record(exchange, answer)
        return answer

    def note(self, exchange: Exchange, reference: str, finding: str) -> Deferred[None]:
        """Record what became known of an exchange after its answer.

        :param exchange: the one that was answered; its request id and the reference name the first record.
        :param finding: the outcome as it is known now.
        :raise RecordFailed: it could not be kept.
        """
        record = self._describer.finding(exchange, reference, finding, self._passed_s(exchange))
        return self._journal.append(record)

    def _refusal(self, exchange: Exchange) -> Response | None:
        if self._when_full is None or exchange.own or not self._journal.full:
            return None
        exchange.outcome = "not recorded"
        return self._when_full(exchange)

    def _record(self, exchange: Exchange, answer: Answer) -> Deferred[None]:
        return self._journal.append(self._describer.request(exchange, answer, self._passed_s(exchange)))

    async def _record_of_gone(self, exchange: Exchange, gone: CancelledError) -> None:
        try:
            await self._record(exchange, gone)
        except RecordFailed as failed:  # there is nobody left from whom an answer could be kept back
            self._log.error("No record of a client that left: {reason}", reason=str(failed))

    def _passed_s(self, exchange: Exchange) -> float:
        return self._clock.seconds() - exchange.arrived
