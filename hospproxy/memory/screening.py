"""Screening results, which HOSP forgets: each becomes one note on its patient, after the user has the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..contract import Contract, NoteShape
from ..errors import OutcomeUnknown, OverCapacity, ProxyError
from ..interfaces import IMeter, IProcessor, Proceed
from ..messages import Call, Exchange, Json, Priority, Response

_log = Logger()

NOTE_LENGTH = 60_000
"""Characters of a note's body: below what the contract's own schema allows."""


def note_body(shape: NoteShape, answer: Mapping[str, Any], reference: str) -> str:
    """The text of the note, as people read it: overall, then each image and its result, then the reference.

    :param answer: the screening's answer.
    :param reference: unique text by which the note is found again.
    """
    lines = [f"Overall: {_words(answer.get(shape.overall))}"]
    results = answer.get(shape.results)
    if isinstance(results, list):
        lines += [f"Image {number}: {_words(result)}" for number, result in enumerate(results, 1)]
        if not results:
            lines.append("No images.")
    text, closing = "\n".join(lines), f"\nReference: {reference}"
    if len(text) + len(closing) > NOTE_LENGTH:
        text = text[: NOTE_LENGTH - len(closing) - 20] + "\n(cut: too long)"
    return text + closing


def _words(value: Json) -> str:
    if value is None:
        return "no result"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@implementer(IProcessor)
class Screening:
    """Passes the answer on unchanged and delivers its note.

    :param ask: sends a request of the proxy's own.
    :param reference: makes a unique reference.
    :param max_pending: results waiting to be stored; beyond it a screening is refused before it is sent.
    :param base_s: seconds of back-off after the first failed delivery, doubled each time.
    :param cap_s: the most seconds of back-off.
    :param delivery_s: seconds that one delivery may take, its looks included.
    """

    def __init__(
        self,
        contract: Contract,
        ask: Callable[..., Awaitable[Response]],
        clock: IReactorTime,
        reference: Callable[[], str],
        random: Callable[[], float],
        meter: IMeter,
        *,
        max_pending: int = 1000,
        base_s: float = 2.0,
        cap_s: float = 60.0,
        delivery_s: float = 600.0,
    ) -> None:
        self._contract = contract
        self._ask = ask
        self._clock = clock
        self._reference = reference
        self._random = random
        self._meter = meter
        self._max_pending = max_pending
        self._base_s = base_s
        self._cap_s = cap_s
        self._delivery_s = delivery_s
        self._reserved = 0
        self._delivering: set[Deferred[None]] = set()
        meter.gauge("screening_pending", lambda: float(self.pending))

    @property
    def pending(self) -> int:
        """Results that are not stored yet."""
        return len(self._delivering)

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        assert exchange.call is not None
        shape = exchange.call.operation.becomes_note
        if shape is None or exchange.identity is None:
            return await proceed(exchange)
        if self.pending + self._reserved >= self._max_pending:
            raise OverCapacity("Too many screening results wait to be stored.", retry_after_s=30)
        self._reserved += 1
        try:
            response = await proceed(exchange)
        finally:
            self._reserved -= 1
        if response.status == 200:
            self._keep(exchange, shape, response)
        return response

    def _keep(self, exchange: Exchange, shape: NoteShape, response: Response) -> None:
        assert exchange.call is not None and exchange.identity is not None
        try:
            answer = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            answer = None
        if not isinstance(answer, dict):
            answer = {shape.overall: response.body.decode("utf-8", "replace")}
        reference = self._reference()
        patient = exchange.call.path[0]
        document = {
            shape.patient: int(patient) if patient.isdigit() else patient,
            shape.author: exchange.identity.id,
            shape.title: shape.title_text,
            shape.body: note_body(shape, answer, reference),
        }
        exchange.reference = reference
        operation = self._contract.operation(shape.operation)
        call = Call(operation, document=document, accept="json", authorization=exchange.call.authorization)
        self._begin(exchange, call, reference)

    def _begin(self, exchange: Exchange, call: Call, reference: str) -> None:
        async def later() -> None:
            # The user's answer goes first.
            await task.deferLater(self._clock, 0, lambda: None)
            await self._deliver(exchange, call, reference)

        def over(result: object) -> None:
            self._delivering.discard(work)
            if isinstance(result, Failure) and not result.check(CancelledError):
                _log.failure("a screening result could not be kept as a note", result)
                self._meter.count("unhandled_errors_total")

        work = Deferred.fromCoroutine(later())
        self._delivering.add(work)
        work.addBoth(over)

    async def _deliver(self, exchange: Exchange, call: Call, reference: str) -> None:
        """Store one note, however long it takes: HOSP failing is no reason to lose a result."""
        tries = 0
        while True:
            tries += 1
            outcome = await self._try(exchange, call, reference)
            if outcome != "again":
                break
            ceiling = min(self._cap_s, self._base_s * 2.0 ** min(tries - 1, 20))
            await task.deferLater(self._clock, ceiling * (0.5 + 0.5 * self._random()), lambda: None)
        self._meter.count("screening_notes_total", outcome=outcome)
        if outcome != "stored":
            _log.error(
                "the result of screening {reference} could not be kept as a note: {outcome}",
                reference=reference,
                outcome=outcome,
            )

    async def _try(self, exchange: Exchange, call: Call, reference: str) -> str:
        """One delivery: "stored", "again", or why there is no use in another."""
        try:
            response = await self._ask(
                call,
                on_behalf_of=exchange,
                own="screening note",
                priority=Priority.WRITE,
                deadline=self._clock.seconds() + self._delivery_s,
                reference=reference,
            )
        except OutcomeUnknown:
            return "unknown"
        except ProxyError:
            return "again"
        if 200 <= response.status < 300:
            return "stored"
        if response.status in (401, 408, 429) or response.status >= 500:
            return "again"
        return "refused"

    async def idle(self) -> None:
        """Until every result that is held now has been stored or given up."""
        await DeferredList(list(self._delivering), consumeErrors=True)

    def stop(self) -> int:
        """Give up what is not stored; how many results that were."""
        lost = len(self._delivering)
        for work in list(self._delivering):
            work.cancel()
        return lost
