"""Connections whose bytes come in any pieces, while handler, transport and process act in any order.

The model is what an observer sees from outside: bytes sent, requests handed over, responses given. After each step the
connection's state must agree with it, and no step may take a transition that the table lacks.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
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
from hospproxy.http.messages import Response
from tests.arrival.connection_driver import PLAIN, Driven
from tests.arrival.memory_transport import read_answers
from tests.corpus.case import chunked, get, post

HIDDEN = get(b"/hidden")
"""A body that must never be read as a request."""

SOUND = (
    get(b"/"),
    get(b"/old", version=b"1.0"),
    get(b"/kept", b"Connection: keep-alive", version=b"1.0"),
    get(b"/end", b"Connection: close"),
    b"\r\n" + get(b"/after-an-empty-line"),
    post(b"hello", b"Content-Length: 5"),
    post(HIDDEN, b"Content-Length: %d" % len(HIDDEN)),
    post(HIDDEN, b"Content-Length: %d" % len(HIDDEN)),
    post(HIDDEN, b"Content-Length: %d" % len(HIDDEN), b"Connection: close"),
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

REQUESTS = st.sampled_from(SOUND * 3 + BAD)

LONGEST_S = 300
"""More than the sum of all limits on a silent connection, in seconds."""


class ConnectionModel(RuleBasedStateMachine):
    """One connection after another. Each rule is something that client, handler, transport or process may do."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[object] = []
        log.addObserver(self.listen)
        self.open(False, float("inf"))

    def listen(self, event: dict[str, object]) -> None:
        if event.get("isError"):
            self.errors.append(event.get("failure"))

    def open(self, secure: bool, room: float) -> None:
        self.there = Driven(plain=None if secure else PLAIN, room=room)
        self.coming = b""  # what the client has decided to send
        self.sent = b""
        self.plan: list[tuple[str, bytes]] = []  # method and target of what it has decided to send
        self.stopped = False

    @precondition(lambda self: self.there.gone)
    @rule(secure=st.booleans(), room=st.sampled_from([float("inf"), float("inf"), 100]))
    def connect_again(self, secure: bool, room: float) -> None:
        self.close_the_books()
        self.open(secure, room)

    # -- the client

    @precondition(lambda self: not self.there.gone)
    @rule(request=REQUESTS, size=st.integers(1, 30))
    def send_a_little(self, request: bytes, size: int) -> None:
        if not self.coming:
            self.decide_on(request)
        self.send(size)

    @precondition(lambda self: not self.there.gone)
    @rule(requests=st.lists(REQUESTS, min_size=1, max_size=3), but=st.integers(0, 40))
    def send_nearly_all(self, requests: list[bytes], but: int) -> None:
        for request in requests:
            self.decide_on(request)
        self.send(max(1, len(self.coming) - but))

    def decide_on(self, request: bytes) -> None:
        self.coming += request
        method, _, rest = request.strip(b"\r\n").partition(b" ")
        self.plan.append((method.decode(), rest.partition(b" ")[0]))

    def send(self, size: int) -> None:
        piece, self.coming = self.coming[:size], self.coming[size:]
        self.sent += piece
        self.there.send(piece)

    # -- the handler

    @precondition(lambda self: self.there.handler.owed)
    @rule(size=st.sampled_from([0, 4, 4, 3000]))
    def respond(self, size: int) -> None:
        self.there.handler.respond(Response(200, body=b"x" * size))

    @precondition(lambda self: self.there.handler.owed)
    @rule()
    def stream(self) -> None:
        self.there.handler.stream()

    @precondition(lambda self: self.there.state is State.STREAMING)
    @rule(piece=st.sampled_from([None, None, b"", b"piece", b"x" * 500]))
    def go_on_streaming(self, piece: bytes | None) -> None:
        self.there.handler.piece(piece)

    @precondition(lambda self: self.there.state is State.HELD)
    @rule()
    def read(self) -> None:
        self.there.handler.read()

    # -- the transport and the process

    @precondition(lambda self: not self.there.gone and self.there.transport.waiting)
    @rule(more=st.integers(1, 5000))
    def take(self, more: int) -> None:
        self.there.transport.drain(more)

    @precondition(lambda self: not self.there.gone)
    @rule(what=st.sampled_from(["a second"] * 8 + ["late", "half close", "leave", "abort", "stop"]))
    def happen(self, what: str) -> None:
        """Time passes, or something that ends most connections sooner or later."""
        if what == "half close":
            self.there.half_close()
        elif what == "leave":
            self.there.leave()
        elif what == "abort":
            self.there.protocol.abort()
        elif what == "stop" and not self.stopped:
            self.stopped = True
            self.there.drain(30)
        else:
            self.there.pass_time(61 if what == "late" else 1, step_s=0.5)

    # -- what must hold

    @invariant()
    def takes_only_what_the_table_has(self) -> None:
        there = self.there
        assert self.errors == [], self.errors
        state = State.NEW
        for before, event in there.taken:
            assert before is state
            state = TABLE[state][event]
        assert there.state is state

    @invariant()
    def state_agrees_with_what_is_seen(self) -> None:
        there = self.there
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
            in_grace = state is State.NEW and there.context.connections.in_grace
            assert not self.stopped or in_grace or there.protocol._outflow.blocked

    @invariant()
    def requests_are_handed_over_as_they_were_sent(self) -> None:
        there = self.there
        handled = there.handler.handled
        assert [(each.method, each.path) for each in handled] == self.plan[: len(handled)]
        whole = {each.body for each in handled} | {
            bytes(each) for each in there.handler.bodies if isinstance(each, bytearray)
        }
        assert whole <= {None, b"hello", b"x" * 40, HIDDEN}, whole

    def teardown(self) -> None:
        self.close_the_books()
        log.removeObserver(self.listen)

    def close_the_books(self) -> None:
        """Nothing of a connection is left once it has ended, and it ends if nobody does anything more."""
        there = self.there
        there.transport.drain(float("inf"))
        for _ in range(LONGEST_S):
            if there.gone and not there.handler.owed:
                break
            there.handler.piece(None)
            while there.handler.owed:
                there.handler.respond()
            there.pass_time(1, step_s=1)
        assert there.gone, there.state
        there.clock.advance(0)  # what a response's end is told to
        there.clock.advance(0)
        assert self.errors == [], self.errors
        assert there.context.budget.used == 0
        assert there.clock.getDelayedCalls() == []
        if there.transport.gone is ConnectionDone:  # otherwise the last response may be cut off
            read_answers(bytes(there.transport.written), ["POST"])


class ModelTests(SynchronousTestCase):
    def test_in_any_order(self) -> None:
        run_state_machine_as_test(
            ConnectionModel, settings=settings(max_examples=150, stateful_step_count=50, deadline=None)
        )
