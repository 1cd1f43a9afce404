"""HTTP/1.1 on one connection: one request at a time, each with its limits and its clocks (RFC 9112)."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import ProxyError, RecordFailed, Refused
from ..messages import Client, Request, Response
from .admission import admit
from .answer import CONTINUE, has_content
from .body import Decoder, decoder_for
from .ending import Ending
from .head import Head, HeadFinder, parse_head
from .house import House
from .line import HeadRefused, RequestLine
from .outflow import Outflow
from .plain import PlainPolicy
from .streaming import Stream, discard
from .trust import display_address
from .writing import written

_log = Logger()


class _Phase(enum.IntEnum):
    IDLE = 0
    HEAD = 1
    BODY = 2
    ANSWERING = 3
    CLOSING = 4
    GONE = 5


@implementer(IHalfCloseableProtocol)
class Http1Protocol(Protocol):
    """One connection.

    :param house: what it shares with the others.
    :param plain: the policy of its listener; None where the listener speaks TLS.
    """

    transport: Any
    _outflow: Outflow
    _ending: Ending

    def __init__(self, house: House, plain: PlainPolicy | None) -> None:
        self._house = house
        self._plain = plain
        self._scheme = "https" if plain is None else "http"
        self._peer = ""
        self._buffer = bytearray()
        self._finder = HeadFinder(house.limits)
        self._phase = _Phase.IDLE
        self._deadline: float | None = None
        self._request = Request()
        self._decoder: Decoder | None = None
        self._body_held = 0
        self._handling: Deferred[Response] | None = None
        self._stream: Stream | None = None
        self._last = False  # no request after this one is read
        self._client_done = False  # the client has sent its last byte
        self._reading_paused = False
        self._pumping = False

    # -- what the transport calls

    def connectionMade(self) -> None:
        house, limits = self._house, self._house.limits
        self._peer = display_address(getattr(self.transport.getPeer(), "host", ""))
        self._ending = Ending(
            self.transport, limits, secure=self._plain is None, set_deadline=self._set_deadline
        )
        self._outflow = Outflow(house.clock, house.budget, limits.write_timeout_s, self._has_room)
        self.transport.registerProducer(self._outflow, True)
        self.transport.setTcpNoDelay(True)
        self._set_deadline(limits.header_timeout_s)
        house.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self._phase >= _Phase.CLOSING or (self._last and self._phase is _Phase.ANSWERING):
            return  # RFC 9112 §9.6: nothing is read after close
        self._buffer += data
        self._pump()

    def readConnectionLost(self) -> None:
        """The client has closed its side (plain only): what it has asked is still answered."""
        self._client_done = True
        if self._phase is _Phase.CLOSING:
            self._ending.client_closed()
        else:
            self._pump()

    def writeConnectionLost(self) -> None:
        """All is sent and our side closed."""
        self._ending.half_closed()
        if self._client_done:
            self._ending.client_closed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._phase = _Phase.GONE
        self._house.connections.discard(self)
        self._outflow.stopProducing()
        self._buffer.clear()
        self._decoder = self._deadline = None
        if self._stream is not None:
            self._stream.stop()
        if self._handling is None:
            self._release_body()
        else:
            self._handling.cancel()

    def _has_room(self) -> None:
        """The client has taken all that was written."""
        if self._stream is not None:
            self._stream.has_room()
        elif self._phase is _Phase.CLOSING:
            self._finish()
        elif self._phase is _Phase.IDLE:
            self._set_deadline(self._house.limits.keep_alive_s)
            self._pump()

    # -- what Connections calls: the sweep, and the end of the process

    def is_overdue(self, now: float) -> bool:
        late = self._outflow.deadline
        return (self._deadline is not None and self._deadline <= now) or (late is not None and late <= now)

    def time_out(self) -> None:
        late = self._outflow.deadline
        if late is not None and late <= self._house.clock.seconds():
            self.abort()
        elif self._phase is _Phase.IDLE:
            self._close_idle()
        elif self._phase is _Phase.HEAD:
            self._refuse(self._known(RequestLine()), Refused("The head took too long to arrive.", status=408))
        elif self._phase is _Phase.BODY:
            self._refuse(self._request, Refused("The body took too long to arrive.", status=408))
        elif self._phase is _Phase.CLOSING:
            self._ending.overdue()

    def wind_down(self) -> None:
        self._pump()

    def abort(self) -> None:
        self._phase = _Phase.CLOSING
        self._deadline = None
        self.transport.abortConnection()

    def _set_deadline(self, seconds: float) -> None:
        if self._phase is not _Phase.GONE:
            self._deadline = self._house.clock.seconds() + seconds

    # -- requests

    def _pump(self) -> None:
        """Go as far as what has arrived allows. Answers that come at once do not recurse."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._step():
                pass
        finally:
            self._pumping = False
        if self._phase < _Phase.CLOSING:
            self._settle()

    def _step(self) -> bool:
        """One head or one body; whether there may be more to do."""
        if self._phase is _Phase.BODY:
            return self._read_body()
        if self._phase <= _Phase.HEAD and not self._outflow.blocked:
            return self._read_head()
        return False

    def _settle(self) -> None:
        """All that could be done is done: close what is at its end, and read no more than may be kept."""
        blocked = self._outflow.blocked
        over = self._client_done or self._house.connections.draining
        if self._phase is _Phase.IDLE and not self._buffer and not blocked and over:
            self._close_idle()
        elif self._client_done:
            self._refuse_cut()
        else:
            full = len(self._buffer) > self._house.limits.max_pipelined_bytes
            self._pause_reading(full and (blocked or self._phase is _Phase.ANSWERING))

    def _refuse_cut(self) -> None:
        """RFC 9112 §8: a request that will not become whole."""
        if self._phase is _Phase.HEAD:
            self._refuse(self._known(RequestLine()), Refused("The request is cut short."))
        elif self._phase is _Phase.BODY:
            self._refuse(self._request, Refused("The body is cut short."))

    def _pause_reading(self, pause: bool) -> None:
        if pause is self._reading_paused or self._client_done:
            return
        self._reading_paused = pause
        if pause:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def _read_head(self) -> bool:
        try:
            data = self._finder.take(self._buffer)
            if data is None:
                self._wait_for_head()
                return False
            head = parse_head(data, self._house.limits)
        except HeadRefused as error:
            self._refuse(self._known(error.known), error)
            return True
        try:
            self._begin(head)
        except ProxyError as error:
            self._refuse(self._request, error)
        return True

    def _wait_for_head(self) -> None:
        """A head has begun with its first byte; empty lines are no beginning."""
        limits = self._house.limits
        if self._buffer and self._phase is _Phase.IDLE:
            self._phase = _Phase.HEAD
            self._set_deadline(limits.header_timeout_s)
        elif not self._buffer and self._phase is _Phase.HEAD:
            self._phase = _Phase.IDLE
            self._set_deadline(limits.keep_alive_s)

    def _begin(self, head: Head) -> None:
        """A head is whole: admit the request, and take its body in if it has one.

        :raise ProxyError: arrival itself says no.
        """
        house, line, framing = self._house, head.line, head.framing
        client = house.trust.identify(self._peer, self._scheme, head.host, head.fields, house.new_id)
        method = line.method.decode("ascii")
        self._request = Request(method, line.path, line.query, line.version, head.headers, None, client)
        self._last = not framing.keep_alive
        admit(house, self._plain, line, client)
        self._decoder = decoder_for(framing, house.handler.body_limit(method, line.path))
        if self._decoder is None:
            self._hand_over()
            return
        self._phase = _Phase.BODY
        self._set_deadline(house.limits.body_timeout_s)
        if framing.expect_continue and not self._buffer:
            self.transport.write(CONTINUE)

    def _read_body(self) -> bool:
        decoder = self._decoder
        if decoder is None:
            return False
        try:
            whole = decoder.feed(self._buffer)
            grown = decoder.size - self._body_held
            self._house.budget.reserve(grown)
            self._body_held += grown
        except ProxyError as error:
            self._refuse(self._request, error)
            return False
        if whole:
            self._decoder = None
            self._request = evolve(self._request, body=decoder.content())
            self._hand_over()
        return whole

    # -- answers

    def _hand_over(self) -> None:
        if self._last:
            self._buffer.clear()
        self._handling = answer = maybeDeferred(self._house.handler.handle, self._request)
        self._await(answer)

    def _refuse(self, request: Request, error: ProxyError) -> None:
        """Answer by ourselves, through the handler so that it is on record; then read no more.

        The Deferred is not cancelled when the client goes: the record is wanted all the same.
        """
        self._request = request
        self._last = True
        self._buffer.clear()
        self._decoder = None
        self._release_body()
        self._await(maybeDeferred(self._house.handler.refuse, request, error))

    def _known(self, line: RequestLine) -> Request:
        client = Client(self._peer, self._peer, (), self._scheme, "", self._house.new_id())
        return Request(line.method.decode("ascii"), line.path, line.query, line.version, client=client)

    def _await(self, answer: Deferred[Response]) -> None:
        self._phase, self._deadline = _Phase.ANSWERING, None
        answer.addCallbacks(self._answer, self._give_up).addErrback(self._give_up)

    def _answer(self, response: Response) -> None:
        self._handling = None
        self._release_body()
        if self._phase is not _Phase.ANSWERING:
            discard(response)  # the connection went while the answer was being made
            return
        unframed = response.chunks is not None and self._request.version < (1, 1)
        over = unframed or (self._client_done and not self._buffer)
        close = self._last or self._house.connections.draining or over
        response, pieces = written(self._house, self._request, response, close=close)
        self._outflow.expect(sum(map(len, pieces)))
        self.transport.writeSequence(pieces)
        if response.chunks is None:
            self._answered(response, close)
        elif has_content(response, to_head=self._request.method == "HEAD"):
            self._carry(response, response.chunks, close)
        else:
            discard(response)
            self._answered(response, close)

    def _carry(self, response: Response, chunks: AsyncIterator[bytes], close: bool) -> None:
        """Content that comes piece by piece; until its end nothing else is answered here."""
        self._stream = Stream(chunks, self.transport, self._outflow, chunked=self._request.version >= (1, 1))

        def done(result: Failure | None) -> None:
            self._stream = None
            if result is None and self._phase is _Phase.ANSWERING:
                self._answered(response, close)
            elif response.handed_over is not None:
                response.handed_over(False)
            if result is not None:
                self._give_up(result)

        self._stream.run().addBoth(done).addErrback(self._give_up)

    def _answered(self, response: Response, close: bool) -> None:
        """The last byte of an answer is handed to the transport."""
        close = close or self._house.connections.draining
        self._request = Request()
        self._phase = _Phase.CLOSING if close else _Phase.IDLE
        if response.handed_over is not None:
            self._outflow.when_taken(response.handed_over)
        if not close:
            self._set_deadline(self._house.limits.keep_alive_s)
            self._pump()
        elif not self._outflow.blocked:
            self._finish()

    def _give_up(self, failure: Failure) -> None:
        """There is no record, so there is no answer."""
        self._handling = None
        self._release_body()
        if not isinstance(failure.value, RecordFailed | CancelledError):
            _log.failure("A request could not be answered.", failure=failure)
        if self._phase is not _Phase.GONE:
            self.abort()

    def _release_body(self) -> None:
        held, self._body_held = self._body_held, 0
        self._house.budget.release(held)

    # -- the end of the connection

    def _finish(self) -> None:
        """The last answer is handed to the transport."""
        self._pause_reading(False)
        self.transport.unregisterProducer()
        self._ending.finish()

    def _close_idle(self) -> None:
        self._phase = _Phase.CLOSING
        self._pause_reading(False)
        self.transport.unregisterProducer()
        self._ending.close_idle()


class Http1Factory(Factory):
    """Makes the connections of one listener.

    :param house: what all listeners share.
    :param plain: the policy of a listener without TLS; None for one with.
    """

    noisy = False

    def __init__(self, house: House, plain: PlainPolicy | None = None) -> None:
        self.house = house
        self.plain = plain

    def buildProtocol(self, addr: IAddress | None) -> Http1Protocol | None:  # noqa: ARG002
        """None, which closes the connection, when there are as many as there may be or the proxy is stopping."""
        connections = self.house.connections
        if len(connections) >= self.house.limits.max_connections or connections.draining:
            return None
        return Http1Protocol(self.house, self.plain)
