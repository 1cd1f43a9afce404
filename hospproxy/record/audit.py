"""The outermost processor: no response leaves without its audit record."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..exchange.exchange import Exchange
from ..http.errors import RecordFailed
from ..http.messages import Response
from ..http.repeat import RecordAgain, Told
from ..interfaces import ILineJournal, IProcessor, ProceedTo, Stage
from ..process.slices import SliceQueue
from .describe import Answer, Describer, timestamp
from .disclosures import DisclosureResult, Disclosures
from .http_facts import HttpFacts
from .trail.record_line import LineTemplate

MOST_REPEATED_BYTES = 16 * 1024
"""Size of a set of patients beyond which a request is not answered by a shortcut: many shortcuts are kept."""


@implementer(IProcessor)
class Audit:
    """Records every exchange, whatever its outcome, before its response leaves.

    :param when_full: makes the response while the disk is full, instead of the chain; None to go on with the
        chain.
    :param turns: runs the slices in which large responses are read for the patients they disclose.
    """

    _log = Logger()

    def __init__(
        self,
        journal: ILineJournal,
        describer: Describer,
        clock: IReactorTime,
        when_full: Callable[[Exchange], Response] | None = None,
        turns: SliceQueue | None = None,
    ) -> None:
        self._journal = journal
        self._describer = describer
        self._clock = clock
        self._when_full = when_full
        self._turns = SliceQueue(clock) if turns is None else turns
        self._disclosures = Disclosures()

    def reload(self, when_full: Callable[[Exchange], Response] | None, http: HttpFacts | None) -> None:
        """Apply changed rules for the requests that come from now on.

        :param when_full: for requests that come while the journal is full.
        :param http: as in ``Describer``.
        """
        self._when_full = when_full
        self._describer = evolve(self._describer, http=http)

    async def process(self, exchange: Stage, proceed: ProceedTo[Stage]) -> Response:
        """Wait for the response, then for its record.

        :raise RecordFailed: the record could not be written, so no response may be sent.
        """
        try:
            answer = self._refusal(exchange) or await proceed(exchange)
            read = await self._read(exchange, answer)
        except CancelledError as gone:
            await self._record_of_gone(exchange, gone)
            raise
        except Exception as error:
            await self._record(exchange, error)
            raise
        await self._record(exchange, answer, read)
        return answer

    def repeat(self, exchange: Exchange, response: Response) -> RecordAgain | None:
        """An equal request gets an equal record, with its own time and id."""
        if exchange.trace.identity is None and exchange.request.headers.get(b"authorization") is not None:
            return None  # whether the claimed name is written depends on what HOSP has accepted since
        if self._disclosures.reading(exchange, response) is not None:
            return None
        disclosure = self._disclosures.of(exchange, response)
        record = self._describer.request(exchange, response, 0.0)
        if disclosure is None or not disclosure.says_more_than(record["patient_id"]):
            disclosure = None
        elif disclosure.size > MOST_REPEATED_BYTES:
            return None
        else:
            record["disclosed"] = disclosure.named

        template = LineTemplate.of(record)
        if template is None:
            return None
        journal, kind = self._journal, record["kind"]

        def keep(wall: float, request_id: str, told: Told) -> None:
            journal.append_line(template.filled(timestamp(wall), request_id), kind, told, disclosure)

        refuses = self._when_full is not None
        return RecordAgain(holds=(lambda _now: not journal.full) if refuses else None, keep=keep)

    async def _read(self, exchange: Exchange, answer: Response) -> DisclosureResult | None:
        work = self._disclosures.reading(exchange, answer)
        return None if work is None else await self._turns.run(work)

    def note(self, exchange: Exchange, reference: str, finding: str) -> Deferred[None]:
        """Record what became known about an exchange after its response.

        :param exchange: the exchange; its request id and the reference identify the first record.
        :param finding: the outcome as it is known now.
        :raise RecordFailed: the record could not be written.
        """
        record = self._describer.finding(exchange, reference, finding, self._passed_s(exchange))
        return self._journal.append(record)

    def _refusal(self, exchange: Exchange) -> Response | None:
        if self._when_full is None or exchange.own or not self._journal.full:
            return None
        exchange.trace.outcome = "not recorded"
        return self._when_full(exchange)

    async def _record(self, exchange: Exchange, answer: Answer, read: DisclosureResult | None = None) -> None:
        disclosure = self._disclosures.of(exchange, answer, read)
        record = self._describer.request(exchange, answer, self._passed_s(exchange))
        if disclosure is not None and disclosure.says_more_than(record["patient_id"]):
            record["disclosed"] = disclosure.named
            await self._journal.append(record, disclosure)
        else:
            await self._journal.append(record)

    async def _record_of_gone(self, exchange: Exchange, gone: CancelledError) -> None:
        try:
            await self._record(exchange, gone)
        except RecordFailed as failed:  # the client has left, so there is no response to withhold
            self._log.error(
                "The request of a client that left could not be recorded: {reason}", reason=str(failed)
            )

    def _passed_s(self, exchange: Exchange) -> float:
        return self._clock.seconds() - exchange.arrived
