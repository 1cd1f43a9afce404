"""The sink that makes the access log: the journal's carrier feeds it, and a clock closes its file."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet import task
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...interfaces import IAuditWriter, IMeter
from ...process.worker import TaskRunner
from ..trail.follower import Batch
from .entry import UnreadableRecord, entry_of
from .formats import MakeLine, balancer_id
from .log_folder import LogFolder

TEND_S: Final = 5.0
"""Seconds between two checks whether the open file is to be closed."""

_log = Logger()


@implementer(IAuditWriter)
class AccessLogSink:
    """Writes a line for each request of a client, once.

    :param make_line: in the format that the operator chose.
    :param worker: a thread of its own, since all files are written there.
    :param record_ids: as for ``entry_of``.
    :ivar from_now: it begins with the records of today, not with years of them.
    """

    name = "access_log"
    from_now = True

    def __init__(
        self,
        folder: LogFolder,
        make_line: MakeLine,
        worker: TaskRunner,
        clock: Any,
        meter: IMeter,
        *,
        record_ids: bool = False,
    ) -> None:
        self._folder = folder
        self._make_line = make_line
        self._worker = worker
        self._meter = meter
        self._record_ids = record_ids
        self._said = ""
        self._tending = task.LoopingCall(self._tend)
        self._tending.clock = clock

    def start(self) -> None:
        """Close files when they are due, also while no request arrives."""
        self._tending.start(TEND_S)

    async def stop(self) -> None:
        """Let another process write; call it once the carrier has stopped."""
        if self._tending.running:
            self._tending.stop()
        await self._worker.run(self._folder.close)
        self._worker.stop()

    async def open(self) -> None:
        """Lock the folder for this process.

        :raise FolderInUse: another process writes to it.
        """
        await self._worker.run(self._folder.open)

    async def write(self, batch: Batch) -> None:
        """Add the lines of a batch that are not there yet.

        :raise OSError: they cannot be written; they are not in the log.
        """
        closed = await self._worker.run(lambda: self._add(batch))
        if closed:
            self._meter.count("access_log_files_total", closed, event="closed")

    async def close(self) -> None:
        """Do nothing: ``stop`` follows."""

    def _add(self, batch: Batch) -> int:
        journal = f"{batch.trail}/{batch.position.journal}"
        count = self._folder.missing(journal, batch.first_seq, len(batch.lines))
        records = batch.lines[len(batch.lines) - count :]
        lines = [line for record in records if (line := self._line(record, batch.trail)) is not None]
        if not lines:
            return 0
        return self._folder.add(lines, journal, batch.position.seq, balancer_id(batch.trail))

    def _line(self, record: bytes, trail: str) -> bytes | None:
        try:
            entry = entry_of(record, record_ids=self._record_ids)
        except UnreadableRecord as error:
            _log.error(
                "The access log lacks a request, because its record cannot be read: {why}", why=str(error)
            )
            return None
        return None if entry is None else self._make_line(entry, trail)

    def _tend(self) -> Any:
        return self._worker.run(self._closed_if_due).addCallbacks(self._tended, self._not_tended)

    def _closed_if_due(self) -> bool:
        self._folder.open()
        return self._folder.close_file(only_due=True)

    def _tended(self, closed: bool) -> None:
        self._said = ""
        if closed:
            self._meter.count("access_log_files_total", event="closed")

    def _not_tended(self, failure: Failure) -> None:
        why = failure.getErrorMessage()
        if why != self._said:  # once in an outage
            self._said = why
            _log.error("The access log cannot close its file, and tries again: {why}", why=why)
