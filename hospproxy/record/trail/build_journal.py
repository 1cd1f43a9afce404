"""Builds the journal from the settings, with its threads; and the upkeep of closed files, which may run elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...exchange.answers import ProxyResponses, accept_class
from ...exchange.exchange import Exchange
from ...http.errors import ProxyError, RecordFailed
from ...http.messages import Response
from ...interfaces import IJournal, IMeter
from ...keys.signing_key import Signer, signer_for
from ...process.host import REAL, Host
from ...process.worker import BriefThread, TaskRunner
from ..admin_events import AdminTrail
from ..describe import gap
from ..intent import RETRY_AFTER_S
from .current import RotationPlan
from .ends import Publish, unpublished
from .follower import Cursor
from .journal import Journal, JournalBounds
from .keeper import TrailKeeper
from .null_journal import NullJournal
from .record_line import encode_record
from .upkeep import TrailUpkeep, UpkeepResult

if TYPE_CHECKING:
    from ...config import Settings

_log = Logger()
_EVERY_S = 60.0
"""Seconds between two upkeep runs over the folder."""


class UpkeepThread:
    """Runs a tender in a thread of its own, so that compressing a file delays no record."""

    def __init__(
        self, tender: TrailUpkeep, worker: TaskRunner, seconds: Callable[[], float], meter: IMeter
    ) -> None:
        self._tender = tender
        self._worker = worker
        self._seconds = seconds
        self._meter = meter
        self._at: float | None = None
        self._busy = False
        self._told: frozenset[str] = frozenset()

    def __call__(self, *current: Cursor) -> None:
        """Start a run, if one is due and none is running.

        :param current: where journals are being written.
        """
        now = self._seconds()
        if self._busy or (self._at is not None and now - self._at < _EVERY_S):
            return
        self._at, self._busy = now, True
        self._worker.run(lambda: self._tender.run(*current)).addCallbacks(self._done, self._failed)

    def stop(self) -> None:
        """End the thread; a run in progress is finished first, unless the process ends."""
        self._worker.stop()

    def _done(self, done: UpkeepResult) -> None:
        self._busy = False
        self._meter.count("record_files_total", done.packed, event="packed")
        self._meter.count("record_files_total", done.removed, event="removed")
        for trouble in done.troubles:
            if trouble not in self._told:  # log it once, not every minute
                _log.error(
                    "Audit file cannot be compressed or removed; it stays, and is tried again every minute: {trouble}",
                    trouble=trouble,
                )
        self._told = frozenset(done.troubles)

    def _failed(self, failure: Failure) -> None:
        self._busy = False
        _log.failure("Upkeep of audit files failed; it is tried again in a minute", failure)


def open_journal(
    directory: Path,
    reactor: Any,
    wall: Callable[[], float],
    meter: IMeter,
    describe_gap: Callable[[int, str], Mapping[str, Any]],
    signer: Signer,
    *,
    plan: RotationPlan | None = None,
    bounds: JournalBounds | None = None,
    publish: Publish = unpublished,
    by_thread: bool = False,
    host: Host = REAL,
) -> Journal:
    """A journal in a folder, with threads of its own. Call its ``start`` to begin the file.

    :param reactor: IReactorTime, IReactorFDSet and IReactorFromThreads.
    :param signer: signs digests.
    :param publish: as for ``TrailKeeper``.
    :param by_thread: do not try io_uring.
    :param host: provides the threads and the ring.
    """
    keeper = TrailKeeper(directory, wall, signer=signer, plan=plan, publish=publish)
    return Journal(
        keeper,
        host.worker(reactor, "audit"),
        reactor,
        meter,
        describe_gap,
        bounds=bounds,
        by_clock=True,
        make_ring=None if by_thread else lambda: host.ring(reactor),
        after_poll=lambda begin: reactor.callLater(0.0, begin),
    )


def journal_for(
    settings: Settings,
    reactor: Any,
    meter: IMeter,
    publish: Publish = unpublished,
    host: Host = REAL,
) -> Journal:
    """The journal that the settings describe.

    :param publish: as for ``TrailKeeper``.
    :raise KeyFileError: the signing key cannot be used.
    """
    audit = settings.audit
    plan = RotationPlan(
        rotate_bytes=audit.rotate_bytes, rotate_s=audit.rotate_s, reserve_bytes=audit.reserve_bytes
    )
    ahead_s = audit.buffer_s if audit.durability == "buffered" else 0.0
    journal = open_journal(
        settings.audit_path,
        reactor,
        host.wall,
        meter,
        gap(host.wall),
        _signer(settings, host),
        plan=plan,
        bounds=JournalBounds(buffer_s=ahead_s, buffer_records=audit.buffer_records),
        publish=publish,
        by_thread=audit.commit == "thread",
        host=host,
    )
    meter.gauge("record_disk_full", lambda: float(journal.full))
    meter.gauge("record_reserve_bytes", lambda: float(journal.reserve_left))
    return journal


def keep_apart(settings: Settings, record: Mapping[str, Any], host: Host = REAL) -> None:
    """Store a record of a process whose journal is closed, or that has none. Blocks.

    It goes into the next journal that no process writes, and that file is closed again.

    :raise RecordFailed: it is not on disk.
    :raise KeyFileError: the signing key cannot be used.
    """
    keeper = TrailKeeper(settings.audit_path, host.wall, signer=_signer(settings, host))
    try:
        keeper.keep([encode_record(record)])
    finally:
        keeper.close()


def events_for(settings: Settings, reactor: Any, journal: IJournal, host: Host = REAL) -> AdminTrail:
    """Make the administrative events of a process that has a journal.

    Once that is closed, as in a replacement that fails late, they are kept apart.
    """

    def append(record: Mapping[str, Any]) -> Deferred[None]:
        def apart(failure: Failure) -> Deferred[None]:
            failure.trap(RecordFailed)
            return BriefThread(reactor, "audit").run(lambda: keep_apart(settings, record, host))

        return journal.append(record).addErrback(apart)

    return AdminTrail(append, reactor, host.wall)


def _signer(settings: Settings, host: Host) -> Signer:
    audit = settings.audit
    return signer_for(
        audit.signing_key_file,
        settings.signing_key_default,
        audit.signing_key.value if audit.signing_key is not None else None,
        host.entropy,
    )


def upkeep_for(
    settings: Settings,
    reactor: Any,
    meter: IMeter,
    needed_from: Callable[[str], int | None],
    host: Host = REAL,
) -> UpkeepThread:
    """The upkeep that the settings describe. It may run in another process than the journal.

    :param needed_from: as for ``TrailUpkeep``.
    :raise KeyFileError: the signing key cannot be used.
    """
    tender = TrailUpkeep(
        settings.audit_path,
        _signer(settings, host),
        host.wall,
        settings.audit.retention_days,
        needed_from,
    )
    return UpkeepThread(tender, host.worker(reactor, "audit-files"), reactor.seconds, meter)


def refusal_for(settings: Settings, answers: ProxyResponses) -> Callable[[Exchange], Response] | None:
    """Return what answers every request while the disk is full; None if the settings refuse only writes."""
    return _refusal(answers) if settings.audit.when_full == "refuse" else None


def _refusal(answers: ProxyResponses) -> Callable[[Exchange], Response]:
    """Makes the 503 response for every request while the disk is full, if the settings refuse reads too."""

    def refused(exchange: Exchange) -> Response:
        error = ProxyError(
            "The disk is full: the request was not processed, because it could not be recorded.",
            status=503,
            retry_after_s=RETRY_AFTER_S,
        )
        response = answers.error(error, accept_class(exchange.request.headers.get(b"accept")))
        return response.having(b"X-Request-Id", exchange.request.client.request_id.encode("latin-1"))

    return refused


def trouble_of(journal: Journal | NullJournal, when_full: str) -> str | None:
    """Why a balancer should use another process, or None if it need not.

    A full disk counts only if the settings refuse reads then.
    """
    return journal.trouble or ("the disk is full" if journal.full and when_full == "refuse" else None)
