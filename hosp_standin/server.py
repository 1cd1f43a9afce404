"""The stand-in's HTTP: twisted.web, which is as lenient as Rails, with connections that it can break on purpose."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, ITransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from .answers import Answer
from .calls import Call
from .machine import Machine

_log = Logger()


class RequestWire:
    """Sends a machine's response through a twisted.web request."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._done: Deferred[None] = Deferred()
        self.gone = False
        request.notifyFinish().addBoth(self._finished)

    def done(self) -> Deferred[None]:
        """Fires when the request got its response or its connection is lost."""
        return self._done

    def send(self, answer: Answer) -> None:
        """Send the whole response."""
        self._head(answer)
        self._request.write(answer.body)
        self._request.finish()

    def cut_body(self, answer: Answer) -> None:
        """Send the whole head and half of the body, then close the connection."""
        self._head(answer)
        self._request.write(answer.body[: len(answer.body) // 2])
        self._transport().loseConnection()

    def cut_head(self, answer: Answer) -> None:
        """Send half of the head, then close the connection."""
        head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        self._transport().write(head[: len(head) // 2].encode("latin-1"))
        self._transport().loseConnection()

    def reset(self) -> None:
        """Reset the connection."""
        if not self.gone:
            self._transport().abortConnection()  # type: ignore[attr-defined]

    def _head(self, answer: Answer) -> None:
        request = self._request
        request.setResponseCode(answer.status, answer.reason.encode("ascii"))
        request.responseHeaders.removeHeader(b"server")
        request.responseHeaders.removeHeader(b"date")
        request.responseHeaders.removeHeader(b"content-type")
        request.defaultContentType = None
        for name, value in answer.headers:
            request.responseHeaders.addRawHeader(name.encode("ascii"), value.encode("utf-8"))

    def _transport(self) -> ITransport:
        # Use the real transport: the channel in between would still send the content of its own buffers.
        transport = self._request.channel.transport
        assert transport is not None
        return transport

    def _finished(self, _: object) -> None:
        self.gone = True
        self._done.callback(None)


def call_of(request: IRequest) -> Call:
    """Convert a twisted.web request to a plain value."""
    headers: dict[str, str] = {}
    for name, values in request.requestHeaders.getAllRawHeaders():
        headers[name.decode("latin-1").lower()] = b", ".join(values).decode("utf-8", "surrogateescape")
    path, _, query = request.uri.decode("latin-1").partition("?")
    if "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    request.content.seek(0)
    return Call(request.method.decode("latin-1"), path, query, headers, request.content.read())


class HospResource(Resource):
    """Root resource of HOSP: handles every path and method."""

    isLeaf = True  # noqa: N815 - twisted.web's own name

    def __init__(self, machine: Machine) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.machine = machine

    def render(self, request: IRequest) -> int:
        """Hand the request to the machine."""
        wire = RequestWire(request)  # type: ignore[arg-type]
        served = self.machine.begin(call_of(request), wire)
        served.addErrback(self._broken, wire)
        return NOT_DONE_YET

    def _broken(self, failure: Failure, wire: RequestWire) -> None:
        _log.failure("the stand-in itself failed", failure)
        wire.reset()


class QuietSite(Site):
    """A site without an access log: the journal holds more, and a load of thousands would flood the log."""

    def log(self, request: object) -> None:
        """Write nothing."""


class _ResetAtOnce(ProtocolWrapper):
    """Resets a new connection at once, while HOSP is offline in the mode that resets."""

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]


class HospFactory(WrappingFactory[ProtocolWrapper]):
    """HOSP's site. It tracks its connections and can drop them all."""

    noisy = False

    def __init__(self, machine: Machine) -> None:
        site = QuietSite(
            HospResource(machine),
            timeout=machine.settings.keep_alive_s,
            parsePOSTFormSubmission=False,
            reactor=machine.clock,
        )  # type: ignore[no-untyped-call]
        site.noisy = False
        super().__init__(site)  # type: ignore[no-untyped-call]
        self.resetting = False

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper:
        """Return a channel, or a protocol that resets its connection at once."""
        if self.resetting:
            return _ResetAtOnce(self, Protocol())  # type: ignore[arg-type]
        return super().buildProtocol(addr)

    def drop_connections(self) -> None:
        """Reset every open connection."""
        for protocol in list(self.protocols):
            protocol.transport.abortConnection()
