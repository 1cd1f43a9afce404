"""The values that pass through the chain, all frozen.

``Request`` is what a client sent, parsed by arrival. ``Response`` is a response from any source.
``exchange/exchange.py`` has the call that a request becomes, and the context of a request.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Protocol

from attrs import field, frozen

from .repeat import Shortcut

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
    _first: dict[bytes, bytes] | None = field(default=None, init=False, eq=False, repr=False)
    """The first value of each field, by its lower-cased name; made when it is first needed."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.pairs)

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of a field, in order."""
        wanted = name.lower()
        if wanted not in (self._first or self._indexed()):
            return []
        return [value for given, value in self.pairs if given.lower() == wanted]

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a field, or None."""
        return (self._first or self._indexed()).get(name.lower())

    def tokens(self, name: bytes) -> frozenset[bytes]:
        """Return the members of a list field over all its lines, lower-cased (RFC 9110 §5.6.1)."""
        members = (part.strip(b" \t").lower() for value in self.all(name) for part in value.split(b","))
        return frozenset(part for part in members if part)

    def without(self, *names: bytes) -> Headers:
        """Return the fields without those named."""
        first = self._first or self._indexed()
        dropped = {lower for name in names if (lower := name.lower()) in first}
        if not dropped:
            return self
        return Headers(tuple([pair for pair in self.pairs if pair[0].lower() not in dropped]))

    def having(self, name: bytes, value: bytes) -> Headers:
        """Return the fields with this one set to a single value."""
        return self.with_fields((name, value))

    def with_fields(self, *fields: tuple[bytes, bytes], without: tuple[bytes, ...] = ()) -> Headers:
        """Return the fields with each of some set to a single value.

        :param fields: in the order in which they follow the others.
        :param without: names of fields to drop.
        """
        first = dict(self._first or self._indexed())
        added = _first_of(fields)
        dropped = {lower for lower in (*added, *[name.lower() for name in without]) if lower in first}
        pairs = self.pairs
        if dropped:
            pairs = tuple([pair for pair in pairs if pair[0].lower() not in dropped])
            for lower in dropped:
                del first[lower]
        made = Headers(pairs + fields)
        object.__setattr__(made, "_first", first | added)
        return made

    def _indexed(self) -> dict[bytes, bytes]:
        first = _first_of(self.pairs)
        object.__setattr__(self, "_first", first)
        return first


def _first_of(pairs: tuple[tuple[bytes, bytes], ...]) -> dict[bytes, bytes]:
    """The first value of each field, by its lower-cased name."""
    return {name.lower(): value for name, value in reversed(pairs)}


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
    :param trace: fields with which an attempt at HOSP continues the trace (W3C Trace Context); empty: none.
    """

    peer: str = ""
    address: str = ""
    chain: tuple[str, ...] = ()
    scheme: str = "https"
    host: str = ""
    request_id: str = ""
    certificate: ClientCertificate | None = None
    via: str = ""
    trace: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def origin(self) -> str:
        """Scheme and authority, from which HOSP builds `url` and `Location`."""
        return f"{self.scheme}://{self.host}"


class IncomingBody(Protocol):
    """A body that arrival reads only when it is asked for."""

    async def read(self) -> bytes | bytearray:
        """Read the rest of the body and return the whole content, without its transfer coding.

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
    """Where a response comes from: made by the proxy, sent by the upstream just now, or stored earlier."""

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
    :param shortcut: makes what answers an equal request again; None for most responses.
    :param coded: the content as it is sent, in the coding that Content-Encoding names, while ``body`` stays readable;
        None: ``body`` is sent.
    """

    status: int
    headers: Headers = Headers()
    body: bytes = b""
    origin: Origin = Origin.PROXY
    handed_over: Callable[[bool], None] | None = field(default=None, eq=False, repr=False)
    chunks: AsyncIterator[bytes] | None = field(default=None, eq=False, repr=False)
    shortcut: Callable[[], Shortcut | None] | None = field(default=None, eq=False, repr=False)
    coded: bytes | None = field(default=None, repr=False)

    @property
    def content(self) -> bytes:
        """The content in the form in which it is sent."""
        return self.body if self.coded is None else self.coded

    def having(self, name: bytes, value: bytes) -> Response:
        """Return the response with one field set."""
        return self.with_headers(self.headers.with_fields((name, value)))

    def with_headers(self, headers: Headers) -> Response:
        """Return the response with other fields."""
        return Response(
            self.status,
            headers,
            self.body,
            self.origin,
            self.handed_over,
            self.chunks,
            self.shortcut,
            self.coded,
        )


class IdentityCertainty(enum.Enum):
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
