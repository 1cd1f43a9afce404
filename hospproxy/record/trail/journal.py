"""The audit trail's local file: a record counts when it is on disk, and not before.

Records are written and synced in groups, one after another. A group is what came while the last sync ran: a time window
was measured and only loses. Nothing here waits for the disk: committing.py sees to who does, and there are no locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import RecordFailed
from ...interfaces import IJournal, IMeter
from ...worker import WorkerLike
from ..disclosing import Disclosure
from .committing import Committer, Ring
from .encoding import encode_record
from .following import Position
from .keeper import Keeper

_GAP_AFTER_S = 5.0
"""Seconds after a failed group until the journal tries by itself whether it can keep records again."""


_TEND_S = 5.0
"""Seconds between two looks at what is due by the clock: a digest, another file, the way out of the reserve."""


@frozen(slots=True, kw_only=True)
class Bounds:
    """How much may wait for the disk.

    :param max_records: records that may wait at one time; beyond it they fail at once.
    :param max_bytes: the same in bytes.
    :param buffer_s: seconds that an answer may be ahead of its record; 0: none may ("commit").
    :param buffer_records: records that may be behind their answers at one time.
    """

    max_records: int = 10_000
    max_bytes: int = 16 << 20
    buffer_s: float = 0.0
    buffer_records: int = 1000


@define(slots=True, eq=False)  # not frozen: that is twice as dear to make, and one is made for every request
class _Waiting:
    line: bytes
    kind: str
    since: float
    awaited: bool
    done: Deferred[None]
    disclosure: Disclosure | None = None


@implementer(IJournal)
class Journal:
    """Append-only JSON Lines with natural group commit.

    After a failure it notes, as soon as it can, how many records were lost (kind "gap"): their requests were closed
    unanswered, and an auditor shall see that there were some.

    When the disk is full, the keeper's reserve takes the records, those of refusals included, and no more intents are
    taken: a write that cannot be followed to its end is not begun.

    With ``buffer_s`` answers need not wait for the disk: groups are made by the clock, and an answer waits only when
    the disk is further behind than that. Intents always wait: what is sent to HOSP is on record.

    :param describe_gap: makes the record that says so, of (records lost, reason).
    :param make_ring: makes what writes in the thread's place; None if nothing does.
    :param upkeep: called now and then with where the keeper writes, to look after files that are over.
    """

    _log = Logger()

    def __init__(
        self,
        keeper: Keeper,
        worker: WorkerLike,
        clock: IReactorTime,
        meter: IMeter,
        describe_gap: Callable[[int, str], Mapping[str, Any]],
        *,
        bounds: Bounds | None = None,
        upkeep: Callable[[Position], None] | None = None,
        make_ring: Callable[[], Ring] | None = None,
    ) -> None:
        self._keeper = keeper
        self._commits = Committer(keeper, worker, make_ring)
        self._clock = clock
        self._meter = meter
        self._describe_gap = describe_gap
        self._bounds = bounds or Bounds()
        self._upkeep = upkeep
        self._waiting: list[_Waiting] = []
        self._count = 0
        self._bytes = 0
        self._sets: dict[str, int] = {}
        self._busy = False
        self._lost = 0
        self._lost_answered = 0
        self._flying: float | None = None
        self._group_call: IDelayedCall | None = None
        self._tend_call: IDelayedCall | None = None
        self._trouble: str | None = "not started"
        self._tend_trouble: str | None = None
        self._gap_call: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None

    @property
    def path(self) -> Path | None:
        """The file that records go to now."""
        return self._keeper.path

    @property
    def trouble(self) -> str | None:
        """Why records cannot be kept at present, or None."""
        return self._trouble

    @property
    def full(self) -> bool:
        """The disk is full, and what can be kept goes to the reserve."""
        return self._keeper.full

    @property
    def reserve_left(self) -> int:
        """Bytes of the reserve that are free."""
        return self._keeper.reserve_left

    @property
    def committed(self) -> Position | None:
        """Up to where records are on disk: so far may writers follow."""
        return self._keeper.committed

    def start(self) -> Deferred[Path]:
        """Begin a file, so that a folder that cannot be used stops the start.

        :raise RecordFailed: no file can be made.
        """

        def begun(path: Path) -> Path:
            self._trouble = None
            self._log.info("Audit records go to {path}", path=str(path))
            if self._upkeep is not None:
                self._tend_call = self._clock.callLater(0, self._tend)
            return path

        return self._commits.start().addCallback(begun)

    def append(self, record: Mapping[str, Any], disclosure: Disclosure | None = None) -> Deferred[None]:
        if self._closed is not None:
            return fail(RecordFailed("the journal is closed"))
        if self.full and record.get("kind") == "intent":
            return fail(RecordFailed("the disk is full"))  # not lost: the refusal has a record
        return self._append(record, disclosure)

    def close(self) -> Deferred[None]:
        """Take no more, finish what was taken, let the file go. Fires when that is done."""
        if self._closed is None:
            for call in (self._gap_call, self._tend_call):
                if call is not None and call.active():
                    call.cancel()
            self._write_gap()
            self._closed = Deferred()
            self._begin_group()
            self._finish_if_idle()
        waiter: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: waiter.callback(None))
        return waiter

    def _append(self, record: Mapping[str, Any], disclosure: Disclosure | None = None) -> Deferred[None]:
        kind = str(record.get("kind", ""))
        try:
            line = encode_record(record)
        except (TypeError, ValueError) as error:
            return self._refuse(kind, f"not encodable: {type(error).__name__}")
        size = len(line) + self._size_of_new(disclosure)
        if self._count >= self._bounds.max_records or self._too_much(size):
            return self._refuse(kind, "too many records are waiting for the disk")
        ahead = self._may_run_ahead(kind)
        waiting = _Waiting(line, kind, self._clock.seconds(), not ahead, Deferred(), disclosure)
        self._waiting.append(waiting)
        self._count += 1
        self._bytes += size
        if disclosure is not None:
            self._sets[disclosure.set] = self._sets.get(disclosure.set, 0) + 1
        if not ahead:
            self._begin_group()
            return waiting.done
        waiting.done.addErrback(lambda _: None)  # it is counted, and told of in a gap
        self._group_later()
        return succeed(None)

    def _too_much(self, size: int) -> bool:
        # Alone it is taken: answers are bounded too, and the set of one may be longer than all that else may wait.
        return self._count > 0 and self._bytes + size > self._bounds.max_bytes

    def _size_of_new(self, disclosure: Disclosure | None) -> int:
        """Bytes that a set takes which no other that waits has named."""
        return disclosure.size if disclosure is not None and disclosure.set not in self._sets else 0

    def _no_longer_waiting(self, waiting: _Waiting) -> None:
        self._count -= 1
        self._bytes -= len(waiting.line)
        disclosure = waiting.disclosure
        if disclosure is None:
            return
        left = self._sets.pop(disclosure.set) - 1
        if left:
            self._sets[disclosure.set] = left
        else:
            self._bytes -= disclosure.size

    def _may_run_ahead(self, kind: str) -> bool:
        """Whether an answer may leave now, its record being on disk within ``buffer_s`` as far as one can see."""
        bounds = self._bounds
        if not bounds.buffer_s or kind == "intent" or self._trouble is not None or self.full:
            return False
        oldest = (
            self._flying if self._flying is not None else self._waiting[0].since if self._waiting else None
        )
        behind_s = 0.0 if oldest is None else self._clock.seconds() - oldest
        return self._count < bounds.buffer_records and behind_s < bounds.buffer_s

    def _group_later(self) -> None:
        if self._busy or (self._group_call is not None and self._group_call.active()):
            return
        # Half of the time to collect, the other half for the disk.
        self._group_call = self._clock.callLater(self._bounds.buffer_s / 2, self._begin_group)

    def _refuse(self, kind: str, reason: str) -> Deferred[None]:
        self._lose(int(kind != "gap"), reason)
        return fail(RecordFailed(reason))

    def _begin_group(self) -> None:
        if self._busy or not self._waiting:
            return
        if self._group_call is not None and self._group_call.active():
            self._group_call.cancel()
        group, self._waiting = self._waiting, []
        self._busy = True
        self._flying = group[0].since
        lines = [waiting.line for waiting in group]
        named = [waiting.disclosure for waiting in group]
        written = self._commits.keep(lines, named)
        written.addBoth(self._group_done, group, self._clock.seconds())

    def _group_done(self, result: Failure | int, group: list[_Waiting], since: float) -> None:
        self._busy = False
        self._flying = None
        for waiting in group:
            self._no_longer_waiting(waiting)
        if self._closed is not None or any(waiting.awaited for waiting in self._waiting):
            self._begin_group()  # before the answers go out: the disk need not wait for them
        elif self._waiting:
            self._group_later()
        self._meter.observe("record_sync_seconds", self._clock.seconds() - since)
        self._meter.observe("record_group_size", len(group))
        if isinstance(result, Failure):
            reason = result.getErrorMessage()
            self._trouble = reason
            self._lost_answered += sum(not waiting.awaited for waiting in group)
            self._lose(sum(waiting.kind != "gap" for waiting in group), reason)
            for waiting in group:
                waiting.done.errback(RecordFailed(reason))
        else:
            self._recover()
            if result:
                self._meter.count("records_total", result, kind="disclosure")
            for kind, records in Counter([waiting.kind for waiting in group]).items():
                self._meter.count("records_total", records, kind=kind)
            for waiting in group:
                waiting.done.callback(None)
        self._finish_if_idle()

    def _lose(self, records: int, reason: str) -> None:
        if self._lost == 0 and records:
            self._log.error("Audit records cannot be kept: {reason}", reason=reason)
        self._lost += records
        if records:
            self._meter.count("record_failures_total", records)
        if self._closed is None and (self._gap_call is None or not self._gap_call.active()):
            self._gap_call = self._clock.callLater(_GAP_AFTER_S, self._write_gap)

    def _recover(self) -> None:
        if self._trouble is not None:
            self._log.info("Audit records are kept again, in {path}", path=str(self.path))
        self._trouble = None

    def _write_gap(self) -> None:
        lost, reason = self._lost, self._trouble or "too many at one time"
        if lost == 0:
            return
        answered = self._lost_answered
        self._lost = self._lost_answered = 0
        if answered:
            reason = f"{answered} of them were answered already; {reason}"

        def failed(failure: Failure) -> None:
            failure.trap(RecordFailed)
            self._lost += lost  # to be said in the next gap
            self._lost_answered += answered

        self._append(self._describe_gap(lost, reason)).addErrback(failed)

    def _tend(self) -> None:
        def tended(_: object) -> None:
            if self._tend_trouble is not None and self._trouble is self._tend_trouble:
                self._recover()  # or, as nobody is sent to whoever is in trouble, it would never end
            self._tend_trouble = None

        def failed(failure: Failure) -> None:
            self._trouble = self._tend_trouble = failure.getErrorMessage()

        def again(_: object) -> None:
            if self._closed is not None:
                return
            if self._upkeep is not None and self.committed is not None:
                self._upkeep(self.committed)
            self._tend_call = self._clock.callLater(_TEND_S, self._tend)

        self._commits.run(self._keeper.tend).addCallbacks(tended, failed).addCallback(again)

    def _finish_if_idle(self) -> None:
        if self._closed is None or self._busy or self._waiting:
            return
        closed = self._closed

        def finished(_: object) -> None:
            self._commits.stop()
            closed.callback(None)

        self._busy = True
        self._commits.run(self._keeper.close).addBoth(finished)


@implementer(IJournal)
class NullJournal:
    """Stands where recording is switched off."""

    trouble = None
    full = False
    committed: Position | None = None

    def append(
        self,
        record: Mapping[str, Any],  # noqa: ARG002
        disclosure: Disclosure | None = None,  # noqa: ARG002
    ) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Nothing to close."""
        return succeed(None)
