"""Stores screening results, which HOSP forgets, as notes on their patient, after the user has the response.

A result that is too long for one note becomes several.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import msgspec
from attrs import define, evolve
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..contract.contract import Contract, NoteShape
from ..exchange.exchange import Call, Exchange, Identified
from ..http.errors import OutcomeUnknown, OverCapacity, OwnNotRecorded, ProxyError
from ..http.messages import ABSENT, Identity, Priority, Request, Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import Ask, IMeter, IProcessor, Proceed
from ..options.sections import ScreeningSettings
from ..process.background import Background
from .note_text import NoteText, note_texts

_log = Logger()


class ScreeningResultStore(Protocol):
    """Stores results safely until their notes are at HOSP."""

    async def keep(self, notes: Sequence[Identified]) -> None:
        """Store the notes of a result before the user gets the response: all of them or none."""

    async def stored(self, note: Identified) -> None:
        """HOSP has stored this note, so it need not be kept any longer."""

    async def refused(self, note: Identified) -> None:
        """HOSP refuses this note: keep it for its author."""


@define(slots=True, eq=False)
class Note:
    """A note that holds a screening result and is not stored at HOSP yet.

    :param exchange: of the proxy's own, in the name of the user who requested the screening.
    :param look_first: an earlier delivery may have stored it.
    """

    exchange: Identified
    look_first: bool = False

    @property
    def author(self) -> str:
        """Id of the user; "" if the ledger does not know it."""
        who = self.exchange.identity
        return "" if who is None else str(who.id)

    @property
    def reference(self) -> str | None:
        return self.exchange.trace.reference

    def use(self, authorization: bytes | None) -> None:
        """Deliver it with these credentials from now on."""
        self.exchange = self.exchange.with_call(evolve(self.exchange.call, authorization=authorization))


@implementer(IProcessor)
class ScreeningNotes:
    """Passes the response on unchanged, and delivers its notes in the background.

    :param ask: ``OwnRequests.ask``.
    :param results: stores a result safely until its note is stored at HOSP.
    :param reference: makes a unique reference.
    :param random: returns numbers from 0 to 1.
    :param settings: beyond ``max_pending`` notes a screening is refused before it is sent; the backoff doubles from
        ``retry_base_s`` up to ``retry_cap_s``.
    :param delivery_s: maximum seconds of one delivery, including its looks.
    """

    def __init__(
        self,
        contract: Contract,
        ask: Ask,
        results: ScreeningResultStore,
        clock: IReactorTime,
        reference: Callable[[], str],
        random: Callable[[], float],
        meter: IMeter,
        settings: ScreeningSettings,
        *,
        delivery_s: float = 600.0,
    ) -> None:
        self._contract = contract
        self._ask = ask
        self._results = results
        self._clock = clock
        self._reference = reference
        self._random = random
        self._meter = meter
        self._settings = settings
        self._delivery_s = delivery_s
        self._reserved = 0
        self._pending = 0
        self._background = Background(
            _log, "storing a screening result as a note failed; this is a bug: report the traceback", meter
        )
        self._undelivered: dict[str, dict[str | None, Note]] = {}
        self._locked_out: dict[str, list[Deferred[bytes | None]]] = {}
        meter.gauge("screening_pending", lambda: float(self.pending))

    def reload(self, settings: ScreeningSettings) -> None:
        """Apply the changed limits to screenings from now on."""
        self._settings = settings

    @property
    def pending(self) -> int:
        """Number of notes that are not stored at HOSP yet."""
        return self._pending

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        shape, author = exchange.call.operation.becomes_note, exchange.identity
        if shape is None or author is None:
            return await proceed(exchange)
        if self.pending + self._reserved >= self._settings.max_pending:
            raise OverCapacity(
                "Too many screening results are waiting to be stored; nothing was sent.", retry_after_s=30
            )
        self._reserved += 1
        try:
            response = await proceed(exchange)
        finally:
            self._reserved -= 1
        if response.status == 200:
            await self._kept(self._notes_of(exchange, author, shape, response))
        return response

    def passes(self, exchange: Identified) -> bool:
        """Only a screening becomes a note."""
        return exchange.call.operation.becomes_note is None

    def repeat(self, exchange: Exchange, _response: Response) -> Repeat | None:
        """Only a screening becomes a note."""
        call = exchange.trace.call
        return ALWAYS if call is not None and call.operation.becomes_note is None else None

    async def _kept(self, notes: list[Note]) -> None:
        """Wait until a result is stored. If the client leaves meanwhile, it is stored and delivered all the same.

        :raise LedgerFailed: it is not stored.
        """
        kept: Deferred[None] = Deferred()

        async def keep() -> None:
            try:
                await self._results.keep([note.exchange for note in notes])
            except Exception as error:
                if not kept.called:
                    kept.errback(error)
                if isinstance(error, ProxyError):
                    return
                raise
            if not kept.called:
                kept.callback(None)
            await self._deliver_all(notes)

        self._begin(keep(), len(notes))
        await kept

    def _notes_of(
        self, exchange: Identified, author: Identity, shape: NoteShape, response: Response
    ) -> list[Note]:
        """The notes of a result, in the name of the user who requested the screening."""
        try:
            answer = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            answer = None
        if not isinstance(answer, dict):
            answer = {shape.overall: response.body.decode("utf-8", "replace")}
        reference = exchange.trace.reference = self._reference()
        return [self._note(exchange, author, shape, text) for text in note_texts(shape, answer, reference)]

    def _note(self, exchange: Identified, author: Identity, shape: NoteShape, text: NoteText) -> Note:
        patient = exchange.call.path[0]
        document = {
            shape.patient: int(patient) if patient.isdigit() else patient,
            shape.author: author.id,
            shape.title: text.title,
            shape.body: text.body,
        }
        operation = self._contract.operation(shape.operation)
        call = Call(operation, document=document, accept="json", authorization=exchange.call.authorization)
        apart = exchange.apart()
        apart.trace.call, apart.trace.sent, apart.trace.reference = call, ABSENT, text.reference
        apart.trace.rule_hits, apart.trace.looks = [], 0
        return Note(
            evolve(
                apart,
                # Not the original request: it holds the images.
                request=Request(method=operation.method, client=exchange.request.client),
                sent=ABSENT,
                call=call,
                own="screening note",
                on_behalf_of=exchange.request.client.request_id,
            )
        )

    def resume(self, exchange: Identified) -> None:
        """Continue with a note of an earlier process. It may already be at HOSP."""
        self._begin(self._deliver_all([Note(exchange, look_first=True)]), 1)

    def accepted(self, identity: Identity, authorization: bytes | None) -> None:
        """HOSP has accepted credentials of this member of staff: deliver the results that waited for them.

        Deliveries in progress use them from their next attempt on, because HOSP may refuse their looks with the old
        ones.
        """
        for note in self._undelivered.get(str(identity.id), {}).values():
            note.use(authorization)
        for waiter in self._locked_out.pop(str(identity.id), []):
            if not waiter.called:
                waiter.callback(authorization)

    def _begin(self, work: Coroutine[Any, Any, None], notes: int) -> None:
        def over(_: object) -> None:
            self._pending -= notes

        self._pending += notes
        self._background.run(work, over)

    async def _deliver_all(self, notes: Sequence[Note]) -> None:
        """Store the notes of one result at HOSP, in order."""
        # The user's response goes first.
        await task.deferLater(self._clock, 0, lambda: None)
        for note in notes:
            self._undelivered.setdefault(note.author, {})[note.reference] = note
        try:
            for note in notes:
                await self._deliver(note)
                self._forget(note)
        finally:
            for note in notes:
                self._forget(note)

    def _forget(self, note: Note) -> None:
        of_author = self._undelivered.get(note.author, {})
        of_author.pop(note.reference, None)
        if not of_author:
            self._undelivered.pop(note.author, None)

    async def _deliver(self, note: Note) -> None:
        """Store one note at HOSP, however long it takes: a failing HOSP must not lose a result."""
        tries = 0
        while True:
            tries += 1
            outcome = await self._try(note)
            if outcome in ("stored", "refused"):
                break
            if outcome == "locked out":
                await self._let_in_again(note)
                continue
            settings = self._settings
            ceiling = min(settings.retry_cap_s, settings.retry_base_s * 2.0 ** min(tries - 1, 20))
            await task.deferLater(self._clock, ceiling * (0.5 + 0.5 * self._random()), lambda: None)
        self._meter.count("screening_notes_total", outcome=outcome)
        if outcome == "stored":
            await self._results.stored(note.exchange)
            return
        await self._results.refused(note.exchange)
        _log.error(
            "screening {reference}: HOSP refused the note. "
            "Its author can fetch it at /.hospproxy/outcomes/{reference}",
            reference=note.reference,
        )

    async def _try(self, note: Note) -> str:
        """Make one delivery: "stored", "again", "locked out", or "refused" for good."""
        call = note.exchange.call
        try:
            response = await self._ask(
                call,
                on_behalf_of=note.exchange,
                own="screening note",
                priority=Priority.WRITE,
                deadline=self._clock.seconds() + self._delivery_s,
                reference=note.reference,
                look_first=note.look_first,
            )
        except (OutcomeUnknown, OwnNotRecorded):
            # It may be stored by now, so every further delivery looks before it sends.
            note.look_first = True
            return "again"
        except ProxyError:
            return "again"
        if 200 <= response.status < 300:
            return "stored"
        if response.status == 401:
            return "locked out" if note.exchange.call is call else "again"
        if response.status in (408, 429) or response.status >= 500:
            return "again"
        return "refused"

    async def _let_in_again(self, note: Note) -> None:
        """Wait until the same member of staff, never another, calls with credentials that HOSP accepts."""
        waiter: Deferred[bytes | None] = Deferred()
        self._locked_out.setdefault(note.author, []).append(waiter)
        note.use(await waiter)

    async def idle(self) -> None:
        """Wait until every current result is stored or given up."""
        await self._background.idle()

    def stop(self) -> int:
        """Stop delivering; the next process continues. Returns the number of notes left."""
        left = self._pending
        self._background.stop()
        return left
