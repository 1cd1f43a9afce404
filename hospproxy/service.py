"""Builds the running service from the settings. This module alone knows every part."""

from __future__ import annotations

import random
import secrets as randomness
import sqlite3
import sys
from importlib.metadata import version
from typing import Any

from attrs import asdict
from twisted.application.service import Service
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from . import clocks, contract_document, signals
from .answers import Answers
from .arrival.authority import PublicHosts
from .arrival.certificates import CertificateError
from .arrival.house import House
from .arrival.limits import ArrivalLimits
from .arrival.listeners import Listener, ListenerError, Listeners
from .arrival.trust import Trust
from .chain import Chain
from .config import Settings
from .guard.identity import IdentityCheck
from .guard.ownership import Ownership
from .guard.validation import Validation
from .memory.accounts import Accounts
from .memory.cache import Cache
from .memory.memory import Memory
from .memory.screening import Screening
from .memory.store import LruStore
from .messages import Call, Exchange, Response
from .outward.gate import Gate
from .outward.ledger.format import LedgerFormatError
from .outward.ledger.ledger import Ledger
from .outward.ledger.sealing import Seal
from .outward.retry import Budget, Retry
from .outward.upstream import Upstream, UpstreamProcessor
from .outward.writes import outcomes
from .outward.writes.entries import Entries
from .outward.writes.fate import Fate
from .outward.writes.keeping import Keeping, Results
from .outward.writes.looking import Looking
from .outward.writes.presence import UpstreamClock, WorkingTime
from .outward.writes.processor import Later, Writes
from .outward.writes.sightings import Sightings
from .record.audit import Audit
from .record.describe import Describer
from .record.intent import Intent
from .record.journal import Journal, NullJournal
from .record.opening import journal_for, refusal, trouble_of
from .record.worker import Worker
from .secrets import KeyFileError, MasterKey, master_key
from .watch.admin import Admin
from .watch.health import Health
from .watch.metrics import Metrics

_log = Logger()
TIDY_S = 60.0
"""Seconds between two clearings of the ledger."""


def build(settings: Settings, reactor: Any) -> ProxyService:
    """The proxy, assembled and not yet started; nothing is bound and no thread runs.

    :raise SystemExit: a key or certificate cannot be used; what and why is on stderr.
    """
    clocks.install_monotonic(reactor)
    try:
        return ProxyService(settings, reactor)
    except (KeyFileError, CertificateError, ListenerError, contract_document.ContractError) as error:
        print(f"hospproxy: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def reference() -> str:
    """Names a write or a screening result; nobody can guess it."""
    return "hp-" + randomness.token_hex(10)


class Parts:
    """The parts between arrival and HOSP, and how they hang together.

    :param key: the master key, of which every part gets a key of its own.
    """

    def __init__(self, settings: Settings, reactor: Any, key: MasterKey) -> None:
        self.settings = settings
        self.reactor = reactor
        self.key = key
        self.metrics = Metrics(version("hospproxy"))
        self.contract = contract_document.load(settings.contract_file)
        self.answers = Answers(self.contract)
        self.journal = self._journal()
        self.sightings = Sightings(self.contract)
        self.upstream_clock = UpstreamClock()
        self.working_time = WorkingTime(reactor.seconds())
        self.accounts = Accounts(reactor, settings.identity.max_remembered, settings.identity.remember_s)
        self.memory = Memory(
            self.contract,
            self.accounts,
            LruStore(settings.cache.max_bytes),
            reactor,
            settings.writes.late_commit_s,
        )
        self.upstream = Upstream(reactor, settings.upstream, self.metrics, settings.gate.concurrency)
        self.identity = self._identity()
        refusing = settings.audit.when_full == "refuse"
        self.audit = Audit(
            self.journal, self._describer(), reactor, refusal(self.answers) if refusing else None
        )
        self.ledger = Ledger(settings.ledger_path, Worker(reactor, "ledger"), clocks.wall)
        self.keeping, self.writes = self._writes()
        self.screening = self._screening()
        self.chain = self._chain()

    async def ask(self, *args: Any, **kwargs: Any) -> Response:
        """Chain.ask, for parts that are made before the chain."""
        return await self.chain.ask(*args, **kwargs)

    def _journal(self) -> Journal | NullJournal:
        if not self.settings.audit.enabled:
            return NullJournal()
        return journal_for(self.settings, self.reactor, self.metrics)

    def _describer(self) -> Describer:
        accepted = self.identity.has_accepted if self.identity is not None else lambda _name: False
        return Describer(self.key.subkey("claimed names"), self.contract.resources, accepted)

    def _identity(self) -> IdentityCheck | None:
        if not self.settings.identity.enabled:
            return None
        return IdentityCheck(
            self.contract,
            self.accounts,
            self.ask,
            self.key.subkey("credentials"),
            self.metrics,
            lambda identity, authorization: self.screening.accepted(identity, authorization),
        )

    def _writes(self) -> tuple[Keeping, Writes]:
        settings = self.settings
        late = settings.writes.late_commit_s
        window_s = settings.writes.resubmit_window_s
        entries = Entries(
            self.reactor,
            self.key.subkey("equal writes"),
            reference,
            max_open=settings.writes.max_open,
            window_s=window_s,
        )
        self.metrics.gauge("ledger_open", lambda: float(len(entries)))
        seal = Seal(self.key.subkey("ledger"), self.key.key_id)
        keeping = Keeping(self.ledger, seal, entries.mac, self.contract, self.reactor, clocks.wall)
        looking = Looking(
            self.contract,
            self.ask,
            self.reactor,
            self.sightings,
            self.upstream_clock,
            self.working_time,
            self.metrics,
            late_commit_s=self.contract.late_commit_s if late is None else late,
            look_s=settings.deadline_s,
        )
        fate = Fate(self.contract, self.answers, self.reactor, looking, self.sightings, self.metrics)
        later = Later(forget=self._found_later, record=self.audit.note)
        return keeping, Writes(
            self.reactor, entries, keeping, fate, self.sightings, later, self.metrics, window_s=window_s
        )

    def _found_later(self, exchange: Exchange) -> None:
        assert exchange.call is not None
        self.memory.found_later(exchange.call)

    def _screening(self) -> Screening:
        settings = self.settings.screening
        return Screening(
            self.contract,
            self.ask,
            Results(self.keeping),
            self.reactor,
            reference,
            random.SystemRandom().random,
            self.metrics,
            max_pending=settings.max_pending,
            base_s=settings.retry_base_s,
            cap_s=settings.retry_cap_s,
        )

    def _retry(self) -> Retry:
        settings = self.settings.retry
        return Retry(
            self.reactor,
            Budget(settings.budget_ratio, settings.budget_min),
            random.SystemRandom().random,
            self.metrics,
            base_s=settings.base_s,
            cap_s=settings.cap_s,
            max_attempts=settings.max_attempts,
        )

    def _chain(self) -> Chain:
        settings = self.settings
        validation = Validation(
            self.contract,
            enforce=settings.validation.mode == "enforce",
            judge=settings.validation.enabled,
            own=(outcomes.ROUTE,),
        )
        ownership = Ownership(
            self.contract,
            self.ask,
            policy=settings.ownership.policy,
            enforce=settings.ownership.mode == "enforce",
        )
        upstream = UpstreamProcessor(
            self.upstream,
            self.reactor,
            observers=(self._saw,),
            silences=(self.working_time.silent,),
            max_attempt_s=settings.deadline_s,
        )
        gate = Gate(self.reactor, settings.gate.concurrency, settings.gate.max_queue, self.metrics)
        intent = Intent(self.journal, self._describer(), self.reactor)
        places = {
            "record.audit": (settings.audit.enabled, self.audit),
            "guard.validation": (True, validation),  # its schemas can be switched off, its parsing cannot
            "guard.identity": (self.identity is not None, self.identity),
            "guard.ownership": (settings.ownership.enabled, ownership),
            "memory.screening": (settings.screening.enabled, self.screening),
            # Switched off it keeps nothing, and still tells accounts of writes.
            "memory.cache": (
                True,
                Cache(settings.cache, self.contract, self.memory, self.reactor, self.metrics),
            ),
            "record.intent": (settings.audit.enabled, intent),
            "outward.writes": (settings.writes.enabled, self.writes),
            "outward.retry": (settings.retry.enabled, self._retry()),
            "outward.gate": (settings.gate.enabled, gate),
            "outward.upstream": (True, upstream),
        }
        return Chain(
            {name: part for name, (enabled, part) in places.items() if enabled and part is not None},
            answers=self.answers,
            clock=self.reactor,
            wall=clocks.wall,
            deadline_s=settings.deadline_s,
            limit=validation.body_limit,
            meter=self.metrics,
        )

    def _saw(self, call: Call, response: Response, sent: float, received: float) -> None:
        """Every answer of HOSP tells something of HOSP."""
        self.working_time.answered(received)
        self.upstream_clock.learn(response.headers.get(b"date"), sent, received)
        self.sightings.saw(call, response)


class ProxyService(Service):
    """Starts and stops the parts in the right order.

    A MultiService would stop its children together: here nothing may end before what needs it has ended.
    """

    name = "hospproxy"

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self.parts = Parts(settings, reactor, master_key(settings))
        limits = ArrivalLimits(**asdict(settings.arrival))
        house = House(
            handler=self.parts.chain,
            clock=reactor,
            limits=limits,
            trust=Trust(settings.trusted_proxies),
            public_hosts=PublicHosts.of(settings.public_hosts),
            wall=clocks.wall,
        )
        self.house = house
        self.listeners = Listeners(settings.listeners, house, settings.state_dir)
        self.admin = self._admin() if settings.admin.enabled else None
        metrics = self.parts.metrics
        metrics.gauge("arrival_connections", lambda: float(len(house.connections)))
        metrics.gauge("body_memory_bytes", lambda: float(house.budget.used))

    def _admin(self) -> Listeners:
        journal = self.parts.journal
        health = Health(
            {
                "listeners": lambda: None if self.listeners.ports else "not listening",
                "journal": lambda: trouble_of(journal, self._settings.audit.when_full),
                "ledger": lambda: self.parts.ledger.trouble,
                "draining": lambda: "stopping" if self.house.connections.draining else None,
            }
        )
        house = House(
            handler=Admin(health, self.parts.metrics),
            clock=self._reactor,
            limits=ArrivalLimits(max_connections=100, body_memory_bytes=1 << 20),
            wall=clocks.wall,
        )
        return Listeners([Listener(self._settings.admin.url, plain="serve")], house, self._settings.state_dir)

    def privilegedStartService(self) -> None:
        """Bind every port while the process still may."""
        try:
            self.listeners.listen(self._reactor)
            if self.admin is not None:
                self.admin.listen(self._reactor)
        except CannotListenError as error:
            # Whatever was bound ends with the process.
            print(f"hospproxy: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Begin the journal; the ports are open already."""
        super().startService()  # type: ignore[no-untyped-call]
        if not self.listeners.ports:
            self.privilegedStartService()
        journal = self.parts.journal
        if isinstance(journal, Journal):
            journal.start().addErrback(self._no_journal)
        self._open_ledger()
        # Twice: a reactor that begins to run puts its own handlers in place of whatever is there.
        signals.install(self._reactor, self._reload)
        self._reactor.callWhenRunning(signals.install, self._reactor, self._reload)
        for (host, port), listener in zip(self.listeners.addresses(), self._settings.listeners, strict=True):
            scheme = listener.url.partition("://")[0]
            _log.info("hospproxy serves {scheme}://{host}:{port}", scheme=scheme, host=host, port=port)
        if self.admin is not None:
            for host, port in self.admin.addresses():
                _log.info("hospproxy admin on http://{host}:{port}", host=host, port=port)

    def _open_ledger(self) -> None:
        """Here, not earlier: a lock and a database do not survive the fork of a daemon."""
        try:
            self.parts.ledger.open()
        except (LedgerFormatError, sqlite3.Error, OSError) as error:
            print(f"hospproxy: the ledger cannot be used: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        self._tidying = task.LoopingCall(lambda: Deferred.fromCoroutine(self.parts.writes.tidy()))
        self._tidying.clock = self._reactor
        self._tidying.start(TIDY_S, now=False)
        Deferred.fromCoroutine(self._recover()).addErrback(
            lambda failure: _log.failure("what an earlier process left could not be taken over", failure)
        )

    async def _recover(self) -> None:
        for note in await self.parts.writes.recover():
            self.parts.screening.resume(note)

    def _no_journal(self, failure: Failure) -> None:
        _log.critical("the audit journal cannot be begun: {why}", why=failure.getErrorMessage())
        self._reactor.stop()

    def _reload(self) -> None:
        try:
            self.listeners.reload()
        except (CertificateError, ListenerError) as error:
            _log.error("the certificates stay as they are: {why}", why=str(error))
        else:
            _log.info("certificates were read again")

    def stopService(self) -> Deferred[None]:
        """Stop listening, answer what is under way, store what is held, close the record last."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts, until = self.parts, self._reactor.seconds() + self._settings.drain_s
        _log.info("stopping: answering what is under way")
        await self.listeners.stop(self._settings.drain_s)
        idle = Deferred.fromCoroutine(parts.screening.idle())
        idle.addTimeout(max(0.0, until - self._reactor.seconds()), self._reactor)
        idle.addErrback(lambda _failure: None)
        await idle
        parts.writes.stop()
        left = parts.screening.stop()
        if left:
            _log.info("{left} screening results are left to the next start", left=left)
        self._tidying.stop()
        await parts.ledger.shut()
        await parts.upstream.close()
        if self.admin is not None:
            await self.admin.stop(0.5)
        await parts.journal.close()
        _log.info("stopped")
