"""Each write has one fate: carried out once, surely not carried out, or honestly unknown."""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec
from attrs import frozen
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...answers import Answers
from ...contract import Contract
from ...errors import BadAnswer, FailedAfterSending, OutcomeUnknown, ProxyError
from ...interfaces import IMeter, IProcessor, Proceed
from ...messages import Exchange, Response
from .finding import Found, NotKnowable, NotThere, Verdict
from .looking import Looking, Undecided
from .sightings import Sightings
from .turns import Entry, Ledger, State

_log = Logger()

Result = Response | FailedAfterSending | BadAnswer


class Certainty(enum.Enum):
    """What the outcome of one try says of the write."""

    CERTAIN = "certain"
    FINISHED = "finished"
    """HOSP has finished with it, but did it store it? One look begun now decides."""
    OPEN = "open"
    """HOSP may be at it yet: only a look begun late enough says that it is absent."""


def certainty(result: Result) -> Certainty:
    """What a try that was sent came to.

    :param result: a whole answer, or the failure that came in its place.
    """
    if isinstance(result, Response):
        return _by_status(result.status, whole=True)
    if result.head_status is None:
        return Certainty.OPEN
    return _by_status(result.head_status, whole=False)


def _by_status(status: int, *, whole: bool) -> Certainty:
    if status in (408, 502, 503, 504):
        return Certainty.OPEN
    if status >= 500 or (status < 400 and not whole):
        return Certainty.FINISHED
    return Certainty.CERTAIN


@frozen(slots=True)
class Later:
    """Whom to tell when a write whose client was told "unknown" is found, or found absent, later.

    :param forget: what the write made stale is stale again, and its account is settled.
    :param record: keep the finding: exchange of the write, its reference, what was found.
    """

    forget: Callable[[Exchange], None]
    record: Callable[[Exchange, str, str], Deferred[None]]


@implementer(IProcessor)
class Writes:
    """Sends writes, and finds out what became of those whose answer was lost.

    :param margin_s: seconds before an exchange's deadline at which its client is told.
    :param later_s: seconds for which finding out goes on after the client was told.
    :param max_sends: times that one write is sent, if it is surely absent in between.
    """

    def __init__(
        self,
        contract: Contract,
        answers: Answers,
        clock: IReactorTime,
        ledger: Ledger,
        looking: Looking,
        sightings: Sightings,
        later: Later,
        meter: IMeter,
        *,
        margin_s: float = 0.3,
        later_s: float = 600.0,
        max_sends: int = 3,
    ) -> None:
        self._contract = contract
        self._answers = answers
        self._clock = clock
        self._ledger = ledger
        self._looking = looking
        self._sightings = sightings
        self._later = later
        self._meter = meter
        self._margin_s = margin_s
        self._later_s = later_s
        self._max_sends = max_sends
        self._finding: set[Deferred[None]] = set()

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        assert exchange.call is not None
        if not exchange.call.operation.is_write:
            return await proceed(exchange)
        entry, before = await self._ledger.enter(exchange)
        if before is not None and before.state is State.FOUND and before.record is not None:
            return self._joined(entry, before)
        self._open(entry)
        try:
            response = await self._fate(entry, proceed)
        except OutcomeUnknown:
            exchange.reference = entry.reference
            self._go_on_finding(entry)
            raise
        except BaseException:
            self._close(entry, State.SETTLED)
            raise
        self._close(entry, State.SETTLED)
        return response

    def _open(self, entry: Entry) -> None:
        operation = entry.call.operation
        if operation.resource is None:
            return
        if operation.lookup is not None:
            entry.floor = self._sightings.open(operation.resource, entry.reference)
        else:
            self._sightings.touch(operation, entry.call.record_id)

    def _close(self, entry: Entry, state: State) -> None:
        entry.state = state
        operation = entry.call.operation
        if operation.resource is not None and operation.lookup is not None:
            self._sightings.close(operation.resource, entry.reference)
        self._ledger.leave(entry)

    def _joined(self, entry: Entry, before: Entry) -> Response:
        """This one waited for an equal write whose client had been told "unknown", and which was found: its retry."""
        exchange = entry.exchange
        exchange.rule_hits.append("writes:joined")
        exchange.reference = before.reference
        entry.record, entry.state = before.record, State.FOUND
        self._ledger.leave(entry)
        return self._as_answer(entry, Found(before.record or {}))

    async def _fate(self, entry: Entry, proceed: Proceed) -> Response:
        sends = 0
        while True:
            sends += 1
            result = await self._send(entry, proceed)
            sure = certainty(result)
            if sure is Certainty.CERTAIN:
                return self._settled(entry, result, sends)
            verdict = await self._find(entry, result, may_be_late=sure is Certainty.OPEN)
            if isinstance(verdict, Found):
                self._meter.count("writes_total", outcome="found")
                entry.exchange.outcome = "found"
                return self._as_answer(entry, verdict)
            assert isinstance(verdict, NotThere)
            if sends >= self._max_sends or not self._time_left(entry, 0.5):
                return self._absent(entry, result)
            self._meter.count("retries_total", reason="absent")
            await task.deferLater(self._clock, 0.05 * sends, lambda: None)

    async def _send(self, entry: Entry, proceed: Proceed) -> Result:
        """One try.

        :raise ProxyError: nothing was sent (and an earlier try, if any, was found absent).
        """
        exchange = entry.exchange
        exchange.sent_at = None
        try:
            result: Result = await proceed(exchange)
        except (FailedAfterSending, BadAnswer) as error:
            result = error
        entry.sent = self._clock.seconds() if exchange.sent_at is None else exchange.sent_at
        return result

    async def _find(self, entry: Entry, result: Result, *, may_be_late: bool) -> Verdict:
        """Found or surely absent.

        :raise OutcomeUnknown: neither, in time.
        """
        try:
            verdict = await self._looking.find(
                entry, may_be_late=may_be_late, deadline=entry.exchange.deadline - self._margin_s
            )
        except Undecided:
            verdict = NotKnowable("there was no time to find out")
            entry.state = State.UNKNOWN
        if not isinstance(verdict, NotKnowable):
            return verdict
        self._meter.count("writes_total", outcome="unknown")
        timed_out = isinstance(result, FailedAfterSending) and result.timed_out
        raise OutcomeUnknown(
            f"Whether this was carried out is not known: {verdict.why}.",
            reference=entry.reference,
            timed_out=timed_out,
        )

    def _settled(self, entry: Entry, result: Result, sends: int) -> Response:
        operation = entry.call.operation
        self._meter.count("writes_total", outcome="answered")
        if not isinstance(result, Response):
            # The head was whole and refused the write; only its body is lost.
            raise ProxyError("HOSP refused this, and its words were lost.", status=result.head_status or 502)
        if operation.action == "delete" and result.status == 404 and sends > 1:
            return self._answers.deleted()
        if operation.lookup is not None and operation.resource is not None and 200 <= result.status < 300:
            number = self._id_in(operation.resource, result)
            if number is not None:
                self._sightings.claim(operation.resource, number, entry.reference)
                entry.exchange.record_id = str(number)
        return result

    def _absent(self, entry: Entry, result: Result) -> Response:
        """Surely not carried out, and no time to try again: HOSP's own failure is the honest answer."""
        self._meter.count("writes_total", outcome="absent")
        entry.exchange.outcome = "not carried out"
        if isinstance(result, Response):
            return result
        raise ProxyError("This was not carried out: HOSP failed.", status=result.status, retry_after_s=2)

    def _as_answer(self, entry: Entry, verdict: Found) -> Response:
        operation = entry.call.operation
        if operation.action == "delete":
            return self._answers.deleted()
        record = dict(verdict.record)
        entry.record = record
        if operation.lookup is None:
            return self._answers.record(record)
        if operation.resource is not None:
            entry.exchange.record_id = str(record.get(self._contract.resources[operation.resource].id))
        return self._answers.found(operation, record, entry.exchange.request.client)

    def _time_left(self, entry: Entry, least_s: float) -> bool:
        return self._clock.seconds() + least_s < entry.exchange.deadline - self._margin_s

    def _id_in(self, resource: str, response: Response) -> int | str | None:
        try:
            record = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        number = record.get(self._contract.resources[resource].id) if isinstance(record, dict) else None
        return number if isinstance(number, (int, str)) and not isinstance(number, bool) else None

    def _go_on_finding(self, entry: Entry) -> None:
        """The client has been told "unknown": never send again, only find out."""

        def over(result: object) -> None:
            self._finding.discard(work)
            if isinstance(result, Failure) and not result.check(CancelledError):
                _log.failure("finding out about a write failed", result)
                self._meter.count("unhandled_errors_total")

        work = Deferred.fromCoroutine(self._found_later(entry))
        self._finding.add(work)
        work.addBoth(over)

    async def _found_later(self, entry: Entry) -> None:
        state = State.SETTLED
        try:
            if entry.state is State.UNKNOWN and entry.sent is not None:
                verdict = await self._looking.find(
                    entry, may_be_late=True, deadline=self._clock.seconds() + self._later_s
                )
                state = {Found: State.FOUND, NotThere: State.ABSENT}.get(type(verdict), State.SETTLED)
                if isinstance(verdict, Found):
                    entry.record = dict(verdict.record)
        except Undecided:
            pass
        finally:
            self._close(entry, state)
            self._later.forget(entry.exchange)
        found = {State.FOUND: "found", State.ABSENT: "absent"}.get(state, "unknown")
        await self._later.record(entry.exchange, entry.reference, found)

    def stop(self) -> None:
        """End what is still being found out; what is not known by now stays unknown."""
        for work in list(self._finding):
            work.cancel()
