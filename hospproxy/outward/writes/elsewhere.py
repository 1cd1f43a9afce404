"""The processor's side of writes on other workers and machines: turns, retries, and their responses."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...exchange.exchange import Identified
from ...http.errors import NotSent, OutcomeUnknown, OverCapacity
from ...http.messages import Origin, Response
from ...interfaces import IMeter
from ...process.background import Background
from .claims import ClaimedElsewhere, Claims, ClaimUnknown, KnownWrite, NoClaims, RejoinResult
from .entries import WriteEntries
from .entry import WriteEntry, WriteNames, WriteState
from .fate import WriteSender
from .ledger_entries import LedgerEntries
from .seen_ids import SeenIds, is_in_order

_log = Logger()
OLDEST_S = 24 * 3600.0
"""Maximum age in seconds of an unknown write under a key."""
CLOCK_ERROR_S = 2.0
_ASKED_AGAIN_S = 0.5
"""Seconds between two questions whether a sibling's write to the same record is over."""
_UNTOLD_S = 60.0
"""Seconds for which the ledger is asked although Redis is back, after this worker began to see the others again or sent
a write without a claim: a sibling's write from before may not be in Redis yet, and may still be carried out."""


class OtherWorkers:
    """Relates this process's writes to those of other workers.

    :param claims: the interface to the other workers.
    :param keeping: the ledger that the workers of this machine share.
    :param window_s: seconds for which an equal write counts as the retry of one whose client got no response.
    """

    def __init__(
        self,
        claims: Claims,
        entries: WriteEntries,
        fate: WriteSender,
        sightings: SeenIds,
        keeping: LedgerEntries,
        clock: IReactorTime,
        meter: IMeter,
        *,
        window_s: float,
    ) -> None:
        self.claims = claims
        self._keeping = keeping
        self._window_s = window_s
        self._entries = entries
        self._fate = fate
        self._sightings = sightings
        self._clock = clock
        self._meter = meter
        self._asks_until = 0.0
        self._notes = Background(
            _log, "noting that a client left failed; this is a bug: report the traceback", meter
        )

    async def first_of(
        self, exchange: Identified, equal: bytes, names: WriteNames
    ) -> WriteEntry | str | None:
        """The write that a write without a key retries: an entry of this process, or another worker's reference."""
        former = self._entries.former_equals(exchange)
        while (first := self._entries.first_of(equal, former)) is not None:
            # From here on, another retry that arrives at this process is a separate write.
            first.retry = exchange
            found = await self.claims.rejoin(first.reference, exchange.deadline)
            if found == RejoinResult.YES:
                self.waits(exchange, first.reference)
                return first
            first.retry = None
            if found == RejoinResult.HANDED_OVER:
                first.lost = False
                self._entries.hand_over(first)
                if first.is_open:
                    break
                continue
            return None
        return await self.claims.first(names)

    async def keyed(self, names: WriteNames, kept: WriteEntry | None) -> str | None:
        """Reference of another worker's write under this key.

        :param kept: this machine's write under it. If it was given up, a worker that took it over may know more.
        :raise ProxyError: as ``Claims.keyed``.
        """
        if kept is None or kept.state is not WriteState.GIVEN_UP:
            return await self.claims.keyed(names)
        try:
            found = await self.claims.keyed(names)
        except ClaimUnknown:
            return None
        return None if found == kept.reference else found

    async def claim(self, entry: WriteEntry) -> None:
        """Claim a write's turn before it is sent.

        :raise ProxyError, Elsewhere: it may not be sent.
        """
        if entry.names is None:
            return
        operation = entry.call.operation
        highest = None if operation.resource is None else self._sightings.highest(operation.resource)
        turn = await self.claims.claim(entry, highest)
        claimed = self._clock.seconds()  # before any wait: the turn counts from here
        if not turn.trusted and entry.key is None:
            # What other machines told their clients is not visible now. What this machine told is in its ledger.
            known = self._entries.references_of(entry.equal)
            doubtful = await self._keeping.in_doubt(entry, self._window_s, known)
            if doubtful is not None:
                raise ClaimedElsewhere(doubtful)
        if not turn.trusted:
            self._asks_until = self._clock.seconds() + _UNTOLD_S
        if turn.seen_s < _UNTOLD_S or self._clock.seconds() < self._asks_until:
            await self._siblings_done(entry)
        now = self._clock.seconds()
        entry.trusted, entry.blind = turn.trusted, turn.blind
        # A worker of an earlier version may have reported an id out of sequence.
        entry.floor = None if turn.floor is None or not is_in_order(turn.floor) else turn.floor
        entry.started = now
        if turn.sent_ago_s is not None:
            entry.sent = claimed - turn.sent_ago_s
            entry.started = claimed - turn.began_ago_s - CLOCK_ERROR_S
        if turn.blind:
            entry.started = now - OLDEST_S
        entry.exchange.presence.on_leaving = lambda: self._lost(entry)
        if entry.exchange.presence.gone:
            self.claims.lost(entry)

    async def _siblings_done(self, entry: WriteEntry) -> None:
        """Wait until HOSP can no longer carry out what other workers of this machine have sent to the same record.

        Redis does not show all of it now. A PATCH that HOSP carries out late would undo the one that is sent now.

        :raise OverCapacity: that is not so before the deadline. Nothing was sent.
        :raise NotSent: the client has left meanwhile, and so has its retry.
        :raise LedgerFailed: the ledger cannot be read, so nothing may be sent.
        """
        exchange = entry.exchange
        while await self._keeping.is_changed_elsewhere(entry):
            if self._clock.seconds() + _ASKED_AGAIN_S >= exchange.deadline:
                raise OverCapacity("An equal write, or one to the same record, is still in progress.")
            await task.deferLater(self._clock, _ASKED_AGAIN_S, lambda: None)
            waits = entry.retry is not None and not entry.retry.presence.gone
            if exchange.presence.gone and entry.key is None and not waits:
                raise NotSent("The client has left, so nothing was sent.")

    def _lost(self, entry: WriteEntry) -> None:
        """Tell others that the client left before it had the response: its next equal write is a retry."""
        self.claims.lost(entry)
        if entry.key is None and entry.is_open:
            # While Redis is away, the other workers of this machine learn it from the ledger.
            self._notes.run(self._keeping.tell_unknown(entry))

    def overtaken(self, entry: WriteEntry) -> Deferred[None]:
        """Note at other workers and in the ledger that an equal write is no longer this one's retry.

        :return: fires when the ledger has noted it, or has failed to.
        """
        self.claims.handed_over(entry.reference)
        return Deferred.fromCoroutine(self._keeping.overtake(entry))

    async def joined(self, exchange: Identified, reference: str, key: bytes | None) -> Response | str:
        """Wait for another worker's write, as its retry.

        :return: its response; or, if this one may be sent, "" (the other is surely absent, or its record was changed
            since) or the reference of an orphan.
        :raise OutcomeUnknown: the outcome is not known in time, or never will be; or it is not known whether the
            record was changed since.
        """
        exchange.trace.reference, known = reference, None
        try:
            self.waits(exchange, reference)
            known = await self.claims.settled(reference, exchange)
        finally:
            if known is None or known.state is WriteState.GIVEN_UP:
                self.claims.left(reference)
        if (
            known is not None
            and known.answer is not None
            and known.state in (WriteState.ANSWERED, WriteState.FOUND)
        ):
            if key is None and await self.was_overwritten(exchange, known.answer, reference):
                self.claims.handed_over(reference)
                return ""
            exchange.trace.rule_hits.append("writes:joined" if key is None else "writes:replayed")
            exchange.trace.outcome = "found" if known.state is WriteState.FOUND else ""
            exchange.trace.record_id = known.record or exchange.trace.record_id
            self._meter.count("writes_total", outcome="replayed")
            return evolve(known.answer, origin=Origin.MEMORY, handed_over=self._handed_over(known))
        if known is None or not (known.orphan or known.state is WriteState.ABSENT):
            if known is not None and known.state is not WriteState.GIVEN_UP:
                self.claims.left(reference)
            exchange.trace.rule_hits.append("writes:joined" if key is None else "writes:replayed")
            raise OutcomeUnknown("It is not known whether this was carried out.", reference=reference)
        exchange.trace.reference = None
        if exchange.presence.gone and key is None:
            self.claims.left(reference)
            raise NotSent("The client has left, so nothing was sent.")
        if known.state is not WriteState.ABSENT:
            return known.reference
        self.claims.handed_over(reference)
        return ""

    async def was_overwritten(self, exchange: Identified, answer: Response, reference: str) -> bool:
        """Whether a PATCH without a key is no retry after all, because its record has been changed since.

        Another worker or machine may have been shown a change that bypassed the proxy, so HOSP is asked. A process
        that is alone has seen all responses itself; see ``Writes.changed_outside``.

        :param answer: response to the first.
        :param reference: of the first.
        :raise OutcomeUnknown: HOSP does not say. The first response may be untrue by now.
        """
        if isinstance(self.claims, NoClaims):
            return False
        overwritten = await self._fate.was_overwritten(exchange, answer)
        if overwritten is None:
            self.claims.left(reference)
            exchange.trace.rule_hits.append("writes:joined")
            raise OutcomeUnknown("It is not known whether its record was changed since.", reference=reference)
        if overwritten:
            exchange.trace.reference = None
            exchange.presence.on_leaving = None
        return overwritten

    def waits(self, exchange: Identified, reference: str) -> None:
        """No other write is its retry until this client leaves. It may have left while others were asked."""
        exchange.presence.on_leaving = lambda: self.claims.left(reference)
        if exchange.presence.gone:
            self.claims.left(reference)

    def _handed_over(self, known: KnownWrite) -> Callable[[bool], None]:
        def told(whole: bool) -> None:
            if whole:
                self.claims.handed_over(known.reference)
            else:
                self.claims.left(known.reference)

        return told
