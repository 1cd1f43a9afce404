"""A receiver of posted records on a real loopback socket: it keeps batches, and fails as a test wants."""

from __future__ import annotations

import hmac
import json
from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

SECRET = b"a secret of twenty-four b"


@define(eq=False)
class Posted:
    """One POST."""

    trail: str
    journal: str
    first_seq: int
    lines: list[bytes]
    key: str
    genuine: bool

    @property
    def seqs(self) -> list[int]:
        return [json.loads(line)["seq"] for line in self.lines]


class Receiver(Resource):
    """Receives batches.

    :ivar status: of the responses; other than 2xx keeps nothing.
    :ivar silent: it takes a batch and never responds.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 204
        self.fields: dict[str, str] = {}
        self.silent = False
        self.taken: list[Posted] = []
        self.refused = 0
        self._port: Any = None
        self._connections: Any = None
        self.port = 0

    def listen(self) -> None:
        """Listen, on the earlier port if it had one."""
        from twisted.internet import reactor

        site = Site(self)
        site.noisy = False
        self._connections = WrappingFactory(site)
        self._connections.noisy = False
        self._port = cast(Any, reactor).listenTCP(self.port, self._connections, interface="127.0.0.1")
        self.port = self._port.getHost().port

    def stop(self) -> Deferred[None]:
        """Accept no more connections, and break the existing ones, also those that have not sent a request yet."""
        for connection in list(self._connections.protocols):
            connection.abortConnection()
        closing: Deferred[None] = self._port.stopListening()
        return closing

    @property
    def seqs(self) -> list[int]:
        """Numbers of all records that were received, including duplicates."""
        return [seq for posted in self.taken for seq in posted.seqs]

    def render_POST(self, request: Request) -> Any:
        body = request.content.read()
        if not 200 <= self.status < 300:
            self.refused += 1
        else:
            self.taken.append(posted(request, body))
        if self.silent:
            return NOT_DONE_YET
        request.setResponseCode(self.status)
        for name, value in self.fields.items():
            request.setHeader(name, value)
        return b""


def posted(request: Request, body: bytes) -> Posted:
    """Convert a request; checks its signature as ``is_genuine`` of docs/writers.md does."""

    def of(name: str) -> str:
        return str(request.getHeader(name))

    made = hmac.new(SECRET, of("X-Hospproxy-Timestamp").encode() + b"." + body, "sha256").hexdigest()
    return Posted(
        of("X-Hospproxy-Trail"),
        of("X-Hospproxy-Journal"),
        int(of("X-Hospproxy-First-Seq")),
        body.splitlines(),
        of("Idempotency-Key"),
        of("X-Hospproxy-Signature") == "sha256=" + made,
    )
