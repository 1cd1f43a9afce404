"""The processor of writes: an entry in the ledger before one is sent, one answer however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import NotSent, OutcomeUnknown, ProxyError, Refused
from ...interfaces import IMeter, IProcessor, Proceed
from ...messages import Exchange, Origin, Response
from . import outcomes
from .entries import Entries, Entry, State
from .fate import Absent, Fate
from .finding import Found, NotThere
from .keeping import Keeping
from .keys import is_kept, key_in
from .sightings import Sightings

_log = Logger()


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
    """Gives each write its one fate, and whoever asks again the same answer.

    :param later_s: seconds for which finding out goes on after the client was told.
    :param window_s: seconds for which an equal write counts as the retry of one whose client got no answer.
    """

    def __init__(
        self,
        clock: IReactorTime,
        entries: Entries,
        keeping: Keeping,
        fate: Fate,
        sightings: Sightings,
        later: Later,
        meter: IMeter,
        *,
        later_s: float = 600.0,
        window_s: float = 120.0,
    ) -> None:
        self._clock = clock
        self._entries = entries
        self._keeping = keeping
        self._fate = fate
        self._sightings = sightings
        self._later = later
        self._meter = meter
        self._later_s = later_s
        self._window_s = window_s
        self._finding: set[Deferred[None]] = set()
        self._keys: dict[bytes, bytes] = {}
        self._unknown: dict[bytes, Entry] = {}
        self._recovering: list[Deferred[None]] | None = []

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        call = exchange.call
        assert call is not None
        if self._recovering is not None and (call.operation is outcomes.OPERATION or call.operation.is_write):
            recovered: Deferred[None] = Deferred()
            self._recovering.append(recovered)
            await recovered
        if call.operation is outcomes.OPERATION:
            return await outcomes.answer(exchange, self._keeping)
        if not call.operation.is_write:
            return await proceed(exchange)
        equal = self._entries.equal_of(exchange)
        key = None if exchange.own else key_in(exchange.request.headers)
        if key is not None:
            return await self._keyed(exchange, proceed, equal, self._scoped(exchange, key))
        first = self._retry_of(exchange, equal)
        if first is not None:
            return await self._retried(exchange, proceed, first)
        return await self._first(exchange, proceed, equal, None)

    def _retry_of(self, exchange: Exchange, equal: bytes) -> Entry | None:
        if exchange.own:
            return None
        return self._entries.first_of(equal, self._entries.former_equals(exchange))

    def _scoped(self, exchange: Exchange, key: bytes, mac: Callable[[bytes], bytes] | None = None) -> bytes:
        assert exchange.call is not None
        if exchange.identity is not None:
            who: bytes | None = repr(exchange.identity.id).encode()
        else:  # with identity switched off nobody has made an HMAC of the credentials
            who = exchange.credentials or exchange.call.authorization
        return (mac or self._entries.mac)(b"key " + (who or b"") + b"\0" + key)

    async def _known(self, exchange: Exchange, equal: bytes, key: bytes) -> Entry | None:
        """The write under an Idempotency-Key, also if it was entered under another master key."""
        first = self._unknown.get(key) or await self._keeping.by_key(key)
        said = key_in(exchange.request.headers) or b""
        for mac in self._entries.former_macs:
            if first is None:
                former = self._scoped(exchange, said, mac)
                first = self._unknown.get(former) or await self._keeping.by_key(former)
                if first is not None and first.equal == self._entries.equal_of(exchange, mac):
                    first.equal = equal
        return first

    async def _keyed(self, exchange: Exchange, proceed: Proceed, equal: bytes, key: bytes) -> Response:
        """A write with an Idempotency-Key: at most once under it, whatever happens."""
        busy = self._keys.get(key)
        if busy is not None:
            if busy != equal:
                raise Refused(
                    "This Idempotency-Key belongs to another request.", status=422, field="Idempotency-Key"
                )
            raise Refused(
                "A request with this Idempotency-Key is in progress.", status=409, field="Idempotency-Key"
            )
        self._keys[key] = equal
        try:
            first = await self._known(exchange, equal, key)
            if first is None:
                return await self._first(exchange, proceed, equal, key)
            if first.equal != equal:
                raise Refused(
                    "This Idempotency-Key belongs to another request.", status=422, field="Idempotency-Key"
                )
            return await self._retried(exchange, proceed, first, key)
        finally:
            del self._keys[key]

    async def _retried(
        self, exchange: Exchange, proceed: Proceed, first: Entry, key: bytes | None = None
    ) -> Response:
        """Somebody asks again: what became of the first comes before anything is sent."""
        exchange.reference = first.reference
        first.retry = exchange
        try:
            await self._until_settled(first, exchange)
        finally:
            if first.is_open or first.state is State.GIVEN_UP:
                # This one, too, leaves without an answer: the next is a retry again.
                first.retry = None
                first.told_unknown = True
                first.ended = self._clock.seconds()
        if first.state in (State.ANSWERED, State.FOUND) and first.answer is not None:
            exchange.rule_hits.append("writes:joined" if key is None else "writes:replayed")
            exchange.outcome = "found" if first.state is State.FOUND else ""
            exchange.record_id = first.record or exchange.record_id
            self._meter.count("writes_total", outcome="replayed")
            return self._delivered(first, evolve(first.answer, origin=Origin.MEMORY))
        if first.state is not State.ABSENT:
            exchange.rule_hits.append("writes:joined" if key is None else "writes:replayed")
            raise OutcomeUnknown("Whether this was carried out is not known.", reference=first.reference)
        # Surely not carried out: it is sent anew, if anybody still waits for it. Else the next who asks sends it.
        exchange.reference = None
        if exchange.client_gone and key is None:
            raise NotSent("Nobody waits for this any more.")
        self._entries.hand_over(first)
        return await self._first(exchange, proceed, first.equal, key)

    async def _until_settled(self, first: Entry, exchange: Exchange) -> None:
        settled = first.settled()
        settled.addTimeout(
            max(0.0, exchange.deadline - 0.3 - self._clock.seconds()), self._clock, _not_in_time
        )
        await settled

    async def _first(self, exchange: Exchange, proceed: Proceed, equal: bytes, key: bytes | None) -> Response:
        """A write of its own."""
        entry = await self._entries.enter(exchange, equal, key)
        if exchange.look_first:
            entry.sent = self._clock.seconds()
        try:
            self._watch(entry)
            await self._keeping.enter(entry)
        except Exception:
            self._unwatch(entry)
            self._entries.hand_over(entry)
            self._entries.leave(entry, State.ABSENT)
            raise
        try:
            response = await self._fate.of(entry, proceed)
        except OutcomeUnknown as unknown:
            await self._told_unknown(entry, hopeless=unknown.hopeless)
            raise
        except Absent as absent:
            await self._ended(entry, State.ABSENT)
            if absent.answer is not None:
                return absent.answer
            raise
        except ProxyError:
            # Nothing was sent, or HOSP refused it and its words were lost: not carried out in either case.
            await self._ended(entry, State.ABSENT)
            raise
        except Exception:
            await self._ended(entry, State.GIVEN_UP)
            raise
        entry.answer = response
        found = State.FOUND if exchange.outcome == "found" else State.ANSWERED
        if entry.repeated:
            self._begin(self._look_for_another(entry))
        await self._ended(entry, found if is_kept(response) else State.ABSENT)
        return self._delivered(entry, response)

    def _delivered(self, entry: Entry, response: Response) -> Response:
        def handed_over(whole: bool) -> None:
            if not whole:
                entry.lost = True
                entry.retry = None
                return
            self._entries.hand_over(entry)
            self._keeping.hand_over(entry)

        return response if entry.exchange.own else evolve(response, handed_over=handed_over)

    async def _ended(self, entry: Entry, state: State) -> None:
        """It is settled, and on disk as such before the answer may leave."""
        await self._keeping.close(entry, state)
        self._unwatch(entry)
        self._entries.leave(entry, state)

    def _watch(self, entry: Entry) -> None:
        operation = entry.call.operation
        if operation.resource is None:
            return
        if operation.lookup is not None:
            entry.floor = self._sightings.open(operation.resource, entry.reference)
        else:
            self._sightings.touch(operation, entry.call.record_id)

    def _unwatch(self, entry: Entry) -> None:
        operation = entry.call.operation
        if operation.resource is not None and operation.lookup is not None:
            self._sightings.close(operation.resource, entry.reference)

    async def _told_unknown(self, entry: Entry, *, hopeless: bool) -> None:
        """The client is told "unknown": nothing is sent any more, only found out."""
        if entry.exchange.own:
            # A screening's note: whoever delivers it asks again, and looks first.
            await self._ended(entry, State.GIVEN_UP)
            return
        self._entries.tell_unknown(entry)
        await self._keeping.tell_unknown(entry)
        self._go_on_finding(entry, 0.0 if hopeless else self._later_s)

    def _go_on_finding(self, entry: Entry, for_s: float) -> None:
        if entry.key is not None:
            self._unknown[entry.key] = entry
        self._begin(self._found_later(entry, for_s))

    def _begin(self, finding: Coroutine[Any, Any, None]) -> None:
        """Something that goes on after the answer."""

        def over(result: object) -> None:
            self._finding.discard(work)
            if isinstance(result, Failure) and not result.check(CancelledError):
                _log.failure("finding out about a write failed", result)
                self._meter.count("unhandled_errors_total")

        work = Deferred.fromCoroutine(finding)
        self._finding.add(work)
        work.addBoth(over)

    async def _look_for_another(self, entry: Entry) -> None:
        """It was sent again, a look having said "absent": should the first be carried out later still, say so."""
        resource, watch = entry.call.operation.resource, f"{entry.reference}/again"
        if resource is None:
            return
        # Until then it must be known which records are others'.
        self._sightings.resume(resource, watch, entry.floor)
        try:
            ids = await self._fate.all_of(entry)
        finally:
            self._sightings.close(resource, watch)
        if len(ids) < 2:
            return
        told = ", ".join(ids)
        _log.critical("{reference} was carried out twice: {ids}", reference=entry.reference, ids=told)
        self._meter.count("writes_total", outcome="twice")
        await self._later.record(entry.exchange, entry.reference, f"carried out twice: {told}")

    async def _found_later(self, entry: Entry, for_s: float) -> None:
        verdict = None
        if for_s > 0 and entry.sent is not None:
            verdict = await self._fate.later(entry, for_s)
        if entry.key is not None:
            self._unknown.pop(entry.key, None)
        state = State.FOUND if isinstance(verdict, Found) else State.GIVEN_UP
        if isinstance(verdict, NotThere):
            state = State.ABSENT
        await self._ended(entry, state)
        self._later.forget(entry.exchange)
        await self._later.record(entry.exchange, entry.reference, state.value)

    async def recover(self) -> list[Exchange]:
        """Take over what earlier processes left: their writes are found out about, and never sent.

        Until it is done no write begins: it may be the retry of one of these.

        :return: screenings whose notes are still to be delivered.
        """
        try:
            return await self._taken_over()
        finally:
            waiting, self._recovering = self._recovering or [], None
            for recovered in waiting:
                recovered.callback(None)

    async def _taken_over(self) -> list[Exchange]:
        screenings = []
        taken = await self._keeping.take_over()
        for entry, kind in taken:
            if kind == "screening":
                screenings.append(entry.exchange)
            else:
                self._entries.resume(entry)
                await self._remember_others(entry)
        for entry, kind in taken:
            # Not before all are known: a look for one shows records that may be another's.
            if kind != "screening":
                self._go_on_finding(entry, self._later_s)
        for entry in await self._keeping.undelivered(self._window_s):
            self._entries.resume(entry)
        if taken:
            _log.info("took over {count} entries of earlier processes", count=len(taken))
        return screenings

    async def _remember_others(self, entry: Entry) -> None:
        """What an earlier process knew of records that cannot be this entry's."""
        resource = entry.call.operation.resource
        if resource is not None and entry.call.operation.lookup is not None:
            self._sightings.resume(resource, entry.reference, entry.floor)
        for kind, number, reference in await self._keeping.later_records(entry):
            assert resource is not None
            if kind == "create":
                self._sightings.claim(resource, int(number) if number.isdigit() else number, reference)
            else:
                self._sightings.touch(entry.call.operation, number)

    async def tidy(self) -> None:
        """Wipe and forget what is past its time; to be called now and then."""
        self._entries.tidy()
        await self._keeping.tidy(self._window_s)

    def stop(self) -> None:
        """End what is still being found out; the next process goes on with it."""
        for work in list(self._finding):
            work.cancel()


def _not_in_time(_result: object, _timeout: float) -> None:
    """The first is still open at the retry's deadline: it is told "unknown", as the first was."""
