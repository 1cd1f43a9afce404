"""The processor of writes: stores an entry before a write is sent, and gives every retry the same response."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ...exchange.exchange import Identified
from ...http.errors import NotSent, OutcomeUnknown, ProxyError
from ...http.messages import Origin, Response
from ...interfaces import IMeter, IProcessor, Proceed
from . import outcomes
from .background import LateOutcomes, LateWork
from .claims import ClaimedElsewhere, Claims, NoClaims
from .duplicates import Duplicates
from .elsewhere import OtherWorkers
from .entries import WriteEntries
from .entry import WriteEntry, WriteNames, WriteState
from .fate import WriteAbsent, WriteSender
from .kept_turns import WriteTurns
from .keys import another, busy, is_kept, key_in, scoped
from .ledger_entries import LedgerEntries
from .recovery import Recovery
from .seen_ids import SeenIds
from .verdict import Found, NotThere
from .visible_records import VisibleRecords

_SAID_ALREADY = frozenset({WriteState.ANSWERED, WriteState.FOUND})
"""States in which all is known about a key. If the write is absent or given up, another worker may know more."""


@implementer(IProcessor)
class Writes:
    """Gives each write one outcome, and each of its retries the same response.

    :param shown: which records HOSP has shown to whom.
    :param later: callbacks for an outcome that is found out later.
    :param later_s: seconds for which the proxy keeps looking after the client was told "unknown".
    :param window_s: seconds for which an equal write counts as the retry of one whose client got no response.
    :param claims: what other workers and machines write.
    """

    def __init__(
        self,
        clock: IReactorTime,
        entries: WriteEntries,
        keeping: LedgerEntries,
        fate: WriteSender,
        sightings: SeenIds,
        shown: VisibleRecords,
        later: LateOutcomes,
        meter: IMeter,
        *,
        later_s: float = 600.0,
        window_s: float,
        claims: Claims | None = None,
    ) -> None:
        self._clock = clock
        self._entries = entries
        self._keeping = keeping
        self._fate = fate
        self._sightings = sightings
        self._shown = shown
        self._later = later
        self._meter = meter
        self._later_s = later_s
        self._window_s = window_s
        self._claims = claims or NoClaims()
        self._others = OtherWorkers(
            self._claims, entries, fate, sightings, keeping, clock, meter, window_s=window_s
        )
        self._late_work = LateWork(meter)
        self._turns = WriteTurns(
            clock, entries, keeping, fate, self._claims, self._late_work, self._may_have_landed
        )
        self._recovery = Recovery(
            clock, entries, keeping, sightings, self._claims, self._turns, window_s=window_s
        )
        self._duplicates = Duplicates(fate, sightings, later, meter)
        self._keys: dict[bytes, bytes] = {}
        self._unknown: dict[bytes, WriteEntry] = {}

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        if self.passes(exchange):
            return await proceed(exchange)
        await self._recovery.wait(exchange)
        if exchange.call.operation is outcomes.OPERATION:
            return await outcomes.answer(exchange, self._keeping, self._claims)
        equal = self._entries.equal_of(exchange)
        if exchange.own:
            # A screening's note contains its own reference: no other worker need know about it.
            return await self._first(exchange, proceed, equal, None, None)
        if (key := key_in(exchange.request.headers)) is not None:
            whole = scoped(exchange, key)
            names = self._entries.names_of(exchange, whole)
            return await self._keyed(exchange, proceed, equal, self._entries.mac(whole), names)
        if self._entries.was_asked_again(exchange, equal):
            raise NotSent("The client has left and asked again, so nothing was sent.")
        names = self._entries.names_of(exchange)
        first = await self._others.first_of(exchange, equal, names)
        if isinstance(first, WriteEntry):
            return await self._retried(exchange, proceed, first, None, names)
        if first is not None:
            return await self._joined(exchange, proceed, first, equal, None, names)
        return await self._first(exchange, proceed, equal, None, names)

    def passes(self, exchange: Identified) -> bool:
        """A read, unless it asks for the outcome of a write."""
        return not exchange.call.operation.is_write and exchange.call.operation is not outcomes.OPERATION

    async def _known(self, exchange: Identified, equal: bytes, key: bytes) -> WriteEntry | None:
        """The write under an Idempotency-Key, also if it was entered under another master key."""
        first = self._unknown.get(key) or await self._keeping.by_key(key)
        whole = scoped(exchange, key_in(exchange.request.headers) or b"")
        for mac in self._entries.former_macs:
            if first is None:
                former = mac(whole)
                first = self._unknown.get(former) or await self._keeping.by_key(former)
                if first is not None and first.equal == self._entries.equal_of(exchange, mac):
                    first.equal = equal
        return first

    async def _keyed(
        self, exchange: Identified, proceed: Proceed, equal: bytes, key: bytes, names: WriteNames
    ) -> Response:
        """A write with an Idempotency-Key: at most one execution for the key."""
        under_way = self._keys.get(key)
        if under_way is not None:
            raise another() if under_way != equal else busy()
        self._keys[key] = equal
        try:
            kept = await self._known(exchange, equal, key)
            if kept is not None and kept.equal != equal:
                raise another()
            ours = kept is not None and kept in self._unknown.values()
            if kept is not None and (ours or kept.state in _SAID_ALREADY):
                return await self._retried(exchange, proceed, kept, key, names)
            elsewhere = await self._others.keyed(names, kept)
            if elsewhere is not None:
                return await self._joined(exchange, proceed, elsewhere, equal, key, names)
            if kept is not None and kept.state is WriteState.GIVEN_UP:
                return await self._retried(exchange, proceed, kept, key, names)
            if kept is not None and kept.is_open:
                # A sibling worker's; others do not know about it yet.
                raise busy()
            return await self._first(exchange, proceed, equal, key, names)
        finally:
            del self._keys[key]

    async def _joined(
        self, exchange: Identified, proceed: Proceed, reference: str, equal: bytes, key: bytes | None,
        names: WriteNames,
    ) -> Response:  # fmt: skip
        """Like ``_retried``, for a write of another worker."""
        found = await self._others.joined(exchange, reference, key)
        if isinstance(found, Response):
            return found
        return await self._first(exchange, proceed, equal, key, evolve(names, retry_of=found))

    async def _retried(
        self, exchange: Identified, proceed: Proceed, first: WriteEntry, key: bytes | None, names: WriteNames
    ) -> Response:
        """A retry: find out what became of the first before anything is sent."""
        exchange.trace.reference = first.reference
        first.retry = exchange
        try:
            await self._until_settled(first, exchange)
        finally:
            if first.is_open or first.state is WriteState.GIVEN_UP:
                self._left(first)
        said = first.answer if first.state in _SAID_ALREADY else None
        if said is not None and key is None:
            try:
                overwritten = await self._others.was_overwritten(exchange, said, first.reference)
            except OutcomeUnknown:
                self._left(first)
                raise
            if overwritten:
                self._others.overtaken(first)
                self._entries.forget(first)
                return await self._first(exchange, proceed, first.equal, None, names)
        if said is not None:
            exchange.trace.rule_hits.append("writes:joined" if key is None else "writes:replayed")
            exchange.trace.outcome = "found" if first.state is WriteState.FOUND else ""
            exchange.trace.record_id = first.record or exchange.trace.record_id
            self._meter.count("writes_total", outcome="replayed")
            return self._delivered(first, evolve(said, origin=Origin.MEMORY))
        if first.state is not WriteState.ABSENT:
            exchange.trace.rule_hits.append("writes:joined" if key is None else "writes:replayed")
            raise OutcomeUnknown("It is not known whether this was carried out.", reference=first.reference)
        # Surely not carried out: send it again if a client still waits. Otherwise the next retry sends it.
        exchange.trace.reference = None
        if exchange.presence.gone and key is None:
            raise NotSent("The client has left, so nothing was sent.")
        self._entries.hand_over(first)
        self._claims.handed_over(first.reference)
        return await self._first(exchange, proceed, first.equal, key, names)

    def _left(self, first: WriteEntry) -> None:
        """A retry leaves without a response too, so the next one is a retry again."""
        first.retry = None
        first.told_unknown = True
        first.ended = self._clock.seconds()
        self._claims.left(first.reference)

    async def _until_settled(self, first: WriteEntry, exchange: Identified) -> None:
        settled = first.settled()
        settled.addTimeout(
            max(0.0, exchange.deadline - 0.3 - self._clock.seconds()), self._clock, _not_in_time
        )
        await settled

    async def _entered(
        self, exchange: Identified, equal: bytes, key: bytes | None, names: WriteNames | None
    ) -> WriteEntry:
        """Open an entry: it has its turn, here and at other workers, and is on disk."""
        entry = await self._entries.enter(exchange, equal, key)
        entry.names = names
        if exchange.look_first:
            entry.sent = self._clock.seconds()
        try:
            await self._others.claim(entry)
            exchange.trace.shown = self._shown.has(entry.call)
            self._watch(entry)
            self._fate.begin(entry)
            await self._keeping.enter(entry)
        except Exception:
            exchange.presence.on_leaving = None
            self._unwatch(entry)
            self._entries.hand_over(entry)
            self._entries.leave(entry, WriteState.ABSENT)
            await self._claims.give_back(entry)
            raise
        return entry

    async def _first(
        self, exchange: Identified, proceed: Proceed, equal: bytes, key: bytes | None,
        names: WriteNames | None,
    ) -> Response:  # fmt: skip
        """Send a write that is no retry of an earlier one."""
        try:
            entry = await self._entered(exchange, equal, key, names)
        except ClaimedElsewhere as other:
            if names is None:
                raise  # without names nothing is claimed
            mine = self._entries.recent(equal, other.reference) if key is None else None
            if mine is None:
                return await self._joined(exchange, proceed, other.reference, equal, key, names)
            # It is this worker's own write, and no client has its response after all.
            self._others.waits(exchange, mine.reference)
            return await self._retried(exchange, proceed, mine, None, names)
        try:
            response = await self._fate.of(entry, proceed)
        except OutcomeUnknown as unknown:
            await self._told_unknown(entry, hopeless=unknown.hopeless)
            raise
        except WriteAbsent as absent:
            await self._ended(entry, WriteState.ABSENT)
            if absent.answer is not None:
                return absent.answer
            raise
        except ProxyError:
            # Nothing was sent, or HOSP refused it and the message was lost. Either way it was not carried out.
            await self._ended(entry, WriteState.ABSENT)
            raise
        except Exception:
            await self._ended(entry, WriteState.GIVEN_UP)
            raise
        entry.answer = response
        found = WriteState.FOUND if exchange.trace.outcome == "found" else WriteState.ANSWERED
        if entry.repeated:
            self._late_work.begin(self._duplicates.report(entry))
        await self._ended(entry, found if is_kept(response) else WriteState.ABSENT)
        return self._delivered(entry, response)

    def _delivered(self, entry: WriteEntry, response: Response) -> Response:
        def handed_over(whole: bool) -> None:
            if not whole:
                entry.lost = True
                entry.retry = None
                self._claims.left(entry.reference)
                return
            self._entries.hand_over(entry)
            self._claims.handed_over(entry.reference)
            self._keeping.hand_over(entry)

        return response if entry.exchange.own else evolve(response, handed_over=handed_over)

    async def _ended(self, entry: WriteEntry, state: WriteState) -> None:
        """Settle an entry, on disk before its response may leave."""
        for other in self._entries.overtaken_by(entry, state):
            self._others.overtaken(other)  # on disk before this one is closed
        self._unwatch(entry)
        await self._turns.settle(entry, state)

    async def changed_outside(self, entry: WriteEntry) -> None:
        """HOSP has shown that its record was changed by somebody who bypassed the proxy; returns once it is noted."""
        self._entries.forget(entry)
        if entry.key is None:
            await self._others.overtaken(entry)

    def _watch(self, entry: WriteEntry) -> None:
        operation = entry.call.operation
        if operation.resource is None:
            return
        if operation.lookup is not None:
            floor = self._sightings.open(operation.resource, entry.reference)
            if entry.sent is None:
                # A write that takes another one over may have been sent before any of this was known.
                entry.floor = floor if entry.floor is None else entry.floor
                entry.sequence = self._sightings.sequence(operation.resource)
            self._sightings.resume(operation.resource, entry.reference, entry.sequence)
        else:
            self._sightings.touch(operation, entry.call.record_id)
            self._shown.strike(operation.resource, entry.call.record_id)

    def _unwatch(self, entry: WriteEntry) -> None:
        operation = entry.call.operation
        if operation.resource is not None and operation.lookup is not None:
            self._sightings.close(operation.resource, entry.reference)
        elif operation.resource is not None:
            # A read during the write may show the state before it.
            self._shown.strike(operation.resource, entry.call.record_id)

    async def _may_have_landed(self, entry: WriteEntry) -> None:
        """HOSP may have carried the write out after it was settled: reads since then may show the state before it."""
        operation = entry.call.operation
        if operation.lookup is None:
            self._shown.strike(operation.resource, entry.call.record_id)
        await self._forget(entry)

    async def _forget(self, entry: WriteEntry) -> None:
        forgotten = self._later.forget(entry.exchange)
        if forgotten is not None:
            await forgotten

    async def _told_unknown(self, entry: WriteEntry, *, hopeless: bool) -> None:
        """The client is told "unknown": from now on send nothing, only find out."""
        if entry.exchange.own:
            # A screening's note: its delivery tries again, and looks first.
            await self._ended(entry, WriteState.GIVEN_UP)
            return
        self._entries.tell_unknown(entry)
        await self._keeping.tell_unknown(entry)
        await self._claims.tell_unknown(entry)
        self._go_on_finding(entry, 0.0 if hopeless else self._later_s)

    def _go_on_finding(self, entry: WriteEntry, for_s: float) -> None:
        if entry.key is not None:
            self._unknown[entry.key] = entry
        self._late_work.begin(self._found_later(entry, for_s))

    async def _found_later(self, entry: WriteEntry, for_s: float) -> None:
        verdict = None
        if for_s > 0 and entry.sent is not None:
            verdict = await self._fate.later(entry, for_s)
        if entry.key is not None:
            self._unknown.pop(entry.key, None)
        state = WriteState.FOUND if isinstance(verdict, Found) else WriteState.GIVEN_UP
        if isinstance(verdict, NotThere):
            state = WriteState.ABSENT
        # Invalidate before any worker can report the outcome, so that none serves the old state afterwards.
        await self._forget(entry)
        await self._ended(entry, state)
        await self._later.record(entry.exchange, entry.reference, state.value)

    async def recover(self) -> list[Identified]:
        """Take over the writes that earlier processes left: find out their outcomes, send nothing.

        Until it is done no write begins, because it may be the retry of one of these.

        :return: screenings whose notes must still be delivered.
        """
        try:
            return await self._recovery.take_over(lambda entry: self._go_on_finding(entry, self._later_s))
        finally:
            self._recovery.over()

    async def tidy(self) -> None:
        """Wipe and forget what has expired. Call it at intervals."""
        self._entries.tidy()
        await self._keeping.tidy(self._window_s)

    def stop(self) -> None:
        """Stop finding out outcomes; the next process continues."""
        self._late_work.stop()


def _not_in_time(_result: object, _timeout: float) -> None:
    """Called at the retry's deadline with the first still open: the retry is told "unknown", as the first was."""
