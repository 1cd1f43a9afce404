"""Connections whose bytes come in any pieces, while handler, transport and process act in any order.

The model is what an observer sees from outside: bytes sent, requests handed over, responses given. After each step the
connection's state must agree with it, and no step may take a transition that the table lacks.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.error import ConnectionDone
from twisted.python import log
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival import connection_state
from hospproxy.arrival.connection_state import TABLE, State
from hospproxy.messages import Response
from tests.arrival.driven import PLAIN, Driven
from tests.arrival.wire import read_answers
from tests.corpus import LIMITS
from tests.corpus.case import chunked, get, post

SOUND = (
    get(b"/"),
    get(b"/old", version=b"1.0"),
    get(b"/kept", b"Connection: keep-alive", version=b"1.0"),
    get(b"/end", b"Connection: close"),
    b"\r\n" + get(b"/after-an-empty-line"),
    post(b"hello", b"Content-Length: 5"),
    post(b"x" * 40, b"Content-Length: 40"),
    post(b"x" * 40, b"Content-Length: 40", b"Connection: close"),
    post(b"hello", b"Content-Length: 5", b"Expect: 100-continue"),
    chunked(b"5\r\nhello\r\n0\r\n\r\n"),
    chunked(b"14\r\n" + b"x" * 20 + b"\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"),
)
BAD = (
    b"\0",
    b"GET / HTTP/1.1\r\n\r\n",
    get(b"/", b"Expect: magic"),
    chunked(b"zz\r\n"),
    chunked(b"14\r\n" + b"x" * 21),
)

LONGEST_S = LIMITS.header_timeout_s + LIMITS.body_timeout_s + LIMITS.keep_alive_s + LIMITS.linger_s + 70


class ConnectionModel(RuleBasedStateMachine):
    """One connection. Each rule is something that the client, the handler, the transport or the process may do."""

    there: Driven

    def __init__(self) -> None:
        super().__init__()
        self.coming = b""  # what the client has decided to send
        self.sent = b""
        self.plan: list[
            tuple[str, bytes]
        ] = []  # method and target of each request that the client decided on
        self.stopped = False
        self.errors: list[object] = []
        log.addObserver(self.listen)

    def listen(self, event: dict[str, object]) -> None:
        if event.get("isError"):
            self.errors.append(event.get("failure"))

    @initialize(secure=st.booleans(), room=st.sampled_from([float("inf"), float("inf"), 100]))
    def open(self, secure: bool, room: float) -> None:
        self.there = Driven(plain=None if secure else PLAIN, room=room)

    # -- the client

    @rule(requests=st.lists(st.sampled_from(SOUND), min_size=1, max_size=3))
    def decide_on_requests(self, requests: list[bytes]) -> None:
        for each in requests:
            self.decide_on(each)

    @rule(request=st.sampled_from(BAD))
    def decide_on_a_bad_one(self, request: bytes) -> None:
        self.decide_on(request)

    def decide_on(self, request: bytes) -> None:
        self.coming += request
        method, _, rest = request.strip(b"\r\n").partition(b" ")
        self.plan.append((method.decode(), rest.partition(b" ")[0]))

    @precondition(lambda self: self.coming)
    @rule(size=st.one_of(st.integers(1, 8), st.integers(1, 400)))
    def send(self, size: int) -> None:
        piece, self.coming = self.coming[:size], self.coming[size:]
        if self.there.transport.reading and not self.there.gone:
            self.sent += piece
        self.there.send(piece)

    @rule()
    def send_the_rest(self) -> None:
        if self.coming:
            self.send(len(self.coming))

    @rule()
    def half_close(self) -> None:
        self.there.half_close()

    @rule()
    def leave(self) -> None:
        self.there.leave()

    @rule(more=st.integers(1, 2000))
    def take(self, more: int) -> None:
        self.there.transport.drain(more)

    # -- the handler

    @precondition(lambda self: self.there.handler.handled)
    @rule()
    def read(self) -> None:
        self.there.handler.read()

    @precondition(lambda self: self.there.handler.owed)
    @rule(size=st.sampled_from([0, 4, 4, 3000]))
    def respond(self, size: int) -> None:
        self.there.handler.respond(Response(200, body=b"x" * size))

    @precondition(lambda self: self.there.handler.owed)
    @rule()
    def stream(self) -> None:
        self.there.handler.stream()

    @rule(piece=st.sampled_from([None, b"", b"piece", b"x" * 500]))
    def go_on_streaming(self, piece: bytes | None) -> None:
        self.there.handler.piece(piece)

    # -- the process

    @rule(seconds=st.sampled_from([1, 3, 11, 61, 80]))
    def pass_time(self, seconds: int) -> None:
        self.there.pass_time(seconds, step_s=0.5)

    @precondition(lambda self: not self.stopped)
    @rule()
    def stop(self) -> None:
        self.stopped = True
        self.there.drain(30)

    @rule()
    def abort(self) -> None:
        self.there.protocol.abort()

    # -- what must hold

    @invariant()
    def takes_only_what_the_table_has(self) -> None:
        there = self.__dict__.get("there")
        if there is None:
            return
        assert self.errors == [], self.errors
        state = State.NEW
        for before, event in there.taken:
            assert before is state
            state = TABLE[state][event]
        assert there.state is state

    @invariant()
    def state_agrees_with_what_is_seen(self) -> None:
        there = self.__dict__.get("there")
        if there is None:
            return
        state, owed = there.state, [each for each in there.handler.owed if not each.called]
        assert (state is State.CLOSED) == there.gone
        if state in connection_state.WITH_HANDLER:
            assert len(owed) == 1
        elif state not in connection_state.ENDING:
            assert owed == []
        if state is State.NEW:
            assert self.sent.strip(b"\r\n") == b""
        if state in connection_state.BEFORE_REQUEST:
            assert not there.protocol._buffer or there.protocol._outflow.blocked
            in_grace = state is State.NEW and there.house.connections.in_grace
            assert not self.stopped or in_grace or there.protocol._outflow.blocked
        if state in connection_state.ENDING:
            assert there.protocol._handling is None or there.gone or state is State.CLOSING

    @invariant()
    def requests_are_handed_over_as_they_were_sent(self) -> None:
        there = self.__dict__.get("there")
        if there is None:
            return
        handled = there.handler.handled
        assert [(each.method, each.path) for each in handled] == self.plan[: len(handled)]
        whole = {each.body for each in handled} | {
            bytes(each) for each in there.handler.bodies if isinstance(each, bytearray)
        }
        assert whole <= {None, b"hello", b"x" * 40}, whole

    def teardown(self) -> None:
        log.removeObserver(self.listen)
        there = self.__dict__.get("there")
        if there is None:
            return
        there.transport.drain(float("inf"))
        while there.handler.owed:
            there.handler.respond()
        for _ in range(int(LONGEST_S)):
            there.handler.piece(None)
            while there.handler.owed:
                there.handler.respond()
            there.pass_time(1, step_s=0.5)
        assert there.gone, there.state
        there.clock.advance(31)  # the deadline of a drain
        assert there.house.budget.used == 0
        assert there.clock.getDelayedCalls() == []
        if there.transport.gone is ConnectionDone:  # otherwise the last response may be cut off
            read_answers(bytes(there.transport.written), ["POST"])


class ModelTests(SynchronousTestCase):
    def test_in_any_order(self) -> None:
        run_state_machine_as_test(
            ConnectionModel, settings=settings(max_examples=150, stateful_step_count=30, deadline=None)
        )
