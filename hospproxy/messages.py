"""The values that pass through the chain: all frozen, except the one typed context of a request.

``Request`` is what a client sent, parsed by arrival. ``Call`` is its meaning by the contract, and the only thing that
may reach HOSP. ``Response`` is a response from any source. ``Exchange`` is the context of one request.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define, evolve, field, frozen

from .aftermath import Aftermath
from .words import CacheWord

if TYPE_CHECKING:
    from .contract import Operation
    from .outward.unheard import LeftBehind

Json = Any
"""A JSON value as msgspec decodes it."""


class _Absent(enum.Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""Means "no body", which differs from the JSON value null."""


@frozen(slots=True)
class Headers:
    """Header fields in the order in which they were received (RFC 9110 §5.3). Names compare without case.

    :param pairs: (name, value); values have no surrounding white space.
    """

    pairs: tuple[tuple[bytes, bytes], ...] = ()

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.pairs)

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of a field, in order."""
        wanted = name.lower()
        return [value for given, value in self.pairs if given.lower() == wanted]

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a field, or None."""
        wanted = name.lower()
        for given, value in self.pairs:
            if given.lower() == wanted:
                return value
        return None

    def tokens(self, name: bytes) -> frozenset[bytes]:
        """Return the members of a list field over all its lines, lower-cased (RFC 9110 §5.6.1)."""
        members = (part.strip(b" \t").lower() for value in self.all(name) for part in value.split(b","))
        return frozenset(part for part in members if part)

    def without(self, *names: bytes) -> Headers:
        """Return the fields without those named."""
        dropped = {name.lower() for name in names}
        return Headers(tuple(pair for pair in self.pairs if pair[0].lower() not in dropped))

    def having(self, name: bytes, value: bytes) -> Headers:
        """Return the fields with this one set to a single value."""
        return Headers((*self.without(name).pairs, (name, value)))


@frozen(slots=True)
class ClientCertificate:
    """A verified certificate that a client presented in the TLS handshake.

    :param subject: as RFC 4514 writes it.
    :param names: its subject alternative names.
    :param sha256: its fingerprint, in hex.
    """

    subject: str
    names: tuple[str, ...]
    sha256: str


@frozen(slots=True)
class Client:
    """The client of a request, as far as the connection and trusted proxies tell.

    :param peer: address of the socket's other end.
    :param address: the client's address: the peer's, or the one that a trusted proxy in front reported.
    :param chain: addresses of the trusted proxies in between, nearest the client first.
    :param scheme: "http" or "https", as the client used it.
    :param host: authority of the request as the client wrote it (its Host), lower-cased; "" if it sent none.
    :param request_id: the id under which this request is recorded and sent on.
    :param certificate: the client certificate; None if the client was not asked or has none.
    :param via: the Via entries for the request's way here (RFC 9110 §7.6.3), up to the protocol by which it arrived;
        the proxy's own name follows. "" for a request that no client sent.
    """

    peer: str = ""
    address: str = ""
    chain: tuple[str, ...] = ()
    scheme: str = "https"
    host: str = ""
    request_id: str = ""
    certificate: ClientCertificate | None = None
    via: str = ""

    @property
    def origin(self) -> str:
        """Scheme and authority, from which HOSP builds `url` and `Location`."""
        return f"{self.scheme}://{self.host}"


class IncomingBody(Protocol):
    """A body that arrival reads only when it is asked for."""

    async def read(self) -> bytes | bytearray:
        """Return the whole content.

        :raise ProxyError: the body is incomplete, too late, or over a limit.
        """


@frozen(slots=True)
class Request:
    """One complete HTTP request, as it arrived.

    :param method: upper-case; "" if arrival refused the request before it knew.
    :param path: the target's path, still percent-encoded; ``b"*"`` for OPTIONS \\*.
    :param query: what follows the ``?``, or None if there was none.
    :param version: (1, 0) or (1, 1).
    :param headers: names lower-cased, without hop-by-hop fields.
    :param body: the content without its transfer coding; None if the request had no body at all.
    :param incoming: where to read the content, if it was not read yet; ``body`` is None then.
    """

    method: str = ""
    path: bytes = b""
    query: bytes | None = None
    version: tuple[int, int] = (1, 1)
    headers: Headers = Headers()
    body: bytes | None = None
    client: Client = Client()
    incoming: IncomingBody | None = field(default=None, eq=False, repr=False)


class Origin(enum.Enum):
    """Where a response was made."""

    PROXY = "proxy"
    UPSTREAM = "upstream"
    MEMORY = "memory"


@frozen(slots=True)
class Response:
    """One complete response. Arrival adds Content-Length (or Transfer-Encoding), Date and Connection.

    :param status: RFC 9110 §15.
    :param headers: without hop-by-hop fields and without Content-Length.
    :param body: the content; for a response to HEAD what GET would have had.
    :param origin: where it was made.
    :param handed_over: called with True when the whole response has been written to the client, with False if the
        client left before that.
    :param chunks: the content, if it is too long to be held in memory; ``body`` is then ignored. Arrival requests a
        piece when the client has read the previous one, and closes the iterator (``aclose``) at the end, also when
        the client leaves early. If the iterator fails, the connection is aborted, so that no client takes a part for
        the whole.
    """

    status: int
    headers: Headers = Headers()
    body: bytes = b""
    origin: Origin = Origin.PROXY
    handed_over: Callable[[bool], None] | None = field(default=None, eq=False, repr=False)
    chunks: AsyncIterator[bytes] | None = field(default=None, eq=False, repr=False)

    def having(self, name: bytes, value: bytes) -> Response:
        """Return the response with one field set."""
        return evolve(self, headers=self.headers.having(name, value))


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


class Certainty(enum.Enum):
    """How certain the caller's identity is."""

    VERIFIED = "verified"
    CLAIMED = "claimed"
    NOBODY = "none"


@frozen(slots=True)
class Identity:
    """A member of staff, as HOSP itself named the owner of these credentials.

    :param id: the staff record's id.
    :param name: the name that HOSP gave.
    :param credentials: HMAC of the credentials; the header itself is not kept.
    """

    id: int | str
    name: str
    credentials: bytes = field(repr=False)


class Priority(enum.IntEnum):
    """The order in which queued requests are sent to HOSP: the lowest number first."""

    WRITE = 0
    READ = 1
    REFRESH = 2


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
