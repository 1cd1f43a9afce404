"""The journal that requests wait for: an audit record counts once it is on disk, and not before.

The journal writes and syncs records in groups, one group at a time. A group is whatever arrived during the
previous sync; collecting for a fixed time instead was measured and is slower. Nothing here blocks on the disk
and there are no locks: group_commit.py decides who writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...http.errors import RecordFailed
from ...http.repeat import Told
from ...interfaces import ILineJournal, IMeter
from ...options.audit_section import AuditSettings
from ...process.worker import TaskRunner
from ..disclosures import Disclosure
from .follower import Cursor
from .group_commit import Committer, MakeRing
from .keeper import TrailKeeper
from .record_line import encode_record

_GAP_AFTER_S = 5.0
"""Seconds from a failed group to the gap record, which also tests whether the disk works again."""


_TEND_S = 5.0
"""Seconds between two checks for work that is due by the clock: a digest, file rotation, leaving the reserve."""


@frozen(slots=True, kw_only=True)
class JournalBounds:
    """How many records may wait for the disk.

    :param max_records: records that may wait at one time; further ones fail at once.
    :param max_bytes: the same limit in bytes.
    :param buffer_s: seconds that a response may be ahead of its record; 0 means never ("commit").
    :param buffer_records: records that may wait while their responses have already been sent.
    """

    max_records: int = 10_000
    max_bytes: int = 16 << 20
    buffer_s: float = 0.0
    buffer_records: int = AuditSettings().buffer_records


@define(slots=True, eq=False)  # not frozen: that doubles the cost, and each request makes one
class _Waiting:
    line: bytes
    kind: str
    since: float
    awaited: bool
    told: Told
    disclosure: Disclosure | None = None


@define(slots=True, eq=False)
class _Load:
    """What records hold in memory: those that wait, or those of the group that is being written.

    :param sets: the disclosure sets that they name, each with its bytes.
    """

    records: int = 0
    bytes: int = 0
    sets: dict[str, int] = field(factory=dict)


@implementer(ILineJournal)
class Journal:
    """Appends audit records as JSON Lines and commits them in groups.

    After a failure the journal writes a record of kind "gap" as soon as it can, with the number of lost
    records. The clients of those requests got no response, and an auditor must see that such requests existed.

    When the disk is full, records go to the keeper's reserve, including records of refused requests. The
    journal then refuses intents, so that no write starts whose outcome could not be recorded.

    With ``buffer_s`` a response need not wait for the disk: a timer starts each group, and a response waits
    only if the disk is further behind than ``buffer_s``. Intents always wait, so everything sent to HOSP is on
    record first.

    :param describe_gap: makes the gap record from (records lost, reason).
    :param make_ring: makes the ring that writes instead of the thread; None to use the thread only.
    :param by_clock: do what is due by the clock, too: digests, rotation, leaving the reserve.
    :param after_poll: calls a function once the reactor has handled all events that it knows of. A group begins
        then, so that requests that arrived together share it; None: it begins with the first record.
    """

    _log = Logger()

    def __init__(
        self,
        keeper: TrailKeeper,
        worker: TaskRunner,
        clock: IReactorTime,
        meter: IMeter,
        describe_gap: Callable[[int, str], Mapping[str, Any]],
        *,
        bounds: JournalBounds | None = None,
        by_clock: bool = False,
        make_ring: MakeRing | None = None,
        after_poll: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._keeper = keeper
        self._commits = Committer(keeper, worker, make_ring)
        self._clock = clock
        self._meter = meter
        self._describe_gap = describe_gap
        self._bounds = bounds or JournalBounds()
        self._by_clock = by_clock
        self._after_poll = after_poll
        self._runs_ahead = self._bounds.buffer_s > 0
        self._waiting: list[_Waiting] = []
        self._load = _Load()
        self._load_in_flight = _Load()
        self._busy = False
        self._beginning = False
        self._lost = 0
        self._lost_answered = 0
        self._flying: float | None = None
        self._group_call: IDelayedCall | None = None
        self._tend_call: IDelayedCall | None = None
        self._trouble: str | None = "the audit journal has not started"
        self._tend_trouble: str | None = None
        self._gap_call: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None

    @property
    def path(self) -> Path | None:
        """The file that is being written."""
        return self._keeper.path

    @property
    def trouble(self) -> str | None:
        """Why records cannot be kept now, or None if they can."""
        return self._trouble

    @property
    def full(self) -> bool:
        """True while the disk is full and records go to the reserve."""
        return self._keeper.full

    @property
    def reserve_left(self) -> int:
        """Free bytes in the reserve that is used while the disk is full."""
        return self._keeper.reserve_left

    @property
    def committed(self) -> Cursor | None:
        """The end of the records that are on disk; sinks may read up to here."""
        return self._keeper.committed

    def start(self) -> Deferred[Path]:
        """Create the first file, so that an unusable folder stops the start of the service.

        :raise RecordFailed: the file cannot be made.
        """

        def begun(path: Path) -> Path:
            self._trouble = None
            self._log.info("Audit records go to {path}", path=str(path))
            if self._by_clock:
                self._tend_call = self._clock.callLater(0, self._tend)
            return path

        return self._commits.start().addCallback(begun)

    def append(self, record: Mapping[str, Any], disclosure: Disclosure | None = None) -> Deferred[None]:
        if self._closed is not None:
            return fail(RecordFailed("the audit journal is closed"))
        if self.full and record.get("kind") == "intent":
            return fail(RecordFailed("the disk is full"))  # not counted as lost: the refusal is recorded
        return self._append(record, disclosure)

    def append_line(self, line: bytes, kind: str, told: Told, disclosure: Disclosure | None = None) -> None:
        if self._closed is not None:
            told(RecordFailed("the audit journal is closed"))
        else:
            self._put(line, kind, told, disclosure)

    def close(self) -> Deferred[None]:
        """Take no more records, commit those that wait, then close the file. Fires when that is done."""
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
            reason = f"the record cannot be encoded as JSON: {type(error).__name__}"
            self._lose(int(kind != "gap"), reason)
            return fail(RecordFailed(reason))
        done: Deferred[None] = Deferred()

        def told(failed: Exception | None) -> None:
            if failed is None:
                done.callback(None)
            else:
                done.errback(failed)

        self._put(line, kind, told, disclosure)
        return done

    def _put(self, line: bytes, kind: str, told: Told, disclosure: Disclosure | None) -> None:
        load, flying, bounds = self._load, self._load_in_flight, self._bounds
        size = len(line)
        if disclosure is not None and disclosure.set not in load.sets and disclosure.set not in flying.sets:
            size += disclosure.size
        records = load.records + flying.records
        # A single record is always accepted: responses are bounded too, and one set of patients may exceed
        # max_bytes.
        too_much = records > 0 and load.bytes + flying.bytes + size > bounds.max_bytes
        if records >= bounds.max_records or too_much:
            reason = "too many records are waiting for the disk"
            self._lose(int(kind != "gap"), reason)
            told(RecordFailed(reason))
            return
        ahead = self._runs_ahead and self._may_run_ahead(kind)
        # With ``ahead`` a loss is counted, and a gap record reports it.
        since = self._clock.seconds() if self._runs_ahead else 0.0
        self._waiting.append(_Waiting(line, kind, since, not ahead, _ignore if ahead else told, disclosure))
        load.records += 1
        load.bytes += size
        if disclosure is not None and disclosure.set not in load.sets:
            load.sets[disclosure.set] = disclosure.size
        if not ahead:
            if not self._busy and not self._beginning:
                self._begin_soon()
            return
        self._group_later()
        told(None)

    def _group_landed(self) -> None:
        """The records of the group are no longer held; sets that waiting records name too still are."""
        landed, self._load_in_flight = self._load_in_flight, _Load()
        for name, size in self._load.sets.items():
            if name in landed.sets:
                self._load.bytes += size

    def _may_run_ahead(self, kind: str) -> bool:
        """Whether the response may leave now, with its record expected on disk within ``buffer_s``."""
        bounds = self._bounds
        if kind == "intent" or self._trouble is not None or self.full:
            return False
        oldest = (
            self._flying if self._flying is not None else self._waiting[0].since if self._waiting else None
        )
        behind_s = 0.0 if oldest is None else self._clock.seconds() - oldest
        records = self._load.records + self._load_in_flight.records
        return records < bounds.buffer_records and behind_s < bounds.buffer_s

    def _group_later(self) -> None:
        if self._busy or (self._group_call is not None and self._group_call.active()):
            return
        # Half of the time is for collecting, the other half for the disk.
        self._group_call = self._clock.callLater(self._bounds.buffer_s / 2, self._begin_group)

    def _begin_soon(self) -> None:
        """Begin a group once the reactor has handled all that has arrived: those requests share it."""
        if self._after_poll is None:
            self._begin_group()
        else:
            self._beginning = True
            self._after_poll(self._begin_group)

    def _begin_group(self) -> None:
        self._beginning = False
        if self._busy or not self._waiting:
            return
        if self._group_call is not None and self._group_call.active():
            self._group_call.cancel()
        group, self._waiting = self._waiting, []
        self._load_in_flight, self._load = self._load, _Load()
        self._busy = True
        self._flying = group[0].since
        lines = [waiting.line for waiting in group]
        named = [waiting.disclosure for waiting in group]
        written = self._commits.keep(lines, named)
        written.addBoth(self._group_done, group, self._clock.seconds())

    def _group_done(self, result: Failure | int, group: list[_Waiting], since: float) -> None:
        self._busy = False
        self._flying = None
        self._group_landed()
        if self._closed is not None or any(waiting.awaited for waiting in self._waiting):
            self._begin_group()  # before the responses go out, so that the disk is never idle
        elif self._waiting:
            self._group_later()
        self._meter.observe("record_sync_seconds", self._clock.seconds() - since)
        self._meter.observe("record_group_size", len(group))
        if isinstance(result, Failure):
            reason = result.getErrorMessage()
            self._trouble = reason
            self._lost_answered += sum(not waiting.awaited for waiting in group)
            self._lose(sum(waiting.kind != "gap" for waiting in group), reason)
            self._tell(group, reason)
        else:
            self._recover()
            if result:
                self._meter.count("records_total", result, kind="disclosure")
            for kind, records in Counter([waiting.kind for waiting in group]).items():
                self._meter.count("records_total", records, kind=kind)
            self._tell(group, None)
        self._finish_if_idle()

    def _tell(self, group: list[_Waiting], reason: str | None) -> None:
        for waiting in group:
            try:
                waiting.told(None if reason is None else RecordFailed(reason))
            except Exception:  # one request must not cost the others their responses
                self._log.failure("a request failed after its audit record was written (a bug)")

    def _lose(self, records: int, reason: str) -> None:
        if self._lost == 0 and records:
            self._log.error(
                "Audit records cannot be written to disk ({reason}), so requests fail:"
                " check the disk under audit.directory",
                reason=reason,
            )
        self._lost += records
        if records:
            self._meter.count("record_failures_total", records)
        if self._closed is None and (self._gap_call is None or not self._gap_call.active()):
            self._gap_call = self._clock.callLater(_GAP_AFTER_S, self._write_gap)

    def _recover(self) -> None:
        if self._trouble is not None:
            self._log.info("Audit records are written to disk again, to {path}", path=str(self.path))
        self._trouble = None

    def _write_gap(self) -> None:
        lost, reason = self._lost, self._trouble or "too many records were waiting for the disk"
        if lost == 0:
            return
        answered = self._lost_answered
        self._lost = self._lost_answered = 0
        if answered:
            reason = f"{answered} of them already had their response; {reason}"

        def failed(failure: Failure) -> None:
            failure.trap(RecordFailed)
            self._lost += lost  # the next gap record reports them
            self._lost_answered += answered

        self._append(self._describe_gap(lost, reason)).addErrback(failed)

    def _tend(self) -> None:
        def tended(_: object) -> None:
            if self._tend_trouble is not None and self._trouble is self._tend_trouble:
                # Balancers send nothing to a process in trouble, so no group would come to clear it.
                self._recover()
            self._tend_trouble = None

        def failed(failure: Failure) -> None:
            self._trouble = self._tend_trouble = failure.getErrorMessage()

        def again(_: object) -> None:
            if self._closed is not None:
                return
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


def _ignore(_: Exception | None) -> None:
    pass
