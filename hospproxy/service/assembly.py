"""Build all parts between arrival and the upstream, stage by stage; only this module knows every part.

A stage is a function. What it returns is complete, and is all that the stages after it can use, so that mypy shows
that nothing is used before it exists:

1. ``foundations.py``: settings, system, metrics, contract, the connection to other workers
2. the audit trail: the journal, and the courier that does all that comes after it; and the ledger of writes
3. the gate: slots at HOSP, breaker, prober
4. the memory: cache entries, accounts, what outlives the process
5. what HOSP's responses have shown
6. writes and screenings
7. the processors (``chain_parts.py``), and the chain that runs them; ``parts_reload.py`` applies changed options

Parts that send requests are built before the chain: they get ``OwnRequests.ask``. Where a part must know of something
that happens in a part built before it, it listens to a ``Hook`` of that part.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred

from ..config import Settings
from ..contract.contract import Contract
from ..copy.build_copy import copy_for
from ..copy.intake import CopyIntake
from ..courier.alert_exchange import AlertExchange
from ..courier.delivery import Courier
from ..courier.here import CourierHere, NoCourier
from ..courier.supervised import CourierProcess
from ..exchange.exchange import Identified
from ..foundations import Foundations, foundations_of
from ..guard.admission.processor import Admission
from ..guard.build_guard import admission_for, identity_for, knowledge_of, refusals_for
from ..guard.knowledge import Knowledge
from ..keys.secrets import MasterKey
from ..memory.accounts import Accounts
from ..memory.build_memory import Remembered, remembered_by, second_of
from ..memory.cache import Cache
from ..memory.coded_contents import CodedContents
from ..memory.disk import DiskCache
from ..memory.memory import Memory, WriteAuthor
from ..memory.remote_invalidation import RemoteInvalidation
from ..memory.screening_notes import ScreeningNotes
from ..outward.gate.build_gate import gate_parts
from ..outward.gate.gate import Gate
from ..outward.gate.in_flight_file import InFlightFile
from ..outward.gate.probe import Prober
from ..outward.gate.slots import Slots
from ..outward.ledger.ledger import Ledger
from ..outward.retry import budget_for
from ..outward.upstream import Upstream
from ..outward.upstream_request import via_name
from ..outward.writes.background import LateOutcomes
from ..outward.writes.build_writes import KeptWrites, Observed, kept_writes, ledger_of, observed_by, writes_of
from ..outward.writes.claims import Claims
from ..outward.writes.overtaken import OutsideChanges
from ..outward.writes.processor import Writes
from ..outward.writes.screening_ledger import ScreeningLedger
from ..process.host import REAL, Host
from ..record.access_log.build_access_log import http_facts_for
from ..record.audit import Audit
from ..record.describe import Describer
from ..record.intent import Intent
from ..record.patient import PatientOfRecord
from ..record.sinks.build_sinks import check_writers
from ..record.trail.build_journal import journal_for, refusal_for
from ..record.trail.ends import JournalEnds
from ..record.trail.journal import Journal
from ..record.trail.null_journal import NullJournal
from ..traces.build_traces import Traces, traces_for
from ..watch.metrics import Metrics
from .chain import Chain
from .chain_parts import ChainParts
from .parts_reload import PartsReload

if TYPE_CHECKING:
    from ..sharing.member import SharingMember


@frozen(slots=True, kw_only=True)
class Parts:
    """The parts that the service starts, stops and asks.

    :param reloading: applies changed options.
    """

    metrics: Metrics
    contract: Contract
    shared: SharingMember | None
    journal: Journal | NullJournal
    courier: Courier
    describer: Describer
    ledger: Ledger
    places: Slots
    unfinished: InFlightFile | None
    gate: Gate
    prober: Prober
    disk: DiskCache
    accounts: Accounts
    cache: Cache
    upstream: Upstream
    admission: Admission
    claims: Claims
    writes: Writes
    screening: ScreeningNotes
    chain: Chain
    traces: Traces
    copy: CopyIntake | None
    reloading: PartsReload


@frozen(slots=True, kw_only=True)
class _Trail:
    journal: Journal | NullJournal
    courier: Courier


def assemble(
    settings: Settings,
    reactor: Any,
    key: MasterKey,
    slot: int = 0,
    host: Host = REAL,
    ends: JournalEnds | None = None,
) -> Parts:
    """Build the parts of one process, and start none.

    :param key: the master key; each part gets its own derived key.
    :param slot: of this process among the workers of its machine.
    :param host: the system that the process runs on.
    :param ends: where the workers of a machine note how far their journals are on disk; None: make it.
    """
    base = foundations_of(settings, reactor, key, slot, host)
    trail = _trail(base, ends)
    ledger = ledger_of(base)
    gate = gate_parts(base, ledger.is_gone)
    refusals = refusals_for(base)
    memory = remembered_by(base, away=gate.away, stalls=gate.stalls, let_in=refusals.written)
    observed = observed_by(base)
    knowledge = knowledge_of(base)
    _hear_others(base, memory, observed, knowledge)
    kept = kept_writes(base, ledger, observed)
    screening = _screening(base, kept)
    identity = identity_for(base, memory.accounts, refusals, screening.accepted)
    describer = Describer(
        key.subkey("claimed names"),
        base.contract.resources,
        (lambda _name: False) if identity is None else identity.has_accepted,
        base.contract.routes,
        http_facts_for(settings),
    )
    audit = Audit(
        trail.journal,
        describer,
        reactor,
        refusal_for(settings, base.answers),
        base.turns,
    )
    writes = writes_of(base, kept, observed, _later(memory.memory, audit))
    outside = OutsideChanges(
        base.contract, kept.entries.settled_changes, writes.changed_outside, base.metrics
    )
    cache = _cache(base, memory.memory)
    admission = admission_for(base, memory.accounts, refusals, gate.workers)
    copy = copy_for(base)
    if copy is not None:
        memory.memory.acknowledged.listen(copy.deleted)
    via = via_name(key.subkey("via"))
    upstream = Upstream(reactor, settings.upstream, base.metrics, settings.gate.concurrency, via)
    chain_parts = ChainParts(
        base=base,
        audit=audit,
        admission=admission,
        via=via,
        identity=identity,
        knowledge=knowledge,
        patient=PatientOfRecord(base.contract, base.own_requests.ask, reactor),
        screening=screening,
        cache=cache,
        coded=_coded(base),
        intent=Intent(trail.journal, describer, reactor),
        writes=writes,
        budget=budget_for(settings.retry, gate.workers),
        gate=gate.gate,
        upstream=upstream,
        observed=observed,
        outside=outside,
        copy=copy,
    )
    traces = traces_for(settings, reactor, host, base.metrics)
    connected = chain_parts.connected(settings)
    chain = Chain(
        connected.processors,
        own_requests=base.own_requests,
        answers=base.answers,
        clock=reactor,
        wall=host.wall,
        deadline_s=connected.deadline_s,
        limit=connected.limit,
        meter=base.metrics,
        tracer=traces.tracer,
    )
    reloading = PartsReload(
        chain=chain,
        chain_parts=chain_parts,
        answers=base.answers,
        gate=gate,
        refusals=refusals,
        accounts=memory.accounts,
        disk=memory.disk,
        store=memory.store,
        entries=kept.entries,
        courier=trail.courier,
    )
    return Parts(
        metrics=base.metrics,
        contract=base.contract,
        shared=base.shared,
        journal=trail.journal,
        courier=trail.courier,
        describer=describer,
        ledger=ledger,
        places=gate.places,
        unfinished=gate.unfinished,
        gate=gate.gate,
        prober=gate.prober,
        disk=memory.disk,
        accounts=memory.accounts,
        cache=cache,
        upstream=upstream,
        admission=admission,
        claims=kept.claims,
        writes=writes,
        screening=screening,
        chain=chain,
        traces=traces,
        copy=copy,
        reloading=reloading,
    )


def _trail(base: Foundations, ends: JournalEnds | None) -> _Trail:
    settings, reactor, host, metrics, slot = base.settings, base.reactor, base.host, base.metrics, base.slot
    if not settings.audit.enabled:
        return _Trail(journal=NullJournal(), courier=NoCourier())
    if not host.has_courier:
        journal = journal_for(settings, reactor, metrics, host=host)
        here = CourierHere(settings, reactor, metrics, journal, host=host, slot=slot)
        return _Trail(journal=journal, courier=here)
    noted = ends or JournalEnds.make(settings.workers)
    journal = journal_for(settings, reactor, metrics, partial(noted.publish, slot), host)
    check_writers(settings, reactor, host)
    if slot:
        return _Trail(journal=journal, courier=NoCourier())
    exchange = None if base.shared is None else AlertExchange(base.shared, host.wall)
    courier = CourierProcess(settings, reactor, metrics, journal, noted, host, exchange)
    return _Trail(journal=journal, courier=courier)


def _hear_others(base: Foundations, memory: Remembered, observed: Observed, knowledge: Knowledge) -> None:
    """Apply what other workers write to what is remembered here."""
    hearing = RemoteInvalidation(memory.memory, knowledge.forget, knowledge.doubt_all)
    base.sharing.listen(hearing.heard)
    base.sharing.listen(observed.shown.heard)
    if base.shared is not None:
        base.shared.missed.listen(hearing.missed)
        base.shared.joined.listen(memory.disk.joined)
        base.shared.read.listen(memory.disk.note_position)


def _cache(base: Foundations, memory: Memory) -> Cache:
    return Cache(
        base.settings.cache,
        base.contract,
        memory,
        base.reactor,
        base.metrics,
        base.own_requests.ask,
        second_of(base),
    )


def _coded(base: Foundations) -> CodedContents:
    made = CodedContents(0)  # chain_parts.py sets the bound
    base.metrics.gauge("compressed_bytes", lambda: made.bytes)
    return made


def _screening(base: Foundations, kept: KeptWrites) -> ScreeningNotes:
    return ScreeningNotes(
        base.contract,
        base.own_requests.ask,
        ScreeningLedger(kept.keeping),
        base.reactor,
        base.reference,
        base.host.random,
        base.metrics,
        base.settings.screening,
    )


def _later(memory: Memory, audit: Audit) -> LateOutcomes:
    def forget(exchange: Identified) -> Deferred[None]:
        return memory.found_later(exchange.call, WriteAuthor.of(exchange))

    return LateOutcomes(forget=forget, record=audit.note)
