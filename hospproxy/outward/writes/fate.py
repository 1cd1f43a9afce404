"""Sends a write until its outcome is known: carried out once, surely not carried out, or unknown."""

from __future__ import annotations

import enum

import msgspec
from twisted.internet import task
from twisted.internet.interfaces import IReactorTime

from ...contract.contract import Contract
from ...exchange.answers import ProxyResponses
from ...exchange.exchange import Identified
from ...http.errors import BadAnswer, FailedAfterSending, OutcomeUnknown, ProxyError
from ...http.messages import Response
from ...interfaces import IMeter, Proceed
from .entry import WriteEntry
from .looks import LookUndecided, WriteLooks
from .seen_ids import SeenIds
from .verdict import Found, NotKnowable, NotThere, Verdict

Result = Response | FailedAfterSending | BadAnswer


class SendCertainty(enum.Enum):
    """What the outcome of one attempt says about the write."""

    CERTAIN = "certain"
    FINISHED = "finished"
    """HOSP has finished, but may or may not have stored the write. One look that begins now decides."""
    OPEN = "open"
    """HOSP may still carry it out: only a look that begins late enough can call it absent."""


def certainty(result: Result) -> SendCertainty:
    """Certainty after an attempt that was sent.

    :param result: a complete response, or the failure in its place.
    """
    if isinstance(result, Response):
        return _by_status(result.status, whole=True)
    if result.head_status is None:
        return SendCertainty.OPEN
    return _by_status(result.head_status, whole=False)


def _by_status(status: int, *, whole: bool) -> SendCertainty:
    if status in (408, 502, 503, 504):
        return SendCertainty.OPEN
    if status >= 500 or (status < 400 and not whole):
        return SendCertainty.FINISHED
    return SendCertainty.CERTAIN


class WriteAbsent(ProxyError):
    """The write was surely not carried out, and there is no time, or no right, to send it again.

    :param answer: HOSP's own error response, if it gave one.
    """

    outcome = "not carried out"

    def __init__(self, result: Result) -> None:
        super().__init__(
            "This was not carried out: the upstream server failed.", status=result.status, retry_after_s=2
        )
        self.answer = result if isinstance(result, Response) else None


def _landed(entry: WriteEntry, verdict: Verdict) -> None:
    """Clear ``pending`` if the verdict shows that nothing of the write is still to come."""
    if isinstance(verdict, NotThere) or (isinstance(verdict, Found) and verdict.landed):
        entry.pending = False


class WriteSender:
    """Sends one write until its outcome is known.

    :param margin_s: seconds before an exchange's deadline at which its client is told.
    :param max_sends: how often one write may be sent, if it is surely absent in between.
    """

    def __init__(
        self,
        contract: Contract,
        answers: ProxyResponses,
        clock: IReactorTime,
        looking: WriteLooks,
        sightings: SeenIds,
        meter: IMeter,
        *,
        margin_s: float = 0.3,
        max_sends: int = 3,
    ) -> None:
        self._contract = contract
        self._answers = answers
        self._clock = clock
        self._looking = looking
        self._sightings = sightings
        self._meter = meter
        self._margin_s = margin_s
        self._max_sends = max_sends

    async def of(self, entry: WriteEntry, proceed: Proceed) -> Response:
        """Send the write and find out its outcome.

        :raise OutcomeUnknown: neither surely carried out nor surely absent, in time.
        :raise Absent: surely not carried out, and not sent again.
        :raise ProxyError: nothing was ever sent; or HOSP refused it, and the error message was lost.
        """
        if entry.sent is not None:
            # An earlier process may have sent it: find out what became of that first.
            entry.pending = True
            found = await self._find(entry, None, may_be_late=True)
            if isinstance(found, Found):
                return self.as_answer(entry, found)
            if entry.blind:
                # From here on, the time of sending is known.
                entry.blind, entry.started = False, self._clock.seconds()
                self._looking.begin(entry)
        sends = 0
        while True:
            sends += 1
            result = await self._send(entry, proceed)
            sure = certainty(result)
            if sure is SendCertainty.CERTAIN:
                return self._settled(entry, result, sends)
            verdict = await self._find(entry, result, may_be_late=sure is SendCertainty.OPEN)
            if isinstance(verdict, Found):
                self._meter.count("writes_total", outcome="found")
                entry.exchange.trace.outcome = "found"
                return self.as_answer(entry, verdict)
            if sends >= self._max_sends or not self._may_send_again(entry):
                self._meter.count("writes_total", outcome="absent")
                entry.exchange.trace.outcome = WriteAbsent.outcome
                raise WriteAbsent(result)
            entry.repeated = entry.repeated or sure is SendCertainty.OPEN
            self._meter.count("retries_total", reason="absent")
            await task.deferLater(self._clock, 0.05 * sends, lambda: None)

    def _may_send_again(self, entry: WriteEntry) -> bool:
        """Whether there is time, and the client still waits or has a key to ask again with."""
        exchange = entry.exchange
        wanted = bool(exchange.own) or not exchange.presence.gone or entry.key is not None
        return wanted and self._clock.seconds() + 0.5 < exchange.deadline - self._margin_s

    async def _send(self, entry: WriteEntry, proceed: Proceed) -> Result:
        """Make one attempt to send the write.

        :raise ProxyError: nothing was sent (and an earlier attempt, if any, was found absent).
        """
        exchange = entry.exchange
        exchange.last_attempt.sent_at = None
        entry.sent, entry.pending = self._clock.seconds(), True
        try:
            result: Result = await proceed(exchange)
        except (FailedAfterSending, BadAnswer) as error:
            result = error
        except ProxyError:
            entry.pending = False
            raise
        # HOSP could receive bytes of it until the connection had ended or HOSP had responded.
        entry.sent = self._clock.seconds()
        entry.pending = certainty(result) is SendCertainty.OPEN
        return result

    async def _find(self, entry: WriteEntry, result: Result | None, *, may_be_late: bool) -> Verdict:
        """Look until the write is found or surely absent.

        :raise OutcomeUnknown: neither, in time.
        """
        try:
            verdict: Verdict | None = NotKnowable("the writes of other workers cannot be seen")
            if entry.trusted:
                verdict = await self._looking.find(
                    entry, may_be_late=may_be_late, deadline=entry.exchange.deadline - self._margin_s
                )
            why = verdict.why if isinstance(verdict, NotKnowable) else ""
        except LookUndecided:
            verdict, why = None, "there was no time left to find out"
        if isinstance(verdict, Found | NotThere):
            _landed(entry, verdict)
            return verdict
        self._meter.count("writes_total", outcome="unknown")
        entry.exchange.trace.reference = entry.reference
        raise OutcomeUnknown(
            f"It is not known whether this was carried out: {why}.",
            reference=entry.reference,
            timed_out=isinstance(result, FailedAfterSending) and result.timed_out,
            hopeless=verdict is not None,
        )

    async def later(self, entry: WriteEntry, for_s: float) -> Verdict | None:
        """Keep looking after the client was told "unknown". Sends nothing.

        :param for_s: maximum seconds.
        :return: None if it could not be decided.
        """
        try:
            verdict = await self._looking.find(
                entry, may_be_late=True, deadline=self._clock.seconds() + for_s
            )
        except LookUndecided:
            return None
        _landed(entry, verdict)
        if isinstance(verdict, Found):
            entry.answer = self.as_answer(entry, verdict)
        return verdict

    def begin(self, entry: WriteEntry) -> None:
        """It is the write's turn: note what is known before it is sent."""
        self._looking.begin(entry)

    def left(self, entry: WriteEntry) -> float:
        """Seconds that HOSP must still work until it can no longer carry out a settled write; 0 or less: it cannot."""
        return self._looking.left(entry) if entry.pending else 0.0

    async def was_overwritten(self, exchange: Identified, answer: Response) -> bool | None:
        """Whether somebody has changed the record of a PATCH since HOSP answered it; None: HOSP does not say now."""
        return await self._looking.was_overwritten(exchange, answer)

    async def all_of(self, entry: WriteEntry) -> list[str]:
        """Ids of all records that may be this write's, read when HOSP can no longer carry it out."""
        return await self._looking.all_of(entry)

    def _settled(self, entry: WriteEntry, result: Result, sends: int) -> Response:
        operation = entry.call.operation
        self._meter.count("writes_total", outcome="answered")
        if not isinstance(result, Response):
            # The head is complete and refuses the write; only its body is lost.
            raise ProxyError(
                "The upstream server rejected this request; its error message was lost.",
                status=result.head_status or 502,
            )
        if operation.action == "delete" and result.status == 404 and sends > 1 and entry.exchange.trace.shown:
            # The look in between saw the record, so an earlier attempt has deleted it after all.
            return self._answers.deleted()
        if operation.lookup is not None and operation.resource is not None and 200 <= result.status < 300:
            number = self._id_in(operation.resource, result)
            if number is not None:
                self._sightings.claim(operation.resource, number, entry.reference, lasting=True)
                entry.record = entry.exchange.trace.record_id = str(number)
        return result

    def as_answer(self, entry: WriteEntry, found: Found) -> Response:
        """The response that HOSP would have given to a write that was carried out."""
        operation = entry.call.operation
        if operation.action == "delete":
            return self._answers.deleted()
        record = dict(found.record)
        if operation.lookup is None:
            return self._answers.record(record)
        if operation.resource is not None:
            entry.record = str(record.get(self._contract.resources[operation.resource].id))
            entry.exchange.trace.record_id = entry.record
        return self._answers.found(operation, record, entry.exchange.request.client)

    def _id_in(self, resource: str, response: Response) -> int | str | None:
        try:
            record = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        number = record.get(self._contract.resources[resource].id) if isinstance(record, dict) else None
        return number if isinstance(number, (int, str)) and not isinstance(number, bool) else None
