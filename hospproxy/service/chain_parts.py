"""What the chain is made of: parts that outlive a reload, and the processors that each reload builds anew on them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ..config import Settings
from ..contract.page import ContractPage
from ..copy.intake import CopyIntake
from ..exchange.exchange import Call
from ..foundations import Foundations
from ..guard.admission.processor import Admission
from ..guard.bodies import BodyCheck
from ..guard.build_guard import entrance_for, permissions_for
from ..guard.cross_origin import CrossOrigin
from ..guard.foreign_writes import ForeignWrites
from ..guard.identity import IdentityCheck
from ..guard.knowledge import Knowledge
from ..guard.ownership import Ownership
from ..guard.published_contract import PublishedContract
from ..guard.validation import Validation
from ..http.messages import Json, Response
from ..memory.cache import Cache
from ..memory.coded_contents import CodedContents
from ..memory.coders import coders
from ..memory.compression import Compression
from ..memory.screening_notes import ScreeningNotes
from ..outward.conditions import ConditionCheck
from ..outward.gate.gate import Gate
from ..outward.large_answers import LargeResponses
from ..outward.response_check import ResponseCheck
from ..outward.retry import Retry, RetryBudget
from ..outward.upstream import Upstream, UpstreamProcessor
from ..outward.upstream_request import UpstreamTarget, came_by
from ..outward.writes import outcomes
from ..outward.writes.build_writes import Observed
from ..outward.writes.overtaken import OutsideChanges
from ..outward.writes.processor import Writes
from ..record.audit import Audit
from ..record.intent import Intent
from ..record.patient import PatientOfRecord
from .chain import Processors


@frozen(slots=True)
class ChainSettings:
    """What ``Chain.lead_through`` takes."""

    processors: Processors
    deadline_s: float
    limit: Callable[[str, bytes], int]


@frozen(slots=True, kw_only=True)
class ChainParts:
    """The parts of the chain that have a state, which a reload keeps.

    :param via: the proxy's own name in Via.
    :param coded: content that was compressed.
    :param budget: of retries.
    :param copy: fills the copy of HOSP's records; None: there is none.
    """

    base: Foundations
    audit: Audit
    admission: Admission
    via: str
    identity: IdentityCheck | None
    knowledge: Knowledge
    patient: PatientOfRecord
    screening: ScreeningNotes
    cache: Cache
    coded: CodedContents
    intent: Intent
    writes: Writes
    budget: RetryBudget
    gate: Gate
    upstream: Upstream
    observed: Observed
    outside: OutsideChanges
    copy: CopyIntake | None

    def connected(self, settings: Settings) -> ChainSettings:
        """Build the processors that hold options of their own, and return all of them.

        :raise SecretError: a secret of [origin] is not usable.
        """
        base, ask = self.base, self.base.own_requests.ask
        cors = settings.cors
        foreign = ForeignWrites(enforce=cors.foreign_writes == "enforce", meter=base.metrics)
        validation = Validation(
            base.contract,
            enforce=settings.validation.mode == "enforce",
            judge=settings.validation.enabled,
            own=(outcomes.ROUTE,),
            is_loop=lambda client: came_by(client.via, self.via),
            foreign=None if cors.origins else foreign.check,
        )
        ownership = Ownership(
            base.contract,
            ask,
            policy=settings.ownership.policy,
            enforce=settings.ownership.mode == "enforce",
        )
        published = PublishedContract(ContractPage(base.contract))
        cross_origin = CrossOrigin(cors, validation.route, base.metrics) if cors.origins else None
        judged = settings.permissions.enabled and self.identity is not None
        retry = Retry(base.reactor, self.budget, base.host.random, base.metrics, settings.retry)
        processors = Processors(
            audit=self.audit if settings.audit.enabled else None,
            before={
                "guard.entrance": entrance_for(settings, base.metrics),
                "guard.admission": self.admission if settings.admission.enabled else None,
                "memory.compression": self._compression(settings),
                "guard.published_contract": published if settings.publish_contract else None,
                "guard.cross_origin": cross_origin,
            },
            validation=validation,  # its checks can be off, its parsing cannot
            finish=None if cross_origin is None else cross_origin.finish,
            identity=self.identity,
            behind={
                "guard.bodies": BodyCheck(validation, base.reactor, base.turns),
                "guard.ownership": ownership if settings.ownership.enabled else None,
                "guard.permissions": permissions_for(base, settings, self.knowledge) if judged else None,
                "record.patient": self.patient if settings.audit.enabled else None,
                "memory.screening": self.screening if settings.screening.enabled else None,
                "memory.cache": self.cache,  # even when switched off, it tells accounts about writes
                "record.intent": self.intent if settings.audit.enabled else None,
                "outward.writes": self.writes if settings.writes.enabled else None,
                "outward.conditions": ConditionCheck(base.contract, ask),
                "outward.retry": retry if settings.retry.enabled else None,
                "outward.gate": self.gate if settings.gate.enabled else None,
                "outward.upstream": self._sending(settings),
            },
        )
        return ChainSettings(processors, settings.deadline_s, validation.body_limit)

    def _compression(self, settings: Settings) -> Compression | None:
        base, wanted = self.base, settings.compression
        self.coded.reload(wanted.kept_bytes if wanted.enabled else 0)
        if not wanted.enabled:
            return None
        return Compression(wanted, base.contract, self.coded, coders(), base.turns, base.metrics)

    def _sending(self, settings: Settings) -> UpstreamProcessor:
        base, observed = self.base, self.observed
        check = ResponseCheck(
            base.contract,
            UpstreamTarget.from_url(settings.upstream.url),
            base.metrics,
            enforce=settings.answers.mode == "enforce",
        )

        def saw(call: Call, response: Response, sent: float, received: float, document: Json) -> None:
            """Every response of HOSP updates what is known of HOSP and its records."""
            observed.working_time.answered(received)
            observed.upstream_clock.learn(response.headers.get(b"date"), sent, received)
            observed.sightings.saw(call, response, document)
            observed.shown.saw(call, response, sent)
            self.outside.saw(call, response, sent)
            self.knowledge.saw(call, response, sent, document)

        return UpstreamProcessor(
            self.upstream,
            base.reactor,
            observers=(saw,) if self.copy is None else (saw, self.copy.saw),
            noting=self.outside.noting,
            silences=(observed.working_time.silent,),
            wall=base.host.wall,
            max_attempt_s=settings.deadline_s,
            finish_s=settings.gate.finish_s if settings.gate.enabled else None,
            check=check.read,
            large=LargeResponses(check, base.turns),
            meter=base.metrics,
        )
