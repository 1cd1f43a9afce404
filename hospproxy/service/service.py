"""The running service: start order, stop order and reload."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

from twisted.application.service import Service
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..arrival.authority import PublicHosts
from ..arrival.descriptors import open_files, within_descriptors
from ..arrival.listener_context import ListenerContext
from ..arrival.listeners import ListenerError, Listeners
from ..arrival.sampled_shortcuts import shortcuts_of
from ..arrival.tls.certificates import CertificateError
from ..config import Settings
from ..contract import document as contract_document
from ..control.owner import Replaceable
from ..control.owner_process import OwnerProcess
from ..keys.origin_secrets import SecretError
from ..keys.secrets import KeyFileError
from ..options.secret_values import master_key
from ..options.source import NO_ENVIRONMENT, NO_SOURCE, OptionsSource, SecretEnvironment
from ..outward.gate.redis.base_share import FILE as BASE_SHARE
from ..outward.ledger.format import LedgerFormatError
from ..process import clocks
from ..process.background import Background
from ..process.folders import remove_left
from ..process.host import REAL, Host
from ..process.shutdown import GRACE_S, STEPS_S, Step, end_in_order
from ..record.sinks.build_sinks import SinkError
from ..record.trail.build_journal import events_for, trouble_of
from ..record.trail.journal import Journal
from ..state.lock import FolderLock
from ..watch.admin import Admin
from ..watch.audit_page.build_audit_page import AuditPageService
from ..watch.build_admin import access_for, admin_listener
from ..watch.health import Health
from ..watch.merge import DRAINING
from ..watch.reload_page import ReloadPage
from ..watch.status.build_status import status_for
from .assembly import assemble
from .service_reload import ServiceReload, trust_of
from .worker_identity import ONLY, Seat

_log = Logger()
TIDY_S = 60.0
"""Seconds between two removals of old ledger entries."""
DRAINED_S = 0.5
"""Seconds beyond ``drain_s`` in which aborted connections close."""
CATCH_UP_S = 5.0
"""Seconds that the audit sinks have at a stop to catch up."""


def build(
    settings: Settings,
    reactor: Any,
    seat: Seat = ONLY,
    host: Host = REAL,
    lock: FolderLock | None = None,
    source: OptionsSource = NO_SOURCE,
    environment: SecretEnvironment = NO_ENVIRONMENT,
) -> ProxyService:
    """Build the proxy without starting it; nothing is bound and no thread runs.

    :param seat: of this process among the workers of its machine.
    :param host: the system that the process runs on.
    :param lock: of the state folder; None if a supervisor has it, or if the caller makes sure that no other proxy
        runs.
    :param source: where the settings come from.
    :param environment: has the secrets that were taken out of the environment.
    :raise SystemExit: a key, certificate, secret, listener, sink or contract is not usable; stderr says which and
        why.
    """
    clocks.install_monotonic(reactor)
    try:
        return ProxyService(settings, reactor, seat, host, lock, source, environment)
    except (
        KeyFileError,
        CertificateError,
        ListenerError,
        SecretError,
        SinkError,
        contract_document.ContractError,
    ) as error:
        print(f"hospproxy: {error}", file=sys.stderr)
        raise SystemExit(1) from None


class ProxyService(Service):
    """Starts and stops the parts in the right order.

    A MultiService would stop its children together. Here no part ends before those that need it have ended.

    :ivar left: after the stop, names of the steps that failed or did not end in time.
    """

    name = "hospproxy"

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        seat: Seat = ONLY,
        host: Host = REAL,
        lock: FolderLock | None = None,
        source: OptionsSource = NO_SOURCE,
        environment: SecretEnvironment = NO_ENVIRONMENT,
    ) -> None:
        self._settings = self.settings = settings
        self._reactor = reactor
        self._seat = seat
        self._host = host
        self._lock = lock
        self.replaceable: Replaceable | None = None
        master = master_key(settings, host.entropy)
        self.parts = parts = assemble(settings, reactor, master, seat.slot, host, seat.ends)
        new_id = host.tokens(16)
        context = ListenerContext(
            handler=self.parts.chain,
            clock=reactor,
            limits=within_descriptors(settings.arrival, open_files()),
            trust=trust_of(settings),
            public_hosts=PublicHosts.of(settings.public_hosts),
            wall=host.wall,
            new_id=new_id,
            meter=self.parts.metrics,
            shortcuts=shortcuts_of(
                parts.traces.sampler, settings.cache.shortcuts, reactor, host.wall, new_id, parts.metrics,
                host.entropy(32),
            ),
        )  # fmt: skip
        self.context = context
        self.listeners = Listeners(settings.listeners, context, settings.state_dir)
        self.left: list[str] = []
        self._tidying: task.LoopingCall | None = None
        self.health = self._health()
        # Worker 0 runs the admin listener for all workers.
        runs_admin = settings.admin.enabled and seat.slot == 0
        self.audit_page = self._audit_page() if runs_admin else None
        self.status = status_for(
            settings, reactor, host, self.health, parts.metrics, parts.journal, seat, parts.shared
        )
        self.access = access_for(settings, self.audit_page) if runs_admin else None
        self._reload_page = ReloadPage(seat.reload)
        self.admin = self._admin() if runs_admin else None
        self.reloading = ServiceReload(
            parts=parts.reloading, listeners=self.listeners, admin=self.admin, access=self.access,
            status=self.status, use=self._use,
        )  # fmt: skip
        self.control: OwnerProcess | None = None
        if lock is not None:  # not a worker of a supervisor
            self.control = OwnerProcess(
                reactor, settings, source, environment, apply=self.reloading.apply,
                read_again=lambda: self.reloading.read_again(self.settings),
                events=events_for(settings, reactor, parts.journal, host), master=lambda: master,
                worker=host.worker(reactor, "options"), wall=host.wall, told=self.status.note,
                replaceable=lambda: self.replaceable,
            )  # fmt: skip
            self._reload_page.reload = self.control.reload
        parts.metrics.gauge("arrival_connections", lambda: float(len(context.connections)))
        parts.metrics.gauge("handshakes_open", lambda: float(len(context.handshakes)))
        parts.metrics.gauge("body_memory_bytes", lambda: float(context.budget.used))

    def _health(self) -> Health:
        journal, shared = self.parts.journal, self.parts.shared
        foreign = "Redis holds data made with another master key"
        return Health(
            {
                "listeners": lambda: None if self.listeners.ports else "not listening",
                "journal": lambda: trouble_of(journal, self._settings.audit.when_full),
                "ledger": lambda: self.parts.ledger.trouble,
                # Redis being away is not reported: no other worker would do better. A foreign key affects this
                # machine alone.
                "redis": lambda: foreign if shared is not None and shared.naming.foreign else None,
                DRAINING: lambda: "stopping" if self.context.connections.draining else None,
            }
        )

    def _admin(self) -> Listeners:
        parts, status, gather = self.parts, self.status.page, self._seat.gather
        page = self.audit_page.page if self.audit_page is not None else None
        hosts, reload, trust = self._settings.admin.reached_as, self._reload_page, trust_of(self._settings)
        handler = Admin(
            self.health, parts.metrics, page, hosts, gather, status, self.access, reload, parts.contract
        )
        return admin_listener(self._settings, self._reactor, self._host, handler, parts.metrics, trust)

    def _audit_page(self) -> AuditPageService | None:
        settings = self._settings
        if not settings.audit_page.enabled:
            return None
        return AuditPageService(
            settings,
            self._reactor,
            self.parts.courier.reader,
            self.parts.journal,
            self.parts.describer.pseudonym,
        )

    def privilegedStartService(self) -> None:
        """Bind every port while the process still has the privileges for it."""
        try:
            self.listeners.listen(self._reactor, self._seat.sockets)
            if self.admin is not None:
                self.admin.listen(self._reactor, self._seat.admin)
        except CannotListenError as error:
            print(f"hospproxy: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Start the journal and all other parts; the ports are bound already."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._lock is not None:
            self._lock.name_holder()  # twistd may have forked since the lock was taken
        if not self.listeners.ports:
            self.privilegedStartService()
        self.parts.courier.fork()  # before there are threads and an io_uring
        if isinstance(journal := self.parts.journal, Journal):
            journal.start().addErrback(self._no_journal)
        self.parts.places.start()
        if self.parts.unfinished is not None:
            left = self.parts.unfinished.open()
            self.parts.gate.inherit(left, self.parts.unfinished.longest_s)
        # Before the first write: accounts that were being changed are in doubt until the outcome is known.
        self.parts.accounts.resume(self.parts.disk.open())
        if self._seat.slot == 0:
            kept = (self._settings.cache_path, self._settings.state_dir / BASE_SHARE)
            remove_left(kept, self._settings.workers)
        self._open_ledger()
        if self.parts.copy is not None:
            self.parts.copy.start()
        self._join()
        # Install twice: a reactor that starts to run replaces the handlers with its own.
        self._use(self._settings)
        self._reactor.callWhenRunning(self._use, self._settings)
        if self._seat.sockets is None or self._seat.announces:  # a supervisor logs it for its workers
            self._announce()
        if self.audit_page is not None:
            self.audit_page.start()
        self.parts.courier.start()
        self.status.start()
        if self.control is not None:
            self.control.start()
            self.control.serves()
        self._host.settle()

    def _announce(self) -> None:
        for (host, port), listener in zip(self.listeners.addresses(), self._settings.listeners, strict=True):
            scheme = listener.url.partition("://")[0]
            _log.info("hospproxy serves {scheme}://{host}:{port}", scheme=scheme, host=host, port=port)
        if self.admin is not None:
            for host, port in self.admin.addresses():
                scheme = self._settings.admin.address.scheme
                _log.info("hospproxy admin on {scheme}://{host}:{port}", scheme=scheme, host=host, port=port)

    def _open_ledger(self) -> None:
        """Open the ledger. Not earlier: a lock and a database connection do not survive the fork of a daemon."""
        try:
            self.parts.ledger.open()
        except (LedgerFormatError, sqlite3.Error, OSError) as error:
            print(f"hospproxy: the ledger cannot be opened: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        self._tidying = task.LoopingCall(self._tidy)
        self._tidying.clock = self._reactor
        self._tidying.start(TIDY_S, now=False)
        message = "writes of an earlier process were not recovered; restart to retry"
        Background(_log, message).run(self._recover())

    def _tidy(self) -> Deferred[None]:
        """Remove old ledger entries. A failure, for instance on a full disk, does not end the loop."""
        message = "old ledger entries could not be removed; next try in {every_s:g} s"
        return Background(_log, message, every_s=TIDY_S).run(self.parts.writes.tidy())

    def _join(self) -> None:
        """Join the other workers. Done after the ledger is open: its lock shows them that this worker is alive."""
        parts = self.parts
        if parts.shared is None:
            return
        from ..sharing.build_sharing import join

        try:
            owner = parts.ledger.owner
            join(
                parts.shared, self._settings.state_dir, owner.name, owner.is_gone, parts.disk.position(),
                self._host.entropy,
            )  # fmt: skip
        except OSError as error:
            print(f"hospproxy: this machine's name cannot be stored: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    async def _recover(self) -> None:
        try:
            for note in await self.parts.writes.recover():
                self.parts.screening.resume(note)
        except Exception:
            if self.running:
                raise
            # A stop interrupted it and closed the ledger; the next start takes over what is left.

    def _no_journal(self, failure: Failure) -> None:
        _log.critical("the audit journal cannot be started, stopping: {why}", why=failure.getErrorMessage())
        self._reactor.stop()

    @property
    def source(self) -> OptionsSource:
        """Where the options in force come from."""
        return NO_SOURCE if self.control is None else self.control.options.source

    def _use(self, settings: Settings) -> None:
        self._settings = self.settings = settings
        self._host.install_signals(self._reactor, self.reload, settings.drain_s + GRACE_S)

    def reload(self) -> None:
        """Apply the options file as it is now, and read certificates and secrets again (SIGHUP)."""
        if self.control is None:
            self.reloading.read_again(self.settings)
        else:
            self.control.hangup()

    def stopService(self) -> Deferred[None]:
        """Stop listening, finish the requests in flight, store what is held, close the journal, let sinks catch up."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self.control is not None:
            self.control.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        _log.info("stopping: finishing the requests in flight")
        drained_s = self._settings.drain_s + DRAINED_S
        self.left = await end_in_order(self._draining(), self._reactor, drained_s)
        self.left += await end_in_order(self.ending(), self._reactor, STEPS_S)
        if self.left:
            _log.error("stopped; these steps failed or were late: {left}", left=", ".join(self.left))
        else:
            _log.info("stopped")

    def _draining(self) -> list[Step]:
        """Finish the responses to clients, and store what clients were promised."""
        drain_s = self._settings.drain_s
        until = self._reactor.seconds() + drain_s
        return [
            Step("listeners", lambda _: self.listeners.stop(drain_s)),
            Step("screenings", lambda _: self._screenings_stored(until)),
        ]

    def ending(self) -> list[Step]:
        """The steps that end all parts, each before what it needs. The journal and the sinks get most of the time."""
        parts = self.parts
        return [
            Step("prober", lambda _: parts.prober.stop()),
            Step("writes", lambda _: parts.writes.stop()),
            Step("cache refresher", lambda _: parts.cache.refresher.stop()),
            Step("screenings that are left", lambda _: self._leave_screenings()),
            Step("tidying of the ledger", lambda _: self._stop_tidying()),
            Step("upstream", lambda _: parts.upstream.close(), 0.25),
            Step("places", lambda _: parts.places.stop(), 0.5),
            Step("unfinished requests", lambda _: self._leave_unfinished()),
            Step("admission", lambda _: parts.admission.stop()),
            Step("claims", lambda _: parts.claims.stop()),
            # After all writes that others must learn of, and before the ledger's lock is released that shows this
            # worker alive.
            Step("sharing", lambda _: parts.shared.stop() if parts.shared is not None else None, 0.5),
            Step("ledger", lambda _: parts.ledger.shut(), 1.0),
            Step("cache on disk", lambda _: parts.disk.shut(), 0.5),
            Step("copy", lambda _: None if parts.copy is None else parts.copy.stop()),
            Step("admin", lambda _: self.admin.stop(0.5) if self.admin is not None else None, 0.75),
            Step("audit page", lambda _: self.audit_page.stop() if self.audit_page else None, 0.25),
            Step("status", lambda _: self.status.stop(), 0.25),
            Step("traces", lambda has_s: parts.traces.stop(has_s * 0.8)),
            # Alerts are records too: they are raised before the journal is closed.
            Step("alerts", lambda has_s: parts.courier.noticed(has_s * 0.8), 0.25),
            Step("journal", lambda _: parts.journal.close(), 1.5),
            Step("courier", lambda has_s: parts.courier.stop(min(CATCH_UP_S, has_s * 0.8)), 1.5),
        ]

    def _screenings_stored(self, until: float) -> Deferred[None]:
        """Wait for the notes of screenings, for as long as clients may still be answered."""
        idle = Deferred.fromCoroutine(self.parts.screening.idle())
        idle.addTimeout(max(0.0, until - self._reactor.seconds()), self._reactor)
        return idle.addErrback(lambda _failure: None)

    def _leave_screenings(self) -> None:
        if left := self.parts.screening.stop():
            _log.info("{left} screening results are not stored yet; the next start resumes", left=left)

    def _leave_unfinished(self) -> None:
        if self.parts.unfinished is not None:
            self.parts.unfinished.stop()

    def _stop_tidying(self) -> None:
        if self._tidying is not None and self._tidying.running:
            self._tidying.stop()
