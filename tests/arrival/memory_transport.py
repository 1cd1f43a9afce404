"""A connection in memory: a transport that behaves like Twisted's, and a handler that records its requests."""

from __future__ import annotations

import http.client
import io
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from hospproxy.arrival.factory import Http1Factory
from hospproxy.arrival.http1 import Http1Protocol
from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.plain import PlainHttpMode, PlainPolicy
from hospproxy.http.errors import ProxyError
from hospproxy.http.messages import Headers, Request, Response
from hospproxy.interfaces import IHandler
from hospproxy.options.arrival_section import ArrivalSettings
from tests.corpus import LIMITS, body_limit

PLAIN = PlainPolicy(PlainHttpMode.SERVE)


@implementer(IHandler)
@define
class Recorder:
    """Responds with 200 and the target as body, and keeps the requests.

    :param clock: to respond ``delay_s`` later; at once if that is 0.
    :param answer: makes other responses.
    """

    clock: Any = None
    delay_s: float = 0.0
    answer: Callable[[Request], Response | Deferred[Response]] | None = None
    handled: list[Request] = field(factory=list)
    refused: list[tuple[Request, ProxyError]] = field(factory=list)

    def handle(self, request: Request) -> Deferred[Response]:
        if request.incoming is not None:
            return Deferred.fromCoroutine(self._read(request))
        self.handled.append(request)
        if self.answer is not None:
            made = self.answer(request)
            return made if isinstance(made, Deferred) else self._later(made)
        return self._later(Response(200, Headers(((b"content-type", b"text/plain"),)), request.path))

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:
        self.refused.append((request, error))
        return self._later(Response(error.status, error.headers, error.detail.encode()))

    def body_limit(self, method: str, path: bytes) -> int:
        return body_limit(method, path)

    async def _read(self, request: Request) -> Response:
        assert request.incoming is not None
        try:
            body = await request.incoming.read()
        except ProxyError as error:
            return await self.refuse(request, error)
        return await self.handle(evolve(request, body=body, incoming=None))

    def _later(self, response: Response) -> Deferred[Response]:
        if not self.delay_s:
            return succeed(response)
        later: Deferred[Response] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(self.delay_s, later.callback, response)
        return later


class Slow:
    """A handler whose responses wait until they are released."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Response]] = []
        self.cancelled = 0

    def __call__(self, request: Request) -> Deferred[Response]:
        def cancelled(_: Deferred[Response]) -> None:
            self.cancelled += 1

        self.waiting.append(Deferred(cancelled))
        return self.waiting[-1]

    def release(self, body: bytes = b"") -> None:
        self.waiting.pop(0).callback(Response(200, body=body))


class FakeTcp:
    """TCP as far as a protocol sees it; with ``secure``, Twisted's TLS as far as it differs.

    Closing works as in the real ones: ``loseConnection`` waits for a registered producer, TLS waits for the client's
    close_notify, a half-close is reported to the protocol.
    """

    def __init__(
        self, *, secure: bool = False, room: float = float("inf"), address: str = "192.0.2.7"
    ) -> None:
        self.address = address
        self.secure = secure
        self.room = room
        self.written = bytearray()
        self.waiting = bytearray()
        self.producer: Any = None
        self.paused = False
        self.reading = True
        self.half_closed = False
        self.closing = False
        self.gone: type[Exception] | None = None
        self.protocol: Any = None
        if secure:
            self.transport = _Below(self)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self.address, 4711)

    def setTcpNoDelay(self, enabled: bool) -> None:
        assert enabled

    def write(self, data: bytes) -> None:
        if self.gone or self.half_closed or (self.closing and self.producer is None):
            raise AssertionError(f"written after the end: {data!r}")
        self.waiting += data
        self.drain(0)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def drain(self, more: float) -> None:
        """Let the client take so many more bytes."""
        self.room += more
        count = int(min(self.room, len(self.waiting)))
        self.written += self.waiting[:count]
        del self.waiting[:count]
        self.room -= count
        if self.producer is not None:
            if self.waiting and not self.paused:
                self.paused = True
                self.producer.pauseProducing()
            elif self.paused and not self.waiting:
                self.paused = False
                self.producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        assert self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseWriteConnection(self) -> None:
        assert not self.secure, "this falls through to TCP"
        assert self.producer is None
        self.half_closed = True
        self.protocol.writeConnectionLost()

    def loseConnection(self) -> None:
        self.closing = True
        if self.producer is None and not self.secure:
            self.end(ConnectionDone)

    def abortConnection(self) -> None:
        self.end(ConnectionAborted)

    def end(self, how: type[Exception]) -> None:
        if self.gone is None:
            self.gone = how
            self.protocol.connectionLost(Failure(how()))


@frozen
class _Below:
    """The TCP connection under TLS."""

    above: FakeTcp

    def loseConnection(self) -> None:
        self.above.end(ConnectionDone)


@frozen
class Answer:
    """The response that the client saw."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_answers(data: bytes, methods: Iterable[str]) -> list[Answer]:
    """Take a stream of answers apart with the standard library's parser.

    :param methods: of the requests, in order; GET for any further answer.
    """
    stream = io.BytesIO(data)
    answers = []
    for method in itertools.chain(methods, itertools.repeat("GET")):
        if stream.tell() == len(data):
            return answers
        parsed = http.client.HTTPResponse(_Socket(stream), method=method)  # type: ignore[arg-type]
        parsed.begin()
        answers.append(Answer(parsed.status, {k.lower(): v for k, v in parsed.getheaders()}, parsed.read()))
    raise AssertionError("unreachable")


@frozen
class _Socket:
    stream: io.BytesIO

    def makefile(self, mode: str) -> io.BufferedIOBase:
        return _Unclosed(self.stream)  # type: ignore[return-value]


class _Unclosed:
    """http.client closes what it reads from after each response; here the next one follows."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.read, self.readline, self.readinto = stream.read, stream.readline, stream.readinto

    def close(self) -> None:
        pass

    def flush(self) -> None:
        pass


class Line:
    """One connection to a protocol under test, with a clock that only the test advances."""

    def __init__(
        self,
        handler: Recorder | None = None,
        *,
        limits: ArrivalSettings = LIMITS,
        plain: PlainPolicy | None = PLAIN,
        room: float = float("inf"),
        context: ListenerContext | None = None,
        address: str = "192.0.2.7",
        **shared: Any,
    ) -> None:
        self.clock = context.clock if context is not None else Clock()
        self.handler = handler or Recorder()
        self.handler.clock = self.clock
        ids = itertools.count(1)
        self.context = context or ListenerContext(
            handler=self.handler,
            clock=self.clock,
            limits=limits,
            new_id=lambda: f"id-{next(ids)}",
            wall=lambda: 0.0,
            **shared,
        )
        self.transport = FakeTcp(secure=plain is None, room=room, address=address)
        built = Http1Factory(self.context, plain).buildProtocol(None)
        assert isinstance(built, Http1Protocol)
        self.protocol = self.transport.protocol = built
        built.makeConnection(self.transport)

    def send(self, *pieces: bytes) -> None:
        """Send bytes from the client; they are lost if the connection has ended."""
        for piece in pieces:
            if self.transport.gone is None:
                self.protocol.dataReceived(piece)

    def pass_time(self, seconds: float, step_s: float = 0.25) -> None:
        """Advance the clock in steps."""
        for _ in range(int(seconds / step_s)):
            if self.transport.gone is not None:
                break
            self.clock.advance(step_s)

    @property
    def gone(self) -> bool:
        return self.transport.gone is not None

    def answers(self) -> list[Answer]:
        """The responses that were sent, without 100 Continue."""
        methods = [request.method for request in self.handler.handled]
        methods += [request.method or "GET" for request, _ in self.handler.refused]
        return read_answers(bytes(self.transport.written), methods)

    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers()]
