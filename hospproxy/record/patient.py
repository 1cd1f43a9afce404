"""Finds out whose record a write deletes or moves to another patient, while HOSP can still tell."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..contract.contract import Contract
from ..exchange.call_ids import patient_of
from ..exchange.exchange import Call, Exchange, Identified
from ..http.errors import ProxyError, RecordFailed
from ..http.messages import Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import Ask, IProcessor, Proceed

SHARE = 0.25
"""Share of a write's remaining time that the lookup may take."""

MAX_DELETED = 1000
"""Deleted records whose patient is remembered, for repeated deletes."""


@implementer(IProcessor)
class PatientOfRecord:
    """Reads a record before a write deletes or moves it, if the response would not tell its patient.

    It comes before memory.cache, where an entry may still hold what the write is about to invalidate. A failed
    lookup does not stop the write; its audit record then names no patient.

    :param ask: sends a request to HOSP through the chain.
    :param clock: monotonic time.
    """

    def __init__(self, contract: Contract, ask: Ask, clock: IReactorTime) -> None:
        self._contract = contract
        self._ask = ask
        self._clock = clock
        self._deleted: OrderedDict[tuple[str, tuple[str, ...]], str] = OrderedDict()

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        """Look the patient up if needed, then proceed."""
        reading = None if self.passes(exchange) else self._reading(exchange)
        if reading is None:
            return await proceed(exchange)
        name = (reading.operation.id, reading.path)
        # HOSP never reuses an id, so the patient of a deleted record stays valid.
        patient = self._deleted.get(name) or await self._patient(exchange, reading)
        if exchange.call.operation.action != "delete":
            exchange.trace.patient_before = patient
            return await proceed(exchange)
        exchange.trace.patient = patient
        response = await proceed(exchange)
        if patient is not None and 200 <= response.status < 300:
            self._remember(name, patient)
        return response

    def passes(self, exchange: Identified) -> bool:
        """Only a write moves or deletes a record."""
        return not exchange.call.operation.is_write

    def repeat(self, exchange: Exchange, _response: Response) -> Repeat | None:
        """Allow shortcuts for reads, which move no record to another patient."""
        return ALWAYS if exchange.trace.call is not None and exchange.trace.call.operation.is_read else None

    def _reading(self, exchange: Identified) -> Call | None:
        """The request that tells the patient; None if none is needed."""
        call = exchange.call
        if not call.operation.is_write or call.operation.record is None:
            return None
        operation, place = call.operation, call.operation.patient
        if place is None or place.where != "answer" or exchange.trace.patient is not None:
            return None
        moves = isinstance(call.document, Mapping) and place.name in call.document
        if operation.action != "delete" and not moves:
            return None
        reads = self._contract.operation(call.operation.record)
        return Call(reads, call.path, accept="json", authorization=call.authorization)

    async def _patient(self, exchange: Identified, reading: Call) -> str | None:
        left_s = exchange.deadline - self._clock.seconds()
        if left_s <= 0:
            return None
        allowed_s = left_s * SHARE

        async def read() -> Response:
            return await self._ask(
                reading,
                on_behalf_of=exchange,
                own="patient",
                deadline=self._clock.seconds() + allowed_s,
            )

        answer = Deferred.fromCoroutine(read())
        answer.addTimeout(allowed_s, self._clock)
        try:
            return patient_of(reading, await answer)
        except (ProxyError, RecordFailed, TimeoutError):  # the write itself will report what is wrong
            return None

    def _remember(self, name: tuple[str, tuple[str, ...]], patient: str) -> None:
        self._deleted[name] = patient
        self._deleted.move_to_end(name)
        if len(self._deleted) > MAX_DELETED:
            self._deleted.popitem(last=False)
