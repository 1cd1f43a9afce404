"""One request on its way through the chain, and how far it has come.

``Call`` is its meaning by the contract, and the only thing that may reach HOSP. The stages are frozen, each with all
that the one before knows: ``Exchange`` (it has arrived), ``Called`` (its call is known), ``Identified`` (guard.identity
has passed it on). A processor's signature names the stage that it needs. What changes on the way is in small objects
that all stages of a request share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from attrs import define, evolve, field, frozen

from ..contract.contract import Operation
from ..http.late_responses import AbandonedAttempt, LateResponses
from ..http.messages import ABSENT, Identity, IdentityCertainty, Json, Priority, Request, Response
from ..http.repeat import HitAgain
from .spans import RequestSpans
from .words import CacheWord


@frozen(slots=True)
class Call:
    """The meaning of a request: rebuilt from what was parsed, in one canonical spelling.

    :param operation: one of the contract's operations.
    :param path: values of the path's parameters, in the order of the template.
    :param query: known query parameters with their values, in the contract's order.
    :param document: the JSON body, or ABSENT.
    :param accept: what the client accepts: "json", "html", "any", or another media range as it was sent.
    :param authorization: the canonical ``Basic …`` value to send on, or None.
    """

    operation: Operation
    path: tuple[str, ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    document: Json = ABSENT
    accept: str = "any"
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def record_id(self) -> str | None:
        """The id of the record that the path names; None if the path has no parameter."""
        return self.path[-1] if self.path else None


@define(slots=True, eq=False)
class Trace:
    """What has become known of a request so far. Its audit record and its metrics are made from it.

    A processor writes here, and reads what the response itself does not tell. What a processor needs to do its work is
    in the stage instead.

    :param call: as far as the contract's rules have been applied to it; of a refused request too.
    :param sent: the document as the client sent it.
    :param claimed_name: the name in the credentials.
    :param identity: whose credentials they are, as HOSP has said last; None: not known, or it refuses them now.
    :param attempts: number of attempts that were made.
    :param looks: number of looks for the outcome of this write.
    :param outcome: for the audit record, if the response does not tell it.
    :param patient_before: the record's patient before this write, which may change it; None if not known.
    :param unchanged: the content that the client has already, according to a 304.
    :param hit: how the cache would give the same entry again; None if it gave none.
    :param kept: the stored response of which the body was given; it lives as long as it may be given again.
    :param limit: the RateLimit fields for a monotonic time; None: they are not sent.
    :param reference: names a write whose outcome is unknown, or the screening result that a note stores.
    :param break_glass: the reason given for a request that a permission rule would have refused.
    :param shown: HOSP had shown the record of this DELETE to its author; so if it is not found now, it was deleted.
    :param spans: makes the spans of this request; None: it is not traced.
    """

    call: Call | None = None
    sent: Json = field(default=ABSENT, repr=False)
    claimed_name: str | None = None
    identity: Identity | None = None
    rule_hits: list[str] = field(factory=list)
    cache_status: CacheWord | None = None
    attempts: int = 0
    looks: int = 0
    outcome: str = ""
    patient: str | None = None
    patient_before: str | None = None
    unchanged: bytes | None = field(default=None, repr=False)
    hit: Callable[[], HitAgain | None] | None = field(default=None, repr=False)
    kept: Response | None = field(default=None, repr=False)
    limit: Callable[[float], tuple[tuple[bytes, bytes], ...]] | None = field(default=None, repr=False)
    record_id: str | None = None
    reference: str | None = None
    break_glass: str | None = None
    shown: bool = False
    spans: RequestSpans | None = field(default=None, repr=False)

    @property
    def certainty(self) -> IdentityCertainty:
        if self.identity is not None:
            return IdentityCertainty.VERIFIED
        return IdentityCertainty.CLAIMED if self.claimed_name is not None else IdentityCertainty.NOBODY


@define(slots=True, eq=False)
class Presence:
    """Whether a client still waits for the response.

    :param left_at: monotonic seconds at which the client was seen to leave; None if it did not.
    :param on_leaving: called when it is known that nobody waits for the response any more.
    """

    gone: bool = False
    left_at: float | None = None
    on_leaving: Callable[[], None] | None = field(default=None, repr=False)

    def leave(self, now: float | None = None) -> None:
        """Nobody waits for the response any more.

        :param now: monotonic seconds, if the client left by itself.
        """
        self.gone, self.left_at = True, self.left_at if now is None else now
        if self.on_leaving is not None:
            self.on_leaving()


@define(slots=True, eq=False)
class LastAttempt:
    """What outward.upstream tells the processors around it about its last attempt.

    :param sent_at: monotonic seconds at which it was sent; None if none was.
    :param left_behind: the attempt, if HOSP is still working on it though nobody waits for it; the gate takes it.
    """

    sent_at: float | None = None
    left_behind: AbandonedAttempt | None = field(default=None, repr=False)


@define(slots=True, eq=False)
class Deadline:
    """Monotonic seconds by which the response must have begun. It can move while processors wait."""

    at: float

    def no_later_than(self, at: float) -> None:
        """Move it forward, to these monotonic seconds."""
        self.at = min(self.at, at)

    def extend_to(self, at: float) -> None:
        """Put it off, to these monotonic seconds."""
        self.at = max(self.at, at)

    def put_off(self, seconds: float) -> None:
        """Put it off by some seconds in which the proxy could do nothing."""
        self.at += seconds


@frozen(slots=True, eq=False)
class Exchange:
    """A request that has arrived, or one of the proxy's own. The first stage, and what all stages know.

    :param arrived: monotonic seconds.
    :param wall: seconds since the epoch at its arrival; for audit records only.
    :param due: its deadline; ``deadline`` reads it.
    :param own: why the proxy itself sends it ("identity", "look", "screening note", …); "" for a client's request.
    :param on_behalf_of: request id of the client's request for which the proxy sends this one.
    :param past_cache: a look: neither answered from the cache nor stored in it.
    :param look_first: an earlier process may have sent this write: find out its outcome before sending it.
    :param aftermath: of this request and of the identity request that it needed.
    """

    request: Request
    arrived: float
    wall: float
    due: Deadline
    priority: Priority = Priority.READ
    own: str = ""
    on_behalf_of: str = ""
    past_cache: bool = False
    look_first: bool = False
    trace: Trace = field(factory=Trace)
    presence: Presence = field(factory=Presence, repr=False)
    last_attempt: LastAttempt = field(factory=LastAttempt, repr=False)
    aftermath: LateResponses = field(factory=LateResponses, repr=False)

    @property
    def deadline(self) -> float:
        """Monotonic seconds by which the response must have begun."""
        return self.due.at

    def called(self, call: Call, priority: Priority, sent: Json = ABSENT) -> Called:
        """The next stage: the request is valid, and this is its call.

        :param sent: the document as the client sent it.
        """
        self.trace.call, self.trace.sent = call, sent
        return Called(
            self.request, self.arrived, self.wall, self.due, priority, self.own, self.on_behalf_of, self.past_cache,
            self.look_first, self.trace, self.presence, self.last_attempt, self.aftermath, call=call, sent=sent,
        )  # fmt: skip


@frozen(slots=True, eq=False)
class Called(Exchange):
    """A request whose meaning by the contract is known: guard.validation has passed it on.

    :param call: what is sent to HOSP.
    :param sent: the document as the client sent it; ``call`` has what is sent on.
    """

    call: Call = field(kw_only=True)
    sent: Json = field(default=ABSENT, kw_only=True, repr=False)

    def with_call(self, call: Call) -> Self:
        """The same stage with another call."""
        self.trace.call = call
        return evolve(self, call=call)

    def identified(
        self,
        credentials: bytes | None = None,
        identity: Identity | None = None,
        *,
        call: Call | None = None,
        offline: bool = False,
    ) -> Identified:
        """The next stage: guard.identity has passed the request on, or is switched off.

        :param call: with the credentials in their canonical form; None: the same call.
        """
        call = self.call if call is None else call
        self.trace.call, self.trace.identity = call, identity
        return Identified(
            self.request, self.arrived, self.wall, self.due, self.priority, self.own, self.on_behalf_of,
            self.past_cache, self.look_first, self.trace, self.presence, self.last_attempt, self.aftermath,
            call=call, sent=self.sent, credentials=credentials, identity=identity, offline=offline,
        )  # fmt: skip


@frozen(slots=True, eq=False)
class Identified(Called):
    """A request of which is known who is calling, as far as HOSP has said.

    :param credentials: HMAC of the client's credentials; None for a public operation, or if guard.identity is switched
        off.
    :param identity: the principal; None also for the read with which HOSP itself says who is calling.
    :param offline: HOSP could not say who is calling, only memory could; so only a cached response may be used.
    """

    credentials: bytes | None = field(default=None, kw_only=True, repr=False)
    identity: Identity | None = field(default=None, kw_only=True)
    offline: bool = field(default=False, kw_only=True)

    def apart(self) -> Self:
        """A copy for work that may outlive this request. The two share the rule hits and the aftermath only."""
        presence, attempt = self.presence, self.last_attempt
        return type(self)(
            self.request, self.arrived, self.wall, Deadline(self.due.at), self.priority, self.own, self.on_behalf_of,
            self.past_cache, self.look_first, evolve(self.trace),
            Presence(presence.gone, presence.left_at, presence.on_leaving),
            LastAttempt(attempt.sent_at, attempt.left_behind), self.aftermath,
            call=self.call, sent=self.sent, credentials=self.credentials, identity=self.identity, offline=self.offline,
        )  # fmt: skip
