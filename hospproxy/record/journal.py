"""The audit trail's local file: a record counts when it is on disk, and not before.

Records are written and synced in groups by one thread. A group is what came while the last sync ran: a time window was
measured and only loses. Everything but the file work happens in the reactor's thread, so there are no locks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import RecordFailed
from ..interfaces import IJournal, IMeter
from .encoding import encode_record
from .keeper import Keeper
from .worker import Worker, WorkerLike

_GAP_AFTER_S = 5.0
"""Seconds after a failed group until the journal tries by itself whether it can keep records again."""


@frozen(slots=True, eq=False)
class _Waiting:
    line: bytes
    kind: str
    done: Deferred[None]


@implementer(IJournal)
class Journal:
    """Append-only JSON Lines with natural group commit.

    After a failure it notes, as soon as it can, how many records were lost (kind "gap"): their requests were closed
    unanswered, and an auditor shall see that there were some.

    :param describe_gap: makes the record that says so, of (records lost, reason).
    :param max_records: records that may wait at one time; beyond it they fail at once.
    :param max_bytes: the same in bytes.
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
        max_records: int = 10_000,
        max_bytes: int = 16 << 20,
    ) -> None:
        self._keeper = keeper
        self._worker = worker
        self._clock = clock
        self._meter = meter
        self._describe_gap = describe_gap
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._waiting: list[_Waiting] = []
        self._count = 0
        self._bytes = 0
        self._busy = False
        self._lost = 0
        self._trouble: str | None = "not started"
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

    def start(self) -> Deferred[Path]:
        """Begin a file, so that a folder that cannot be used stops the start.

        :raise RecordFailed: no file can be made.
        """

        def begun(path: Path) -> Path:
            self._trouble = None
            self._log.info("Audit records go to {path}", path=str(path))
            return path

        return self._worker.run(self._keeper.open).addCallback(begun)

    def append(self, record: Mapping[str, Any]) -> Deferred[None]:
        if self._closed is not None:
            return fail(RecordFailed("the journal is closed"))
        return self._append(record)

    def close(self) -> Deferred[None]:
        """Take no more, finish what was taken, let the file go. Fires when the thread has done so."""
        if self._closed is None:
            if self._gap_call is not None and self._gap_call.active():
                self._gap_call.cancel()
            self._write_gap()
            self._closed = Deferred()
            self._finish_if_idle()
        waiter: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: waiter.callback(None))
        return waiter

    def _append(self, record: Mapping[str, Any]) -> Deferred[None]:
        kind = str(record.get("kind", ""))
        try:
            line = encode_record(record)
        except (TypeError, ValueError) as error:
            return self._refuse(kind, f"not encodable: {type(error).__name__}")
        if self._count >= self._max_records or self._bytes + len(line) > self._max_bytes:
            return self._refuse(kind, "too many records are waiting for the disk")
        waiting = _Waiting(line, kind, Deferred())
        self._waiting.append(waiting)
        self._count += 1
        self._bytes += len(line)
        self._begin_group()
        return waiting.done

    def _refuse(self, kind: str, reason: str) -> Deferred[None]:
        self._lose(int(kind != "gap"), reason)
        return fail(RecordFailed(reason))

    def _begin_group(self) -> None:
        if self._busy or not self._waiting:
            return
        group, self._waiting = self._waiting, []
        self._busy = True
        lines = [waiting.line for waiting in group]
        written = self._worker.run(lambda: self._keeper.keep(lines))
        written.addBoth(self._group_done, group, self._clock.seconds())

    def _group_done(self, result: Failure | None, group: list[_Waiting], since: float) -> None:
        self._busy = False
        self._count -= len(group)
        self._bytes -= sum(len(waiting.line) for waiting in group)
        self._begin_group()  # before the answers go out: the disk need not wait for them
        self._meter.observe("record_sync_seconds", self._clock.seconds() - since)
        self._meter.observe("record_group_size", len(group))
        if isinstance(result, Failure):
            reason = result.getErrorMessage()
            self._trouble = reason
            self._lose(sum(waiting.kind != "gap" for waiting in group), reason)
            for waiting in group:
                waiting.done.errback(RecordFailed(reason))
        else:
            self._recover()
            for waiting in group:
                self._meter.count("records_total", kind=waiting.kind)
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
        self._lost = 0

        def failed(failure: Failure) -> None:
            failure.trap(RecordFailed)
            self._lost += lost  # to be said in the next gap

        self._append(self._describe_gap(lost, reason)).addErrback(failed)

    def _finish_if_idle(self) -> None:
        if self._closed is None or self._busy or self._waiting:
            return
        closed = self._closed

        def finished(_: object) -> None:
            self._worker.stop()
            closed.callback(None)

        self._busy = True
        self._worker.run(self._keeper.close).addBoth(finished)


@implementer(IJournal)
class NullJournal:
    """Stands where recording is switched off."""

    trouble = None

    def append(self, record: Mapping[str, Any]) -> Deferred[None]:  # noqa: ARG002
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Nothing to close."""
        return succeed(None)


def open_journal(
    directory: Path,
    reactor: Any,
    wall: Callable[[], float],
    meter: IMeter,
    describe_gap: Callable[[int, str], Mapping[str, Any]],
) -> Journal:
    """A journal in a folder, with a thread of its own; its ``start`` begins the file.

    :param reactor: IReactorTime and IReactorFromThreads.
    """
    return Journal(Keeper(directory, wall), Worker(reactor, "audit"), reactor, meter, describe_gap)
