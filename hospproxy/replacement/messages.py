"""The messages between a running process and its successor. A `Channel` carries them.

Both processes may be of different versions. ``RELAY`` says which messages a version knows; with another number the
replacement is refused before it begins. So a change of this module raises it.
"""

from __future__ import annotations

from typing import Final

import msgspec

RELAY: Final = 2
MOST_BYTES: Final = 1 << 30
"""Longest message in bytes. The limits for bodies of requests and responses bound what is sent."""

Pairs = tuple[tuple[bytes, bytes], ...]


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """To the successor: read everything, and say whether you could take over.

    :param relay: ``RELAY`` of the running version.
    :param pid: of the running process.
    :param listeners: URLs of the listeners, in the order of the inherited sockets.
    :param admin: URLs of the admin listener's sockets, which follow.
    :param pid_file: absolute path, which the successor writes once it serves; "" for none.
    :param workers: of the running proxy, each with a socket on which it relays, and then each with a descriptor of its
        process (pidfd): they follow the listening sockets. 0: a single process, which relays on this channel.
    :param orphans_s: seconds within which a worker ends whose manager is dead.
    """

    relay: int
    pid: int
    listeners: tuple[str, ...]
    admin: tuple[str, ...]
    pid_file: str = ""
    workers: int = 0
    orphans_s: float = 0.0


class TakeOver(msgspec.Struct, frozen=True, tag="take over"):
    """To the successor: the state folder is closed; open it and serve."""


class SentCertificate(msgspec.Struct, frozen=True):
    """A client certificate; see ``messages.ClientCertificate``."""

    subject: str
    names: tuple[str, ...]
    sha256: str


class SentClient(msgspec.Struct, frozen=True):
    """Where a request came from; see ``messages.Client``."""

    peer: str
    address: str
    chain: tuple[str, ...]
    scheme: str
    host: str
    request_id: str
    certificate: SentCertificate | None
    via: str


class SentRequest(msgspec.Struct, frozen=True):
    """A request as arrival made it; see ``messages.Request``. Its body is complete."""

    method: str
    path: bytes
    query: bytes | None
    version: tuple[int, int]
    headers: Pairs
    body: bytes | None
    client: SentClient

    def __repr__(self) -> str:  # headers contain passwords
        return f"SentRequest({self.client.request_id})"


class SentError(msgspec.Struct, frozen=True):
    """Why arrival refuses a request; see ``errors.ProxyError``."""

    detail: str
    status: int
    outcome: str
    limit: str
    field: str | None
    retry_after_s: int | None
    headers: Pairs
    errors: tuple[tuple[str, str], ...]


class RelayedRequest(msgspec.Struct, frozen=True, tag="request"):
    """To the successor: a request on a connection of the old process.

    :param id: names it in the messages that belong to it.
    :param error: arrival refuses the request; None: it is to be handled.
    """

    id: int
    request: SentRequest
    error: SentError | None = None


class ClientLeft(msgspec.Struct, frozen=True, tag="left"):
    """To the successor: the client of a request has left before its response."""

    id: int


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """To the successor: what became of a response with ``tells``.

    :param whole: the client has taken all of it.
    """

    id: int
    whole: bool


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """From the successor: everything is read; it could take over."""

    version: str


class Serving(msgspec.Struct, frozen=True, tag="serving"):
    """From the successor: it has opened the state folder and serves."""


class RelayedResponse(msgspec.Struct, frozen=True, tag="response"):
    """From the successor: the response to a relayed request.

    :param tells: it wants to know what became of the response.
    """

    id: int
    status: int
    headers: Pairs
    body: bytes
    tells: bool


class NoResponse(msgspec.Struct, frozen=True, tag="none"):
    """From the successor: a relayed request gets no response; the connection is to be closed."""

    id: int


ToSuccessor = Prepare | TakeOver | RelayedRequest | ClientLeft | Delivered
FromSuccessor = Prepared | Serving | RelayedResponse | NoResponse
