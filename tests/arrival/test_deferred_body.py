"""A body that is read only when the handler asks for it."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.limits import MAX_PIPELINED_BYTES
from hospproxy.http.errors import Refused
from hospproxy.http.messages import Request, Response
from tests.arrival.memory_transport import Line, Recorder
from tests.corpus import LIMITS
from tests.corpus.case import chunked, get, post

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODY = b"x" * 40
HELD = evolve(LIMITS, unknown_body_bytes=16)


class Judge(Recorder):
    """Gets each request with its head, and reads its body, or responds, when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[Request] = []
        self.answers: list[Deferred[Response]] = []
        self.bodies: list[object] = []

    def handle(self, request: Request) -> Deferred[Response]:
        self.heads.append(request)
        self.handled.append(request)
        self.answers.append(Deferred())
        return self.answers[-1]

    def read(self) -> None:
        incoming = self.heads[-1].incoming
        assert incoming is not None
        Deferred.fromCoroutine(incoming.read()).addBoth(self.bodies.append)

    def refuse_now(self, status: int = 401) -> None:
        self.answers[-1].callback(Response(status, body=b"no"))


class HeldBodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.judge = Judge()
        self.line = Line(self.judge, limits=HELD)

    def test_a_short_body_comes_with_its_request(self) -> None:
        self.line.send(post(b"x" * 16, b"Content-Length: 16"))
        (request,) = self.judge.heads
        self.assertEqual((request.body, request.incoming), (b"x" * 16, None))

    def test_a_long_one_is_asked_for(self) -> None:
        self.line.send(post(b"", b"Content-Length: 40"))
        self.assertIsNone(self.judge.heads[0].body)
        self.line.send(BODY[:30])
        self.judge.read()
        self.assertEqual(self.judge.bodies, [])
        self.line.send(BODY[30:] + get(b"/next"))
        self.assertEqual(self.judge.bodies, [BODY])
        self.judge.answers[0].callback(Response(200))
        self.assertEqual([each.path for each in self.judge.heads], [b"/", b"/next"])

    def test_until_then_no_more_of_it_is_taken_than_of_any_next_request(self) -> None:
        self.line.send(post(b"", b"Content-Length: 60000"))
        self.line.send(b"x" * (MAX_PIPELINED_BYTES + 1))
        self.assertFalse(self.line.transport.reading)
        self.judge.read()
        self.assertTrue(self.line.transport.reading)
        self.line.send(b"x" * (60_000 - MAX_PIPELINED_BYTES - 1))
        self.assertEqual(self.judge.bodies, [b"x" * 60_000])

    def test_a_body_in_chunks_is_long_once_it_has_been(self) -> None:
        self.line.send(chunked(b"14\r\n" + BODY[:20] + b"\r\n"))
        (request,) = self.judge.heads
        self.judge.read()
        self.line.send(b"14\r\n" + BODY[20:] + b"\r\n0\r\n\r\n")
        self.assertEqual((request.body, self.judge.bodies), (None, [BODY]))

    def test_an_answer_without_it_ends_the_connection(self) -> None:
        self.line.send(post(BODY[:7], b"Content-Length: 40"))
        self.judge.refuse_now()
        self.line.send(BODY[7:] + get(b"/smuggled"))
        self.assertEqual((self.line.statuses(), len(self.judge.heads)), ([401], 1))
        self.assertIn(b"connection: close", bytes(self.line.transport.written))
        self.assertEqual(self.line.context.budget.used, 0)

    def test_the_client_is_not_late_while_it_is_kept_waiting(self) -> None:
        self.line.send(post(b"", b"Content-Length: 40"))
        self.line.pass_time(LIMITS.body_timeout_s + 5)
        self.assertEqual((self.line.statuses(), self.line.gone), ([], False))
        self.judge.read()
        self.line.pass_time(LIMITS.body_timeout_s + 5)
        self.assertEqual(self.judge.bodies[0].value.status, 408)  # type: ignore[attr-defined]

    def test_a_client_that_leaves(self) -> None:
        for reads in (False, True):
            self.setUp()
            self.line.send(post(BODY[:20], b"Content-Length: 40"))
            if reads:
                self.judge.read()
            self.line.transport.end(ConnectionDone)
            if not reads:
                self.judge.read()
            (failure,) = self.judge.bodies
            self.assertIsInstance(failure.value, Refused)  # type: ignore[attr-defined]
            self.assertEqual(self.line.context.budget.used, 0)

    def test_what_is_wrong_with_the_body_is_the_handlers_to_answer(self) -> None:
        head = post(b"", b"Transfer-Encoding: chunked", b"Expect: 100-continue")
        self.line.send(head)
        self.judge.read()
        self.line.send(b"zz\r\n")
        self.assertEqual(self.judge.bodies[0].value.status, 400)  # type: ignore[attr-defined]
        self.assertEqual(self.judge.refused, [])
        self.judge.answers[0].callback(Response(400))
        self.assertEqual(self.line.statuses(), [400])


class ContinueTests(SynchronousTestCase):
    """RFC 9110 §10.1.1: the head is judged before the client is told to continue."""

    def setUp(self) -> None:
        self.judge = Judge()
        self.line = Line(self.judge, limits=HELD)
        self.line.send(post(b"", b"Content-Length: 5", b"Expect: 100-continue"))

    def test_is_said_when_the_body_is_wanted(self) -> None:
        self.assertEqual((len(self.judge.heads), bytes(self.line.transport.written)), (1, b""))
        self.judge.read()
        self.assertEqual(bytes(self.line.transport.written), CONTINUE)
        self.line.send(b"hello")
        self.assertEqual(self.judge.bodies, [b"hello"])

    def test_is_not_said_to_whom_is_refused(self) -> None:
        self.judge.refuse_now()
        self.assertNotIn(CONTINUE, bytes(self.line.transport.written))
        self.assertEqual(self.line.statuses(), [401])

    def test_is_not_said_when_the_client_did_not_wait_for_it(self) -> None:
        self.line.send(b"he")
        self.judge.read()
        self.assertEqual(bytes(self.line.transport.written), b"")
