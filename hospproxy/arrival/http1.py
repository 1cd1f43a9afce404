"""HTTP/1.1 on one connection: one request at a time, each with its limits and deadlines (RFC 9112)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..http.errors import ProxyError, RecordFailed, Refused
from ..http.messages import Request, Response
from . import connection_state as states
from .answer import CONTINUE, has_content
from .body import BodyDecoder, decoder_for
from .budget import BudgetShare, spent
from .client_deadline import ClientDeadline, ReadPause
from .connection_state import Event, State
from .deferred_body import DeferredBody
from .fields import Framing
from .flow_control import FlowControl, say_early
from .front.trust import display_address
from .head import HeadFinder, HeadReader, RequestHead
from .limits import MAX_PIPELINED_BYTES
from .line import HeadRefused
from .lingering_close import LingeringClose
from .listener_context import ListenerContext
from .plain import PlainPolicy
from .serializer import written
from .shortcuts import Hit
from .streamed_response import ResponseStream, discard
from .supervised import SupervisedConnection

_log = Logger()

_NO_REQUEST: Final = Request()
_LAST, _OPEN = Framing(keep_alive=False), Framing()  # whether more is read after the request
_READY: Final = Response(200)


@implementer(IHalfCloseableProtocol)
class Http1Protocol(SupervisedConnection):
    """One connection: reads requests, calls the handler and sends responses; ``connection_state.py`` has its states.

    :param context: the state that all connections share.
    :param plain: policy of its listener; None on a TLS listener.
    :param announced: source address from a PROXY header, "" if the header gives none; None without a header.
    """

    def __init__(
        self, context: ListenerContext, plain: PlainPolicy | None, announced: str | None = None
    ) -> None:
        self._context, self._plain, self._announced = context, plain, announced
        self._scheme = "https" if plain is None else "http"
        self._peer = ""
        self._buffer = bytearray()
        self._finder, self._reader = HeadFinder(context.limits), HeadReader()
        self._state = State.NEW
        self._pace = ClientDeadline(context.clock, context.limits)
        self._request = _NO_REQUEST
        self._framing = _LAST  # of that request
        self._decoder: BodyDecoder | None = None
        self._kept_back: DeferredBody | None = None
        self._held = BudgetShare(context.budget)
        self._pipelined = 0  # requests in a row that arrived before the response to the one before
        self._handling: Deferred[Response] | Hit | None = None
        self._stream: ResponseStream | None = None
        self._client_done = False  # the client has sent its last byte
        self._pumping = False

    # -- called by the transport

    def connectionMade(self) -> None:
        context, limits = self._context, self._context.limits
        self._peer = display_address(getattr(self.transport.getPeer(), "host", ""))
        self._shortcuts = context.shortcuts_for(self._peer, self._announced, self._scheme)
        self._read_pause = ReadPause(self.transport)
        self._ending = LingeringClose(
            self.transport, limits, secure=self._plain is None, set_deadline=self._pace.wait
        )
        self._outflow = FlowControl(
            context.clock, context.budget, limits.write_timeout_s, self._has_room, limits.min_taken_bytes
        )
        if not context.address_counts.enter(self, self._announced or self._peer):
            self.abort()
            return
        say_early(self.transport)
        self.transport.registerProducer(self._outflow, True)
        self.transport.setTcpNoDelay(True)
        self._pace.wait(limits.header_timeout_s)
        context.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        state = self._state
        if state in states.ENDING or (state in states.RESPONDING and not self._framing.keep_alive):
            return  # RFC 9112 §9.6: nothing is read after close
        fresh = state in states.BEFORE_REQUEST and not self._buffer and self._outflow.deadline is None
        if fresh and self._finder.is_whole(data) and self._takes_shortcut(data):
            return
        self._buffer += data
        self._pump()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._on(Event.LOST)
        self._context.connections.discard(self)
        self._context.address_counts.leave(self)
        self._outflow.stopProducing()
        self._buffer.clear()
        self._held.read(0)
        self._decoder = None
        self._pace.stop()
        if self._stream is not None:
            self._stream.stop()
        kept_back = self._kept_back
        if self._handling is None:
            self._held.body(0)
        else:
            self._handling.cancel()
        if kept_back is not None:
            kept_back.fail(Refused("The body is cut short."))  # a write is not cancelled

    def _has_room(self) -> None:
        """The client has read everything that was written."""
        if self._stream is not None:
            self._stream.has_room()
        elif self._state is State.FLUSHING:
            self._finish()
        elif self._state is State.IDLE:
            self._pace.wait(self._context.limits.keep_alive_s)
            self._pump()

    # -- requests

    def _pump(self) -> None:
        """Process as much of the buffer as possible. A loop, so that immediate responses do not recurse."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._step():
                pass
        finally:
            self._pumping = False
        self._held.read(len(self._buffer))
        if self._state not in states.ENDING:
            self._settle()

    def _step(self) -> bool:
        """Process one head or one body; return whether there may be more to do."""
        if self._state in states.READS_BODY:
            return self._read_body()
        if self._state in states.READS_HEAD and not self._outflow.blocked:
            return self._read_head()
        return False

    def _settle(self) -> None:
        """Nothing more can be processed now: close if the connection is done; stop reading if the buffer is full."""
        blocked, state = self._outflow.blocked, self._state
        if state in states.BEFORE_REQUEST and not self._buffer and not blocked and self._requests_are_over():
            self._close_idle()
        elif state is State.HEAD and self._context.budget.full:
            self._refuse(self._so_far(), spent())
        elif not self._client_done:
            full = len(self._buffer) > MAX_PIPELINED_BYTES
            self._read_pause.listen(not full or (state in states.READS and not blocked))
        elif state in states.CLIENT_SENDS:  # the request can never become complete (RFC 9112 §8)
            part = "request" if state is State.HEAD else "body"
            self._refuse(self._so_far(), Refused(f"The {part} is cut short."))

    def _read_head(self) -> bool:
        try:
            data = self._finder.take(self._buffer)
            if data is None:
                self._wait_for_head()
                return False
            if self._takes_shortcut(data):
                return True
            head = self._reader.read(data, self._context.limits)
        except HeadRefused as error:
            self._refuse(self._known(error.known), error)
            return True
        try:
            self._begin(head)
        except ProxyError as error:
            self._refuse(self._request, error)
        return True

    def _takes_shortcut(self, head: bytes) -> bool:
        """Answer from memory if this head was seen before; return whether it is being answered."""
        over = self._client_done or (self._context.connections.draining and self._requests_are_over())
        alone = not (self._buffer or self._pipelined or over or self._context.budget.full)
        answer = self._shortcuts.answer(head, alone=alone)
        if answer is None:
            return False
        self._framing = _LAST if answer.closes else _OPEN
        self._wait_for_answer(Event.REQUEST_COMPLETE)
        self._handling = answer
        answer.begin(self._send_hit, self._give_up)
        return True

    def _send_hit(self, hit: Hit) -> None:
        self._handling = None
        if self._state is State.ANSWERING:
            close = hit.closes or self._context.connections.ending or (self._client_done and not self._buffer)
            self._outflow.send_whole(self.transport, hit.content(close=close))
            self._answered(_READY, close)

    def _wait_for_head(self) -> None:
        """A head begins with its first byte; empty lines do not count."""
        if self._buffer and self._state is not State.HEAD:
            self._on(Event.HEAD_BEGUN)
            self._pace.head()
        elif not self._buffer and self._state is State.HEAD:
            self._on(Event.HEAD_BLANK)
            self._pace.wait(self._context.limits.keep_alive_s)

    def _begin(self, head: RequestHead) -> None:
        """A head is complete: admit the request and start to read its body, if it has one.

        :raise ProxyError: the request is refused before it reaches the handler.
        """
        context, line, framing = self._context, head.line, head.framing
        client = context.identify(
            self._peer, self._announced, self._scheme, head.host, head.fields, line.version
        )
        method = line.method.decode("ascii")
        self._request = Request(method, line.path, line.query, line.version, head.headers, None, client)
        if framing.keep_alive and self._too_many_ahead():
            framing = evolve(framing, keep_alive=False)
        self._framing = framing
        context.admit(self._plain, line, client)
        self._decoder = decoder_for(framing, context.handler.body_limit(method, line.path))
        most = context.limits.unknown_body_bytes
        if self._decoder is None:
            self._hand_over()
        elif most and (framing.expect_continue or (framing.length or 0) > most):
            self._keep_back()
        else:
            self._begin_body(Event.BODY_BEGUN)

    def _begin_body(self, why: Event) -> None:
        """Start to read the body; send a 100 (Continue) if the client waits for it and has sent nothing more."""
        self._on(why)
        self._pace.body()
        if self._framing.expect_continue and not self._buffer:
            self.transport.write(CONTINUE)

    def _keep_back(self) -> None:
        """Call the handler with the head only; it asks for the body once it knows that it needs it."""

        def begin() -> None:
            if self._state is State.HELD:
                self._begin_body(Event.BODY_WANTED)
                self._pump()
            else:  # aborted in the meantime, or answered already
                held.fail(Refused("The body is cut short."))

        self._kept_back = held = DeferredBody(begin)
        self._on(Event.BODY_HELD)
        self._pace.stop()
        self._handle(evolve(self._request, incoming=self._kept_back))

    def _read_body(self) -> bool:
        decoder = self._decoder
        if decoder is None:
            return False
        try:
            whole = decoder.feed(self._buffer)
            self._held.body(decoder.size)
        except ProxyError as error:
            self._refuse(self._request, error)
            return False
        if not whole:
            return self._go_on_reading(decoder.size)
        content = decoder.content()
        self._decoder = decoder = None
        if self._kept_back is None:
            self._request = evolve(self._request, body=bytes(content))
            self._hand_over()
        else:
            self._wait_for_answer(Event.REQUEST_COMPLETE)
            self._kept_back.arrived(content)
        return True

    def _go_on_reading(self, size: int) -> bool:
        self._pace.body(size)
        most = self._context.limits.unknown_body_bytes
        if not most or size <= most or self._kept_back is not None:
            return False
        self._keep_back()  # the length of a chunked body is known only while it arrives
        return True

    # -- responses

    def _hand_over(self) -> None:
        self._wait_for_answer(Event.REQUEST_COMPLETE)
        self._handle(self._request)

    def _wait_for_answer(self, why: Event) -> None:
        self._on(why)
        self._pace.deadline = None  # stop the client's clock: we are the slow side now
        if not self._framing.keep_alive:
            self._buffer.clear()

    def _handle(self, request: Request) -> None:
        self._handling = answer = maybeDeferred(self._context.handler.handle, request)
        answer.addCallbacks(self._answer, self._give_up).addErrback(self._give_up)

    def _refuse(self, request: Request, error: ProxyError) -> None:
        """Answer with an error and read no more. The handler gets the error too, so that it is recorded.

        The Deferred is not cancelled when the client disconnects: the audit record is still needed.
        """
        if error.limit:
            self._context.tally.hit(error.limit, request.client.address)
        self._request = request
        self._read_no_more(Event.REFUSED)
        if self._kept_back is not None and self._kept_back.is_wanted:
            self._kept_back.fail(error)  # the handler has the request already and will answer it
            return
        answer = maybeDeferred(self._context.handler.refuse, request, error)
        answer.addCallbacks(self._answer, self._give_up).addErrback(self._give_up)

    def _read_no_more(self, why: Event) -> None:
        self._framing = _LAST
        self._wait_for_answer(why)
        self._held.read(0)
        self._decoder = None
        self._held.body(0)

    def _answer(self, response: Response) -> None:
        self._handling = None
        self._held.body(0)
        self._kept_back = None
        if self._state not in states.WITH_HANDLER:
            discard(response)  # the connection closed while the response was being made
            return
        if self._state is not State.ANSWERING:  # the rest of the body must not be read as the next request
            self._read_no_more(Event.BODY_UNWANTED)
        unframed = response.chunks is not None and self._request.version < (1, 1)
        over = unframed or (self._client_done and not self._buffer)
        close = not self._framing.keep_alive or self._context.connections.ending or over
        response, pieces = written(self._context, self._request, response, close=close)
        self._outflow.send(self.transport, pieces)
        if response.shortcut is not None and close is not self._framing.keep_alive:  # as the request asked
            self._shortcuts.learn(response, pieces)
        if response.chunks is None:
            self._answered(response, close)
        elif has_content(response, to_head=self._request.method == "HEAD"):
            self._carry(response, response.chunks, close)
        else:
            discard(response)
            self._answered(response, close)

    def _carry(self, response: Response, chunks: AsyncIterator[bytes], close: bool) -> None:
        """Send streamed content; until its end no other request on this connection is answered."""
        self._on(Event.STREAM_BEGUN)
        self._stream = ResponseStream(
            chunks, self.transport, self._outflow, chunked=self._request.version >= (1, 1)
        )

        def done(result: Failure | None) -> None:
            self._stream = None
            if result is None and self._state is State.STREAMING:
                self._answered(response, close)
            elif response.handed_over is not None:
                response.handed_over(False)
            if result is not None:
                self._give_up(result)

        self._stream.run().addBoth(done).addErrback(self._give_up)

    def _answered(self, response: Response, close: bool) -> None:
        """The last byte of a response is handed to the transport."""
        close = close or self._context.connections.ending
        self._request = _NO_REQUEST
        self._on(Event.LAST_RESPONSE_WRITTEN if close else Event.RESPONSE_WRITTEN)
        if response.handed_over is not None:
            self._outflow.when_taken(response.handed_over)
        if not close:
            self._pace.wait(self._context.limits.keep_alive_s)
            self._pipelined = self._pipelined + 1 if self._buffer else 0
            if self._buffer or self._client_done:  # otherwise nothing is left to do
                self._pump()
        elif not self._outflow.blocked:
            self._finish()

    def _give_up(self, failure: Failure) -> None:
        """Close without a response: there is no audit record, or the handler failed."""
        self._handling = self._kept_back = None
        self._held.body(0)
        if not isinstance(failure.value, RecordFailed | CancelledError):
            _log.failure("the handler failed; closing the connection without a response", failure=failure)
        self.abort()
