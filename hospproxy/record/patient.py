"""Whose a record was that is deleted or given to another patient: once that is done, nobody can say it any more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..contract import Contract
from ..errors import ProxyError, RecordFailed
from ..interfaces import IProcessor, Proceed
from ..messages import Call, Exchange, Response
from .places import patient_of

SHARE = 0.25
"""Of the time that a write has left: the most that the question may take."""

MAX_DELETED = 1000
"""Deleted records whose patient is remembered, for those who ask again."""


@implementer(IProcessor)
class PatientOfRecord:
    """Reads a record before it is deleted, where its answer would not say which patient it was about.

    It stands before memory.cache: what is kept still holds what the write is about to strike. A question without an
    answer does not keep the write: then its record names no patient.

    :param ask: asks HOSP through the chain.
    :param clock: monotonic time.
    """

    def __init__(
        self, contract: Contract, ask: Callable[..., Awaitable[Response]], clock: IReactorTime
    ) -> None:
        self._contract = contract
        self._ask = ask
        self._clock = clock
        self._deleted: OrderedDict[tuple[str, tuple[str, ...]], str] = OrderedDict()

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        """Ask where it is needed, then proceed."""
        reading = self._reading(exchange)
        if reading is None or exchange.call is None:
            return await proceed(exchange)
        name = (reading.operation.id, reading.path)
        # HOSP gives no id twice: whose it was stays true of what is gone.
        patient = self._deleted.get(name) or await self._patient(exchange, reading)
        if exchange.call.operation.action != "delete":
            exchange.patient_before = patient
            return await proceed(exchange)
        exchange.patient = patient
        response = await proceed(exchange)
        if patient is not None and 200 <= response.status < 300:
            self._remember(name, patient)
        return response

    def _reading(self, exchange: Exchange) -> Call | None:
        """What to ask; None if there is nothing to be found out."""
        call = exchange.call
        if call is None or not call.operation.is_write or call.operation.record is None:
            return None
        operation, place = call.operation, call.operation.patient
        if place is None or place.where != "answer" or exchange.patient is not None:
            return None
        moves = isinstance(call.document, Mapping) and place.name in call.document
        if operation.action != "delete" and not moves:
            return None
        reads = self._contract.operation(call.operation.record)
        return Call(reads, call.path, accept="json", authorization=call.authorization)

    async def _patient(self, exchange: Exchange, reading: Call) -> str | None:
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
        except (ProxyError, RecordFailed, TimeoutError):  # the write itself will say what is wrong
            return None

    def _remember(self, name: tuple[str, tuple[str, ...]], patient: str) -> None:
        self._deleted[name] = patient
        self._deleted.move_to_end(name)
        if len(self._deleted) > MAX_DELETED:
            self._deleted.popitem(last=False)
