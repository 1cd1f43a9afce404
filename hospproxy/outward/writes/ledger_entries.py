"""Entries in the ledger: which parts of a write are stored, sealed, and how they are read back after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...contract.contract import Contract
from ...exchange.exchange import Identified
from ...http.messages import Identity, Response
from ...keys.encryption import Seal, Unsealable
from ..ledger.ledger import Ledger, LedgerFailed
from ..ledger.rows import read_answer, read_call, write_answer, write_call
from ..ledger.store import HIGHEST_ID, LedgerRow, TurnKeeper
from .entry import WriteEntry, WriteNames, WriteState, unreadable
from .equality import record_name

T = TypeVar("T")
_log = Logger()
TOO_LARGE = 8 << 20
"""Maximum bytes of a response that is stored for a retry. For a longer one, the retry is told "unknown"."""
_BATCH = 200
_AGAIN_S = 1.0
"""Seconds between attempts of a ledger operation that recovery cannot go on without."""
BEGAN_ERROR_S = 2.0
"""Assumed error in seconds: a write of an earlier process counts as begun this much earlier."""


class LedgerEntries:
    """Writes entries to the ledger and reads them back.

    :param seal: encrypts what came from a client or HOSP.
    :param mac: keyed hash, for values that are only compared.
    :param former_macs: such hashes under other master keys.
    """

    def __init__(
        self, ledger: Ledger, seal: Seal, mac: Callable[[bytes], bytes], contract: Contract,
        clock: IReactorTime, wall: Callable[[], float],
        former_macs: Sequence[Callable[[bytes], bytes]] = (),
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._seal = seal
        self._mac = mac
        self._contract = contract
        self._clock = clock
        self._wall = wall
        self._former_macs = tuple(former_macs)

    def author(self, identity: Identity | None) -> bytes | None:
        """Pseudonym of an entry's author: a keyed hash."""
        return None if identity is None else self._mac(_author(identity))

    def is_author(self, identity: Identity | None, row: LedgerRow) -> bool:
        """Whether a row has this author, under whichever master key it was entered."""
        if identity is None or row.author is None:
            return False
        return any(mac(_author(identity)) == row.author for mac in (self._mac, *self._former_macs))

    async def enter(self, entry: WriteEntry) -> None:
        """Store an entry before its write is sent. The write of a screening's note has no row: its screening has one.

        :raise LedgerFailed: it is not on disk, so it may not be sent.
        """
        if not entry.exchange.own:
            await self._ledger.enter(self._row(entry, _kind(entry)))

    async def enter_results(self, results: Sequence[WriteEntry]) -> None:
        """Store the notes of one screening before its result leaves: all of them or none.

        :raise LedgerFailed: they are not on disk.
        """
        await self._ledger.enter(*(self._row(result, "screening") for result in results))

    def _row(self, entry: WriteEntry, kind: str) -> LedgerRow:
        return LedgerRow(
            reference=_row_name(entry, kind),
            kind=kind,
            state=(WriteState.UNKNOWN if entry.exchange.presence.gone else WriteState.OPEN).value,
            resource=entry.call.operation.resource,
            equal=entry.equal,
            key=entry.key,
            author=self.author(entry.exchange.identity),
            # For a write that may have been sent long ago, no id is too low.
            floor=None if entry.blind or entry.floor is None else min(entry.floor, HIGHEST_ID),
            record=entry.call.record_id if kind == "change" else None,
            entered=self._entered(entry),
            closed=None,
            handed_over=False,
            call=self._seal.seal(write_call(entry.exchange), f"call {_row_name(entry, kind)}"),
            answer=None,
            names=self._names(entry, _row_name(entry, kind)),
            not_before=None if entry.blind else entry.not_before,
            sequence=None if entry.blind else entry.sequence,
        )

    def _entered(self, entry: WriteEntry) -> float:
        """When the write began. If it takes over another one, when that one did: its record may be as old."""
        if entry.sent is None:
            return self._ledger.now()
        return self._ledger.now() - max(0.0, self._clock.seconds() - entry.started)

    def _names(self, entry: WriteEntry, name: str) -> bytes | None:
        return None if entry.names is None else self._seal.seal(entry.names.packed(), f"names {name}")

    async def close(
        self, entry: WriteEntry, state: WriteState, kind: str = "", *, pending: bool = False
    ) -> None:
        """Store the outcome before the response leaves. If the ledger fails now, the client still gets the response.

        :param pending: the upstream may still carry the write out, until ``end_pending``.
        """
        kind = kind or _kind(entry)
        if entry.exchange.own and kind != "screening":
            return
        name = _row_name(entry, kind)
        answer = None
        if entry.answer is not None and len(entry.answer.body) <= TOO_LARGE and not entry.exchange.own:
            answer = self._seal.seal(write_answer(entry.answer), f"answer {name}")
        try:
            await self._ledger.close(name, state.value, _record(entry), answer, pending=pending)
        except LedgerFailed as error:
            _log.error("ledger: outcome of {name} not stored: {why}; retried later", name=name, why=error.why)

    async def end_pending(self, entry: WriteEntry) -> None:
        """Note that the upstream can no longer carry out a settled write."""
        try:
            await self._ledger.end_pending(entry.reference)
        except LedgerFailed as error:
            # Until it is stored, a worker that starts keeps the turn.
            _log.error(
                "ledger: end of {name} not stored: {why}; retried later", name=entry.reference, why=error.why
            )

    async def pending(self) -> list[WriteEntry]:
        """Settled writes of this machine that the upstream may still carry out."""
        found = []
        for row in await self._insist(self._ledger.pending):
            entry = self.read(row)
            entry.pending, entry.exchange.presence.gone = True, True
            changes = row.kind == "change" and row.resource is not None and row.record is not None
            if not entry.is_readable:
                # Its call cannot be read any more. For a change, the row tells the turn.
                entry.turn = record_name(row.resource or "", row.record or "") if changes else row.equal
            found.append(entry)
        return found

    async def keep_turn(self, entry: WriteEntry) -> TurnKeeper:
        """Ask who keeps the turn of a settled write. If its keeper is dead, this process keeps it from now on."""
        return await self._insist(lambda: self._ledger.keep_turn(entry.reference))

    async def sequences(self) -> list[tuple[str, int]]:
        """For each resource, the highest id that a write of this machine is known to have made."""
        return await self._insist(self._ledger.sequences)

    async def tell_unknown(self, entry: WriteEntry) -> None:
        """Note that the client is told that the outcome is unknown, or has left before it is known."""
        try:
            if not entry.exchange.own:
                await self._ledger.mark(entry.reference, WriteState.UNKNOWN.value)
        except LedgerFailed as error:
            _log.error('ledger: "unknown" of {name} not stored: {why}', name=entry.reference, why=error.why)

    def hand_over(self, entry: WriteEntry) -> None:
        """Note that a client has the response. Not awaited: if the note is lost, a retry gets the response again."""
        Deferred.fromCoroutine(self._ledger.hand_over(entry.reference)).addErrback(_not_noted)

    async def overtake(self, entry: WriteEntry) -> None:
        """Note that an equal write is no longer this one's retry, because its record was changed since."""
        try:
            await self._ledger.overtake(entry.reference)
        except LedgerFailed as error:
            _log.error("ledger: change after {name} not noted: {why}", name=entry.reference, why=error.why)

    async def keep_refused(self, entry: WriteEntry) -> None:
        """Keep a screening's note that HOSP refuses, so that its author can fetch it here."""
        name = _row_name(entry, "screening")
        call = self._seal.seal(write_call(entry.exchange), f"answer {name}")
        await self._insist(lambda: self._ledger.close(name, "refused", None, call))

    async def by_key(self, key: bytes) -> WriteEntry | None:
        """The newest write under an Idempotency-Key.

        :raise LedgerFailed: it cannot be read, so nothing may be sent under the key.
        """
        row = await self._ledger.by_key(key)
        return None if row is None else self.read(row)

    async def by_reference(self, reference: str) -> LedgerRow | None:
        """The row of one entry, or of the screening with this reference."""
        return await self._ledger.by_reference(reference) or await self._ledger.by_reference(
            f"{reference}/screening"
        )

    async def undelivered(self, window_s: float) -> list[WriteEntry]:
        """Writes whose client never got the response and may ask again."""
        return [self.read(row) for row in await self._insist(lambda: self._ledger.undelivered(window_s))]

    async def in_doubt(self, entry: WriteEntry, window_s: float, known: Sequence[str]) -> str | None:
        """Reference of an equal write, of any process of this machine, of which this one may be the retry.

        :param window_s: seconds for which an equal write without a key counts as its retry.
        :raise LedgerFailed: it cannot be read.
        """
        return await self._ledger.in_doubt(entry.equal, window_s, known)

    async def is_changed_elsewhere(self, entry: WriteEntry) -> bool:
        """Whether another process of this machine has a change of the same record that HOSP may still carry out.

        :raise LedgerFailed: it cannot be read.
        """
        resource, record = entry.call.operation.resource, entry.call.record_id
        if _kind(entry) != "change" or resource is None or record is None:
            return False
        return await self._ledger.is_changed_elsewhere(resource, record)

    async def take_over(self) -> list[tuple[WriteEntry, str]]:
        """What earlier processes left open, with its kind. An unreadable entry is logged as critical and closed."""
        taken = []
        for row in await self._insist(self._ledger.take_over):
            entry = self.read(row)
            if not entry.is_readable:
                _log.critical(
                    "ledger: {reference} ({kind}) of an earlier process cannot be read; "
                    "its outcome is unknown: check at HOSP",
                    reference=row.reference,
                    kind=row.kind,
                )
                await self._insist(
                    partial(self._ledger.close, row.reference, WriteState.GIVEN_UP.value, None, None)
                )
            else:
                taken.append((entry, row.kind))
        return taken

    async def later_records(self, entry: WriteEntry) -> list[tuple[str, str, str]]:
        """Records that other writes made or changed while an entry was open: (kind, id, reference)."""
        if (resource := entry.call.operation.resource) is None:
            return []
        since = self._ledger.now() - (self._clock.seconds() - entry.started)
        found = await self._insist(lambda: self._ledger.later_records(resource, entry.sequence or 0, since))
        return [one for one in found if one[2] != entry.reference]

    async def tidy(self, window_s: float) -> None:
        """Wipe and delete expired content. A failure is only logged."""
        try:
            await self._ledger.tidy(window_s)
        except LedgerFailed as error:
            _log.error("ledger: expired entries not deleted: {why}; retried later", why=error.why)

    async def keyed(self, kept_s: float) -> AsyncIterator[WriteEntry]:
        """Writes under a key, settled within the last ``kept_s`` seconds, that other workers can be told of."""
        since, after = self._ledger.now() - kept_s, ""
        while rows := await self._ledger.keyed(since, after, _BATCH):
            for row in rows:
                entry = self.read(row)
                entry.pending = row.pending
                if entry.names is not None:
                    yield entry
            after = rows[-1].reference

    async def is_handed_over(self, reference: str) -> bool:
        """Whether a client has the response of a write, as far as the ledger knows."""
        try:
            row = await self._ledger.by_reference(reference)
        except LedgerFailed:
            return False
        return row is not None and row.handed_over

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Repeat a ledger operation until it succeeds, for what nothing can go on without.

        :raise LedgerFailed: the ledger is shut.
        """
        while True:
            try:
                return await ask()
            except LedgerFailed:
                if not self._ledger.is_open:
                    raise
            await task.deferLater(self._clock, _AGAIN_S, lambda: None)

    def read(self, row: LedgerRow) -> WriteEntry:
        """An entry from its row. Its call is UNREADABLE if it was wiped or cannot be unsealed."""
        now = self._clock.seconds()
        exchange = self._read_exchange(row, now)
        time = self._ledger.now()
        ago = max(0.0, time - (row.closed if row.closed is not None else row.entered))
        began = now - max(0.0, time - row.entered) - BEGAN_ERROR_S
        closed = row.closed is not None
        entry = WriteEntry(
            reference=row.reference.removesuffix("/screening"),
            equal=row.equal,
            exchange=exchange,
            started=began,
            key=row.key,
            floor=row.floor,
            sequence=row.sequence,
            not_before=row.not_before,
            # All attempts were sent before that process ended, so before now.
            sent=now,
            pending=not closed,
            state=_state(row.state) if closed else WriteState.UNKNOWN,
            answer=self._read_answer(row),
            record=row.record,
            told_unknown=row.state == WriteState.UNKNOWN.value,
            handed_over=row.handed_over,
            ended=now - ago if closed else None,
            names=self._read_names(row),
            made=row.kind == "create",
        )
        if row.resource is not None and row.record is not None:
            entry.record_name = record_name(row.resource, row.record)
        exchange.trace.reference = entry.reference if row.kind == "screening" else exchange.trace.reference
        return entry

    def _read_exchange(self, row: LedgerRow, now: float) -> Identified:
        found = None
        if row.call is not None:
            try:
                data = self._seal.open(row.call, f"call {row.reference}")
                found = read_call(data, self._contract, now=now, wall=self._wall())
            except Unsealable as error:
                _log.error("ledger: {reference} unreadable: {why}", reference=row.reference, why=str(error))
        return unreadable(now, self._wall()) if found is None else found

    def _read_names(self, row: LedgerRow) -> WriteNames | None:
        if row.names is None:
            return None
        try:
            return WriteNames.unpacked(self._seal.open(row.names, f"names {row.reference}"))
        except Unsealable:
            return None

    def _read_answer(self, row: LedgerRow) -> Response | None:
        if row.answer is None or row.state == "refused":
            return None
        try:
            return read_answer(self._seal.open(row.answer, f"answer {row.reference}"))
        except Unsealable:
            return None

    def refused_note(self, row: LedgerRow) -> object:
        """The document of a screening's note that HOSP refused."""
        if row.state != "refused" or row.answer is None:
            return None
        try:
            data = self._seal.open(row.answer, f"answer {row.reference}")
        except Unsealable:
            return None
        exchange = read_call(data, self._contract, now=0.0, wall=0.0)
        return None if exchange is None else exchange.call.document


def _row_name(entry: WriteEntry, kind: str) -> str:
    """A screening and the write that delivers its note share one reference, but have two rows."""
    return f"{entry.reference}/screening" if kind == "screening" else entry.reference


def _author(identity: Identity) -> bytes:
    return f"author {identity.id!r}".encode()


def _record(entry: WriteEntry) -> str | None:
    """Id of the record that a write made or changes."""
    if entry.record is None and entry.call.operation.lookup is None:
        return entry.call.record_id
    return entry.record


def _kind(entry: WriteEntry) -> str:
    return "create" if entry.call.operation.lookup is not None else "change"


def _state(value: str) -> WriteState:
    try:
        return WriteState(value)
    except ValueError:
        return WriteState.GIVEN_UP


def _not_noted(failure: Failure) -> None:
    _log.debug("ledger: not noted that a client has its response: {why}", why=failure.getErrorMessage())
