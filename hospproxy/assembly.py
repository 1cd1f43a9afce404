"""Build all parts between arrival and the upstream, and connect them. Only this module knows every part."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from twisted.internet.defer import Deferred

from .answers import Answers
from .chain import Chain
from .config import Settings
from .encryption import Seal
from .exchange import Call, Exchange
from .guard.admission.refusals import Refusals
from .guard.bodies import Bodies
from .guard.build_guard import admission_for, entrance_for, permissions_for
from .guard.identity import IdentityCheck
from .guard.knowledge import Knowledge, watched
from .guard.ownership import Ownership
from .guard.validation import Validation
from .host import REAL, Host
from .memory.build_memory import memory_of, second_of
from .memory.cache import Cache
from .memory.memory import WriteAuthor
from .memory.remote_invalidation import Hearing
from .memory.screening_notes import Screening
from .memory.second_level import Second
from .messages import Response
from .outward.conditions import ConditionCheck
from .outward.gate.breaker import BreakerState
from .outward.gate.build_gate import base_of, build_gate, places_for
from .outward.gate.in_flight_file import FILE, Unfinished
from .outward.large_answers import LargeAnswers
from .outward.ledger.ledger import Ledger
from .outward.response_check import AnswerCheck
from .outward.retry import retry_for
from .outward.upstream import Upstream, UpstreamProcessor
from .outward.upstream_request import UpstreamTarget, came_by, via_name
from .outward.writes import outcomes
from .outward.writes.background import Later
from .outward.writes.claims import Claims, NoClaims
from .outward.writes.entries import Entries
from .outward.writes.fate import Fate
from .outward.writes.ledger_entries import Keeping, Results
from .outward.writes.looks import Looking
from .outward.writes.overtaken import Outside
from .outward.writes.presence import UpstreamClock, WorkingTime
from .outward.writes.processor import Writes
from .outward.writes.seen_ids import Sightings
from .outward.writes.visible_records import Shown
from .own_requests import OwnRequests
from .record.alerts.build_alerts import noticing_for
from .record.audit import Audit
from .record.describe import Describer
from .record.intent import Intent
from .record.patient import PatientOfRecord
from .record.sinks.build_sinks import Carriers, needed_from, writers_for
from .record.sinks.carrier import Time
from .record.trail.build_journal import journal_for, refusal
from .record.trail.journal import Journal, NullJournal
from .secrets import MasterKey
from .sharing.kinds import ALONE, Sharing
from .sharing.member import Shared
from .slices import Turns
from .watch.metrics import Metrics


class Parts:
    """The parts between arrival and the upstream, connected to each other.

    :param key: the master key; each part gets its own derived key.
    :param slot: of this process among the workers of its machine.
    :param host: the system that the process runs on.
    """

    def __init__(
        self, settings: Settings, reactor: Any, key: MasterKey, slot: int = 0, host: Host = REAL
    ) -> None:
        self.settings = settings
        self.reactor = reactor
        self.host = host
        self.key = key
        self.metrics = Metrics(version("hospproxy"))
        self.shared = self._shared()
        self.sharing: Sharing = ALONE if self.shared is None else self.shared
        self.places = places_for(
            settings.gate, settings.breaker, settings.redis, self.shared, reactor, self.metrics,
            longest_s=settings.deadline_s, base=base_of(settings, reactor, slot, lambda: self.ledger.owner, host),
        )  # fmt: skip
        self.turns = Turns(reactor)
        self.own_requests = OwnRequests(reactor, host.wall)
        self.ask = self.own_requests.ask
        # Workers that share a Redis learn this from each other.
        alone = self.shared is None and settings.gate.enabled
        self.unfinished = self._unfinished() if alone else None
        self.contract = host.load_contract(settings.contract_file)
        self.answers = Answers(self.contract)
        self.writers = writers_for(settings, reactor, host)
        self.journal = self._journal()
        self.carriers = self._carriers()
        self.sightings = Sightings(self.contract)
        self.knowledge = Knowledge(
            self.contract,
            watched(self.contract, self.contract.permissions) if settings.permissions.enabled else {},
            reactor,
            settings.permissions.max_remembered,
        )
        era = lambda: self.sharing.unbroken if self.sharing.may_serve else None  # noqa: E731
        self.shown = Shown(self.contract, self.host.entropy(32), reactor, era)
        self.upstream_clock = UpstreamClock()
        self.working_time = WorkingTime(reactor.seconds())
        self.disk, self.memory = memory_of(
            settings, self.contract, key, reactor, self.metrics, self.sharing, slot, host
        )
        hearing = Hearing(self.memory, self.knowledge.forget, self.knowledge.doubt_all)
        self.sharing.listen(hearing.heard)
        self.sharing.listen(self.shown.heard)
        if self.shared is not None:
            self.shared.on_missed = hearing.missed
        self.accounts = self.memory.accounts
        self.cache = Cache(
            settings.cache, self.contract, self.memory, reactor, self.metrics, self.ask, self._second()
        )
        self.via = via_name(key.subkey("via"))
        self.upstream = Upstream(
            reactor, settings.upstream, self.metrics, settings.gate.concurrency, self.via
        )
        self.refusals = self._refusals()
        self.identity = self._identity()
        self.entrance = entrance_for(settings, self.metrics)
        self.noticing = noticing_for(settings, reactor, self.journal, self.metrics, slot, host)
        refusing = settings.audit.when_full == "refuse"
        self.audit = Audit(
            self.journal,
            self._describer(),
            reactor,
            refusal(self.answers) if refusing else None,
            self.noticing.noticer.observe,
            self.turns,
        )
        self.ledger = Ledger(
            settings.ledger_path,
            host.worker(reactor, "ledger"),
            host.wall,
            monotonic=reactor.seconds,
            owner_name=self._owner_name,
        )
        self.keeping, self.claims, self.writes = self._writes()
        self.screening = self._screening()
        self.admission = admission_for(
            settings, key, self.accounts, self.refusals, reactor, self.metrics, self.sharing,
            lambda: self.places.workers,
        )  # fmt: skip
        self.chain = self._chain()

    def reference(self) -> str:
        """Return a random name for a write or a screening result."""
        return "hp-" + self.host.token(10)

    def _owner_name(self) -> str:
        return f"{self.host.pid()}-{self.host.token(6)}"

    def _shared(self) -> Shared | None:
        if not self.settings.redis.enabled:
            return None
        # Imported here: a process without Redis does not need it.
        from .build_sharing import shared_of

        return shared_of(self.settings, self.reactor, self.key, self.metrics, self.host)

    def _unfinished(self) -> Unfinished:
        path, worker = self.settings.state_dir / FILE, self.host.worker(self.reactor, "gate")
        return Unfinished(path, worker, self.reactor, self.host.since_boot)

    def _second(self) -> Second | None:
        shared = self.shared
        if shared is None:
            return None
        shared.on_places = self.places.woken
        heard = lambda: shared.position  # noqa: E731
        return second_of(self.settings, self.contract, shared, shared, self.reactor, self.metrics, heard)

    def _journal(self) -> Journal | NullJournal:
        if not self.settings.audit.enabled:
            return NullJournal()
        needed = needed_from(self.settings, self.writers)
        return journal_for(self.settings, self.reactor, self.metrics, needed, self.host)

    def _carriers(self) -> Carriers:
        time = Time(self.reactor, self.host.wall, self.host.random, self.host.entropy)
        committed = lambda: self.journal.committed  # noqa: E731
        return Carriers(self.writers, self.settings, self.reactor, time, self.metrics, committed, self.host)

    def _describer(self) -> Describer:
        accepted = self.identity.has_accepted if self.identity is not None else lambda _name: False
        return Describer(
            self.key.subkey("claimed names"), self.contract.resources, accepted, self.contract.routes
        )

    def _refusals(self) -> Refusals:
        settings, late = self.settings.admission, self.settings.writes.late_commit_s
        refusals = Refusals(
            self.reactor,
            settings.refusal_s if settings.enabled else 0.0,
            settings.max_remembered,
            self.contract.late_commit_s if late is None else late,
        )
        self.memory.let_in = refusals.written
        refusals.certain = self._certain
        return refusals

    def _certain(self) -> bool:
        """Whether no other worker can have made a write that this one has not learned of."""
        return self.sharing.may_serve

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
            self.refusals,
            self._certain,
        )

    def _writes(self) -> tuple[Keeping, Claims, Writes]:
        settings = self.settings
        late = settings.writes.late_commit_s
        window_s = settings.writes.resubmit_window_s
        entries = Entries(
            self.reactor,
            self.key.subkey("equal writes"),
            self.reference,
            max_open=settings.writes.max_open,
            window_s=window_s,
            former=[each.subkey("equal writes") for each in self.key.further],
        )
        self.outside = Outside(self.contract, entries.settled_changes, entries.forget)
        self.metrics.gauge("ledger_open", lambda: float(len(entries)))
        seal = Seal.of(self.key, "ledger", self.host.entropy)
        keeping = Keeping(
            self.ledger, seal, entries.mac, self.contract, self.reactor, self.host.wall, entries.former_macs
        )
        late_commit_s = self.contract.late_commit_s if late is None else late
        claims = self._claims(keeping, late_commit_s)
        looking = Looking(
            self.contract,
            self.ask,
            self.reactor,
            self.sightings,
            self.upstream_clock,
            self.working_time,
            self.metrics,
            late_commit_s=late_commit_s,
            look_s=settings.deadline_s,
            claims=claims,
        )
        fate = Fate(self.contract, self.answers, self.reactor, looking, self.sightings, self.metrics)
        later = Later(forget=self._found_later, record=self.audit.note)
        writes = Writes(
            self.reactor,
            entries,
            keeping,
            fate,
            self.sightings,
            self.shown,
            later,
            self.metrics,
            window_s=window_s,
            claims=claims,
        )
        return keeping, claims, writes

    def _claims(self, keeping: Keeping, late_commit_s: float) -> Claims:
        """Return the claims on writes that workers and machines share; NoClaims for a process without Redis."""
        if self.shared is None:
            return NoClaims()
        from .build_sharing import claims_of

        return claims_of(
            self.shared, self.settings, self.sightings, keeping, self.reactor, self.metrics, self.host,
            late_commit_s=late_commit_s, is_gone=self.ledger.is_gone,
        )  # fmt: skip

    def _found_later(self, exchange: Exchange) -> Deferred[None]:
        assert exchange.call is not None
        return self.memory.found_later(exchange.call, WriteAuthor.of(exchange))

    def _screening(self) -> Screening:
        settings = self.settings.screening
        return Screening(
            self.contract,
            self.ask,
            Results(self.keeping),
            self.reactor,
            self.reference,
            self.host.random,
            self.metrics,
            max_pending=settings.max_pending,
            base_s=settings.retry_base_s,
            cap_s=settings.retry_cap_s,
        )

    def _chain(self) -> Chain:
        settings = self.settings
        validation = Validation(
            self.contract,
            enforce=settings.validation.mode == "enforce",
            judge=settings.validation.enabled,
            own=(outcomes.ROUTE,),
            is_loop=lambda client: came_by(client.via, self.via),
        )
        ownership = Ownership(
            self.contract,
            self.ask,
            policy=settings.ownership.policy,
            enforce=settings.ownership.mode == "enforce",
        )
        check = AnswerCheck(
            self.contract,
            UpstreamTarget.from_url(settings.upstream.url),
            self.metrics,
            enforce=settings.answers.mode == "enforce",
        )
        upstream = UpstreamProcessor(
            self.upstream,
            self.reactor,
            observers=(self._saw,),
            silences=(self.working_time.silent,),
            wall=self.host.wall,
            max_attempt_s=settings.deadline_s,
            finish_s=settings.gate.finish_s if settings.gate.enabled else None,
            check=check.checked,
            large=LargeAnswers(check, self.turns),
        )
        gate, self.prober = build_gate(
            settings.gate, settings.breaker, self.contract, self.ask, self.reactor, self.host.wall, self.metrics,
            self.places, self.unfinished,
        )  # fmt: skip
        self.gate = gate
        self.memory.away = lambda: settings.gate.enabled and gate.state is BreakerState.OPEN
        if settings.gate.enabled:
            self.memory.stalls = gate.stall
        retry = retry_for(
            settings.retry, self.reactor, self.host.random, self.metrics, lambda: self.places.workers
        )
        intent = Intent(self.journal, self._describer(), self.reactor)
        places = {
            "record.audit": (settings.audit.enabled, self.audit),
            "guard.entrance": (self.entrance is not None, self.entrance),
            "guard.admission": (settings.admission.enabled, self.admission),
            "guard.validation": (True, validation),  # its checks can be off, its parsing cannot
            "guard.identity": (self.identity is not None, self.identity),
            "guard.bodies": (True, Bodies(validation, self.reactor, self.turns)),
            "guard.ownership": (settings.ownership.enabled, ownership),
            "guard.permissions": (
                settings.permissions.enabled and self.identity is not None,
                permissions_for(
                    settings, self.contract, self.knowledge, self.ask, self.metrics, self._certain
                ),
            ),
            "record.patient": (
                settings.audit.enabled,
                PatientOfRecord(self.contract, self.ask, self.reactor),
            ),
            "memory.screening": (settings.screening.enabled, self.screening),
            # Even when switched off, it tells accounts about writes.
            "memory.cache": (True, self.cache),
            "record.intent": (settings.audit.enabled, intent),
            "outward.writes": (settings.writes.enabled, self.writes),
            "outward.conditions": (True, ConditionCheck(self.contract, self.ask)),
            "outward.retry": (settings.retry.enabled, retry),
            "outward.gate": (settings.gate.enabled, gate),
            "outward.upstream": (True, upstream),
        }
        return Chain(
            {name: part for name, (enabled, part) in places.items() if enabled and part is not None},
            own_requests=self.own_requests,
            answers=self.answers,
            clock=self.reactor,
            wall=self.host.wall,
            deadline_s=settings.deadline_s,
            limit=validation.body_limit,
            meter=self.metrics,
        )

    def _saw(self, call: Call, response: Response, sent: float, received: float) -> None:
        """Every response of HOSP updates what is known of HOSP and its records."""
        self.working_time.answered(received)
        self.upstream_clock.learn(response.headers.get(b"date"), sent, received)
        self.sightings.saw(call, response)
        self.shown.saw(call, response, sent)
        self.outside.saw(call, response, sent)
        self.knowledge.saw(call, response, sent)
