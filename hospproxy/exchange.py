"""One request on its way through the chain.

``Call`` is its meaning by the contract, and the only thing that may reach HOSP. ``Exchange`` is its context, the one
value in the chain that is not frozen.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen

from .contract import Operation
from .late_responses import Aftermath, LeftBehind
from .messages import ABSENT, Certainty, Identity, Json, Priority, Request
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


@define(slots=True)
class Exchange:
    """All that is known of one request during its life. Only the coroutine of that request changes it.

    :param deadline: monotonic seconds by which the response must have begun.
    :param arrived: monotonic seconds.
    :param wall: seconds since the epoch at its arrival; for audit records only.
    :param own: why the proxy itself sends it ("identity", "look", "screening note", …); "" for a client's request.
    :param past_cache: a look: neither answered from the cache nor stored in it.
    :param sent: the document as the client sent it; ``call`` has what is sent on.
    :param shown: HOSP had shown the record of this DELETE to its author; so if it is not found now, it was deleted.
    :param look_first: an earlier process may have sent this write: find out its outcome before sending it.
    :param sent_at: monotonic seconds at which the last attempt was sent.
    :param reference: names a write whose outcome is unknown, or the screening result that a note stores.
    :param on_behalf_of: request id of the client's request for which the proxy sends this one.
    :param patient_before: the record's patient before this write, which may change it; None if not known.
    :param unchanged: the content that the client has already, according to a 304.
    :param left: monotonic seconds at which the client was seen to leave; None if it did not.
    :param on_leaving: called when it is known that nobody waits for the response any more.
    :param break_glass: the reason given for a request that a permission rule would have refused.
    :param offline: HOSP could not say who is calling, only memory could; so only a cached response may be used.
    :param aftermath: of this request and of the identity request that it needed.
    :param left_behind: the last attempt, if HOSP is still working on it though nobody waits for it; the gate takes
        it.
    """

    request: Request
    arrived: float
    wall: float
    deadline: float
    priority: Priority = Priority.READ
    own: str = ""
    on_behalf_of: str = ""
    past_cache: bool = False
    call: Call | None = None
    sent: Json = field(default=ABSENT, repr=False)
    claimed_name: str | None = None
    identity: Identity | None = None
    credentials: bytes | None = field(default=None, repr=False)
    rule_hits: list[str] = field(factory=list)
    cache_status: CacheWord | None = None
    attempts: int = 0
    sent_at: float | None = None
    looks: int = 0
    outcome: str = ""
    patient: str | None = None
    patient_before: str | None = None
    unchanged: bytes | None = field(default=None, repr=False)
    record_id: str | None = None
    reference: str | None = None
    client_gone: bool = False
    left: float | None = None
    on_leaving: Callable[[], None] | None = field(default=None, repr=False, eq=False)
    look_first: bool = False
    shown: bool = False
    offline: bool = False
    break_glass: str | None = None
    aftermath: Aftermath = field(factory=Aftermath, repr=False, eq=False)
    left_behind: LeftBehind | None = field(default=None, repr=False, eq=False)

    def leave(self, now: float | None = None) -> None:
        """Nobody waits for the response any more.

        :param now: monotonic seconds, if the client left by itself.
        """
        self.client_gone, self.left = True, self.left if now is None else now
        if self.on_leaving is not None:
            self.on_leaving()

    @property
    def certainty(self) -> Certainty:
        if self.identity is not None:
            return Certainty.VERIFIED
        return Certainty.CLAIMED if self.claimed_name is not None else Certainty.NOBODY
