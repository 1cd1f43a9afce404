"""The table of transitions: what it promises, and that connections take each of them and no other."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from twisted.internet.error import ConnectionAborted
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival import connection_state
from hospproxy.arrival.connection_state import TABLE, Event, IllegalTransition, State, after
from hospproxy.arrival.limit_log import LimitLog
from hospproxy.http.errors import Refused
from tests.arrival.connection_driver import Driven
from tests.arrival.memory_transport import read_answers
from tests.corpus import LIMITS
from tests.corpus.case import chunked, get, post

CLOSE = b"Connection: close"
PAIRS = tuple(itertools.product(State, Event))


def follows(state: State) -> set[State]:
    """All states that can come after this one, directly or later."""
    found: set[State] = set()
    front = {state}
    while front:
        front = {each for one in front for each in TABLE[one].values()} - found
        found |= front
    return found


class TableTests(SynchronousTestCase):
    def test_every_pair_is_in_the_table_or_refused(self) -> None:
        for state, event in PAIRS:
            if event in TABLE[state]:
                self.assertIs(after(state, event), TABLE[state][event])
                continue
            error = self.assertRaises(IllegalTransition, after, state, event)
            self.assertEqual((error.state, error.event), (state, event))
            self.assertEqual(str(error), f"a connection in state {state.name} cannot take event {event.name}")

    def test_every_state_has_its_row_and_can_be_reached(self) -> None:
        self.assertEqual(set(TABLE), set(State))
        self.assertEqual(follows(State.NEW), set(State) - {State.NEW})
        self.assertEqual({event for row in TABLE.values() for event in row}, set(Event))

    def test_every_connection_can_end(self) -> None:
        for state in set(State) - {State.CLOSED}:
            self.assertEqual(after(state, Event.LOST), State.CLOSED)
            self.assertEqual(after(state, Event.ABORTED), State.CLOSING)
        self.assertEqual(TABLE[State.CLOSED], {})

    def test_what_ends_does_not_begin_again(self) -> None:
        for state in connection_state.ENDING:
            self.assertLessEqual(follows(state), connection_state.ENDING)

    def test_the_next_request_is_read_only_after_a_whole_response(self) -> None:
        ways = {
            (state, event) for state, row in TABLE.items() for event, to in row.items() if to is State.IDLE
        }
        self.assertEqual(
            ways,
            {
                (State.HEAD, Event.HEAD_BLANK),
                (State.ANSWERING, Event.RESPONSE_WRITTEN),
                (State.STREAMING, Event.RESPONSE_WRITTEN),
            },
        )
        for state in connection_state.WITH_HANDLER | connection_state.RESPONDING:
            self.assertEqual(set(TABLE[state].values()) & connection_state.READS_HEAD - {State.IDLE}, set())

    def test_a_body_that_is_not_whole_never_precedes_another_request(self) -> None:
        for state in (State.BODY, State.HELD, State.WANTED):
            self.assertEqual(set(TABLE[state].values()) & connection_state.READS_HEAD, set())

    def test_the_groups(self) -> None:
        groups = (
            connection_state.READS_HEAD,
            connection_state.READS_BODY,
            connection_state.ENDING,
            connection_state.RESPONDING,
            {State.HELD},
        )
        self.assertEqual(sorted(each for group in groups for each in group), sorted(State))
        self.assertEqual(connection_state.READS, connection_state.READS_HEAD | connection_state.READS_BODY)
        with_handler = {state for state, row in TABLE.items() if Event.RESPONSE_WRITTEN in row}
        with_handler |= {state for state, row in TABLE.items() if Event.BODY_UNWANTED in row}
        self.assertEqual(connection_state.WITH_HANDLER, with_handler - {State.STREAMING})


def ended(there: Driven) -> None:
    """Respond to the only request, which asks for the end of the connection."""
    there.send(get(b"/", CLOSE))
    there.handler.respond()


def answered(there: Driven) -> None:
    there.send(get())
    there.handler.respond()


def asked(there: Driven) -> None:
    there.send(post(b"", b"Content-Length: 40"))
    there.handler.read()


def streaming(there: Driven) -> None:
    there.send(get())
    there.handler.stream()


REACH: dict[State, Callable[[Driven], object]] = {
    State.NEW: lambda there: None,
    State.IDLE: answered,
    State.HEAD: lambda there: there.send(b"\r"),
    State.BODY: lambda there: there.send(chunked(b"")),
    State.HELD: lambda there: there.send(post(b"", b"Content-Length: 40")),
    State.WANTED: asked,
    State.ANSWERING: lambda there: there.send(get()),
    State.STREAMING: streaming,
    State.FLUSHING: ended,
    State.CLOSING: ended,
    State.CLOSED: lambda there: there.leave(),
}
"""How a connection gets into each state."""


def bring(state: State) -> Driven:
    """Return a connection in this state."""
    there = Driven(room=0 if state is State.FLUSHING else float("inf"))
    REACH[state](there)
    assert there.state is state, there.state
    return there


def drained(act: Callable[[Driven], object]) -> Callable[[Driven], object]:
    def do(there: Driven) -> None:
        there.drain()
        act(there)

    return do


def sent(data: bytes) -> Callable[[Driven], object]:
    """Send a head; in HEAD, the line end of the empty line comes first."""
    return lambda there: there.send((b"\n" if there.state is State.HEAD else b"") + data)


def respond(there: Driven) -> None:
    """Give or finish the response."""
    if there.state is State.STREAMING:
        there.handler.piece(None)
    else:
        there.handler.respond()


CAUSES: dict[Event, tuple[Callable[[Driven], object], ...]] = {
    Event.HEAD_BEGUN: (sent(b"GET"),),
    Event.HEAD_BLANK: (sent(b""),),
    Event.BODY_BEGUN: (sent(post(b"", b"Content-Length: 5")),),
    Event.BODY_HELD: (sent(post(b"", b"Content-Length: 40")), sent(b"14\r\n" + b"x" * 20)),
    Event.BODY_WANTED: (lambda there: there.handler.read(),),
    Event.BODY_UNWANTED: (respond,),
    Event.REQUEST_COMPLETE: (sent(get()), sent(b"0\r\n\r\n"), sent(b"x" * 40)),
    Event.REFUSED: (sent(b"\0"), lambda there: there.half_close()),
    Event.STREAM_BEGUN: (lambda there: there.handler.stream(),),
    Event.RESPONSE_WRITTEN: (respond,),
    Event.LAST_RESPONSE_WRITTEN: (drained(respond),),
    Event.RESPONSE_TAKEN: (lambda there: there.transport.drain(1e6),),
    Event.REQUESTS_OVER: (lambda there: there.half_close(), lambda there: there.pass_time(80)),
    Event.ABORTED: (lambda there: there.protocol.abort(),),
    Event.LOST: (lambda there: there.leave(),),
}
"""What causes each event, in one state or another."""


class ConnectionTests(SynchronousTestCase):
    def test_each_transition_has_a_cause(self) -> None:
        for state, event in PAIRS:
            if event in TABLE[state]:
                self.assertTrue(
                    any((state, event) in self.taken(state, cause) for cause in CAUSES[event]),
                    f"no connection in state {state.name} takes event {event.name}",
                )

    def test_no_cause_is_illegal_in_any_state(self) -> None:
        """What the client, the handler and the process may do at any time leads to no error of ours."""
        for state in State:
            for cause in itertools.chain.from_iterable(CAUSES.values()):
                taken = self.taken(state, cause)
                self.assertLessEqual({each for each in taken if each[1] not in TABLE[each[0]]}, set())

    def taken(self, state: State, cause: Callable[[Driven], object]) -> set[tuple[State, Event]]:
        there = bring(state)
        there.taken.clear()
        cause(there)
        self.assertEqual(self.flushLoggedErrors(), [])
        taken = set(there.taken)
        while there.handler.owed:
            there.handler.respond()
        there.handler.piece(None)
        there.leave()
        self.assertEqual(there.context.budget.used, 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        return taken


class BodyTests(SynchronousTestCase):
    """What the table made visible: a handler may respond, or stop, while its body is still arriving."""

    def test_a_response_while_the_body_arrives_ends_the_connection(self) -> None:
        there = bring(State.WANTED)
        there.send(b"x" * 20)
        there.handler.respond()
        there.send(b"x" * 20 + get(b"/smuggled"))
        (answer,) = read_answers(bytes(there.transport.written), ["POST"])
        self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
        self.assertEqual((len(there.handler.handled), there.state), (1, State.CLOSING))
        self.assertEqual(there.context.budget.used, 0)

    def test_a_body_that_is_wanted_too_late(self) -> None:
        for state in (State.CLOSING, State.CLOSED):
            there = bring(State.HELD)
            if state is State.CLOSING:
                self.patch(there.transport, "abortConnection", lambda: None)
                there.protocol.abort()
            else:
                there.leave()
            self.assertIs(there.state, state)
            there.handler.read()
            (failure,) = there.handler.bodies
            self.assertIsInstance(failure.value, Refused)  # type: ignore[attr-defined]


class PipelineTests(SynchronousTestCase):
    def pipelined(self, last: bytes) -> list[str]:
        """The limits that were hit by ``max_pipelined`` requests and this one, sent without waiting."""
        hit: list[str] = []
        there = Driven()
        self.patch(LimitLog, "hit", lambda _, limit, address: hit.append(limit))
        there.send(get() * LIMITS.max_pipelined + last)
        while there.handler.owed:
            there.handler.respond()
        self.assertEqual(len(there.handler.handled), LIMITS.max_pipelined + 1)
        self.assertIs(there.state, State.CLOSING)
        return hit

    def test_too_many_in_a_row(self) -> None:
        self.assertEqual(self.pipelined(get()), ["max_pipelined"])

    def test_the_last_one_asks_for_the_end_itself(self) -> None:
        self.assertEqual(self.pipelined(get(b"/", CLOSE)), [])


class FailureTests(SynchronousTestCase):
    def test_an_illegal_transition_is_logged_and_closes_the_connection(self) -> None:
        there = bring(State.ANSWERING)
        only_ends = {Event.ABORTED: State.CLOSING, Event.LOST: State.CLOSED}
        self.patch(connection_state, "TABLE", {**TABLE, State.ANSWERING: only_ends})
        there.handler.respond()
        (failure,) = self.flushLoggedErrors(IllegalTransition)
        self.assertIn("state ANSWERING cannot take event RESPONSE_WRITTEN", str(failure.value))
        self.assertIs(there.transport.gone, ConnectionAborted)
