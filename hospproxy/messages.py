"""What travels through the house: frozen values, and the one typed context that goes with them.

``Request`` is what a client sent, taken apart by arrival. ``Call`` is what it means by the contract, and the only
thing that may reach HOSP. ``Response`` is an answer, whoever made it. ``Exchange`` is the context of one request.
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
"""Stands for "no body at all", which is not the same as the JSON value null."""


@frozen(slots=True)
class Headers:
    """Header fields in the order in which they came (RFC 9110 §5.3). Names compare without case.

    :param pairs: (name, value); values carry no surrounding white space.
    """

    pairs: tuple[tuple[bytes, bytes], ...] = ()

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.pairs)

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""
        wanted = name.lower()
        return [value for given, value in self.pairs if given.lower() == wanted]

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field, or None."""
        wanted = name.lower()
        for given, value in self.pairs:
            if given.lower() == wanted:
                return value
        return None

    def tokens(self, name: bytes) -> frozenset[bytes]:
        """The members of a list field over all its lines, lower-cased (RFC 9110 §5.6.1)."""
        members = (part.strip(b" \t").lower() for value in self.all(name) for part in value.split(b","))
        return frozenset(part for part in members if part)

    def without(self, *names: bytes) -> Headers:
        """The same fields save those named."""
        dropped = {name.lower() for name in names}
        return Headers(tuple(pair for pair in self.pairs if pair[0].lower() not in dropped))

    def having(self, name: bytes, value: bytes) -> Headers:
        """The same fields with this one set to one value."""
        return Headers((*self.without(name).pairs, (name, value)))


@frozen(slots=True)
class ClientCertificate:
    """A certificate that a client has shown in the TLS handshake, and that was verified.

    :param subject: as RFC 4514 writes it.
    :param names: its subject alternative names.
    :param sha256: its fingerprint, in hex.
    """

    subject: str
    names: tuple[str, ...]
    sha256: str


@frozen(slots=True)
class Client:
    """Who is at the other end, as far as the connection tells.

    :param peer: address of the socket's other end.
    :param address: the client's address: the peer's, or the one that a listed proxy in front named.
    :param chain: addresses of the listed proxies in between, nearest the client first.
    :param scheme: "http" or "https", as the client used it.
    :param host: authority of the request as the client wrote it (its Host), lower-cased; "" if it sent none.
    :param request_id: the id under which this request is recorded and sent on.
    :param certificate: what the peer has shown; None if it was not asked or has none.
    :param via: what Via has to say of the request's way here (RFC 9110 §7.6.3), up to the protocol by which it came;
        the proxy's own name follows. "" for a request that nobody sent.
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
        """Scheme and authority: what HOSP builds `url` and `Location` from."""
        return f"{self.scheme}://{self.host}"


class IncomingBody(Protocol):
    """A body that arrival reads once it is asked for."""

    async def read(self) -> bytes | bytearray:
        """The whole content.

        :raise ProxyError: it does not come whole, in time, or within its limit.
        """


@frozen(slots=True)
class Request:
    """One HTTP request, whole, as it arrived.

    :param method: upper-case; "" when arrival refused before it knew.
    :param path: the target's path, still percent-encoded; ``b"*"`` for OPTIONS \\*.
    :param query: what follows the ``?``, or None if there was none.
    :param version: (1, 0) or (1, 1).
    :param headers: names lower-cased, without hop-by-hop fields.
    :param body: the content, decoded from its transfer coding; None if the request had none at all.
    :param incoming: where the content is read from, if it was not read yet; ``body`` is None then.
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
    """Who made an answer."""

    PROXY = "proxy"
    UPSTREAM = "upstream"
    MEMORY = "memory"


@frozen(slots=True)
class Response:
    """One answer, whole. Arrival adds Content-Length (or Transfer-Encoding), Date and Connection.

    :param status: RFC 9110 §15.
    :param headers: without hop-by-hop fields and without Content-Length.
    :param body: the content; for an answer to HEAD what GET would have had.
    :param origin: who made it.
    :param handed_over: to be called with True when the answer has been written whole to the client, with False when
        the client went before that.
    :param chunks: the content, where it is too long to be held whole; ``body`` is then passed over. Arrival asks for
        a piece when the client has taken the one before, and closes the iterator (``aclose``) at the end, also when
        the client leaves early. If it fails, the connection is cut off, so that nobody takes a part for the whole.
    """

    status: int
    headers: Headers = Headers()
    body: bytes = b""
    origin: Origin = Origin.PROXY
    handed_over: Callable[[bool], None] | None = field(default=None, eq=False, repr=False)
    chunks: AsyncIterator[bytes] | None = field(default=None, eq=False, repr=False)

    def having(self, name: bytes, value: bytes) -> Response:
        """The same answer with one field set."""
        return evolve(self, headers=self.headers.having(name, value))


@frozen(slots=True)
class Call:
    """A request by its meaning: built anew from what was parsed, one spelling for each meaning.

    :param operation: which of the contract's operations.
    :param path: values of the path's parameters, in the order of the template.
    :param query: known query parameters with their values, in the contract's order.
    :param document: the JSON body, or ABSENT.
    :param accept: what the client takes: "json", "html", "any", or another media range as it was sent.
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
        """The id of the one record that the path names, as far as it names one."""
        return self.path[-1] if self.path else None


class Certainty(enum.Enum):
    """How sure we are of who is calling."""

    VERIFIED = "verified"
    CLAIMED = "claimed"
    NOBODY = "none"


@frozen(slots=True)
class Identity:
    """A member of staff whom HOSP itself named for these credentials.

    :param id: the staff record's id.
    :param name: the name as HOSP gives it.
    :param credentials: HMAC of the credentials; the header itself is kept nowhere.
    """

    id: int | str
    name: str
    credentials: bytes = field(repr=False)


class Priority(enum.IntEnum):
    """Order in which waiting requests reach HOSP: the lower number first."""

    WRITE = 0
    READ = 1
    REFRESH = 2


@define(slots=True)
class Exchange:
    """Everything that is known of one request while it is in the house. Only its own coroutine changes it.

    :param deadline: monotonic time in seconds by which the answer must be under way.
    :param arrived: monotonic time in seconds.
    :param wall: seconds since the epoch when it arrived; for records only.
    :param own: why the proxy itself asks ("identity", "look", "screening note", …); "" for a client's request.
    :param past_cache: a look: neither answered from memory nor stored.
    :param sent: the document as the client sent it; ``call`` has what is sent on.
    :param shown: HOSP had shown the record of this DELETE to its author, so that it is there no more if it is not seen.
    :param look_first: an earlier process may have sent this write: what became of that comes first.
    :param sent_at: monotonic time in seconds at which the last attempt was sent.
    :param reference: names a write whose outcome is unknown, or the screening that a note is made of.
    :param on_behalf_of: request id of the client's request that made the proxy ask.
    :param patient_before: whose the record was that this write may give to another patient; None if nobody knows.
    :param unchanged: the content that a 304 says the client has already.
    :param on_leaving: told when it is known that nobody waits for the answer any more.
    :param break_glass: the reason why somebody had to pass whom a rule would have refused.
    :param offline: HOSP could not say who is calling, only memory could: it alone may answer.
    :param aftermath: of this request and of the question who is calling.
    :param left_behind: the last attempt, if HOSP has it in hand though nobody waits for it; the gate takes it.
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
    on_leaving: Callable[[], None] | None = field(default=None, repr=False, eq=False)
    look_first: bool = False
    shown: bool = False
    offline: bool = False
    break_glass: str | None = None
    aftermath: Aftermath = field(factory=Aftermath, repr=False, eq=False)
    left_behind: LeftBehind | None = field(default=None, repr=False, eq=False)

    def leave(self) -> None:
        """Nobody waits for the answer any more."""
        self.client_gone = True
        if self.on_leaving is not None:
            self.on_leaving()

    @property
    def certainty(self) -> Certainty:
        if self.identity is not None:
            return Certainty.VERIFIED
        return Certainty.CLAIMED if self.claimed_name is not None else Certainty.NOBODY
