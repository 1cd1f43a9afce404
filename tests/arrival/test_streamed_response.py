"""Responses sent in pieces: order, back-pressure, and what a client notices when it is cut off."""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator, Callable
from typing import Any

from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.limits import MAX_PIPELINED_BYTES
from hospproxy.arrival.plain import PlainHttpMode, PlainPolicy
from hospproxy.http.messages import Headers, Request, Response
from tests.arrival.memory_transport import Line, Recorder, read_answers
from tests.corpus import LIMITS
from tests.corpus.case import get, request

CLOSE = b"Connection: close"
OLD = b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n"
END = b"0\r\n\r\n"
POLICIES = (None, PlainPolicy(PlainHttpMode.SERVE))


class Source:
    """Content on request, which notes what happens to it.

    :param pieces: bytes, or a Deferred of some, or an error to raise.
    """

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.asked = 0
        self.closed = 0
        self.told: list[bool] = []

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                self.asked += 1
                if isinstance(piece, Exception):
                    raise piece
                yield await piece if isinstance(piece, Deferred) else piece
        finally:
            self.closed += 1

    def answer(self, _request: Request | None = None) -> Response:
        return Response(200, body=b"not this", chunks=self.chunks(), handed_over=self.told.append)


def line(source: Source, **options: Any) -> Line:
    return Line(Recorder(answer=source.answer), **options)


def first_then(source: Source) -> Callable[[Request], Response]:
    """The source for the path /1, a short response for others."""
    return lambda request: source.answer() if request.path == b"/1" else Response(200, body=b"second")


class ContentTests(SynchronousTestCase):
    def test_in_chunks(self) -> None:
        source = Source(b"hello ", b"world")
        there = line(source)
        there.send(get())
        head, _, content = bytes(there.transport.written).partition(b"\r\n\r\n")
        self.assertIn(b"transfer-encoding: chunked", head)
        self.assertNotIn(b"content-length", head)
        self.assertEqual(content, b"6\r\nhello \r\n5\r\nworld\r\n" + END)
        self.assertEqual(source.closed, 1)
        there.pass_time(1)
        self.assertEqual((source.told, there.gone), ([True], False))

    def test_an_empty_piece_is_not_the_end(self) -> None:
        there = line(Source(b"a", b"", b"b"))
        there.send(get())
        self.assertEqual([answer.body for answer in there.answers()], [b"ab"])

    def test_nothing_at_all(self) -> None:
        there = line(Source())
        there.send(get())
        self.assertTrue(there.transport.written.endswith(b"\r\n\r\n" + END))

    def test_http_1_0_ends_with_the_connection(self) -> None:
        for policy in POLICIES:
            there = line(Source(b"hello ", b"world"), plain=policy)
            there.send(OLD)
            head, _, content = bytes(there.transport.written).partition(b"\r\n\r\n")
            self.assertNotIn(b"transfer-encoding", head)
            self.assertIn(b"connection: close", head)
            self.assertEqual(content, b"hello world")
            self.assertTrue(there.transport.closing or there.transport.half_closed)

    def test_head_has_no_content_and_closes_the_source(self) -> None:
        source = Source(b"hello")
        there = line(source)
        there.send(request(b"HEAD", b"/"))
        self.assertTrue(there.transport.written.endswith(b"\r\n\r\n"))
        self.assertIn(b"transfer-encoding: chunked", there.transport.written)
        self.assertEqual(source.asked, 0)
        there.pass_time(1)
        self.assertEqual((source.told, there.gone), ([True], False))

    def test_no_content_where_the_status_has_none(self) -> None:
        source = Source(b"hello")
        there = Line(Recorder(answer=lambda _: evolve(source.answer(), status=204)))
        there.send(get())
        self.assertNotIn(b"transfer-encoding", there.transport.written)
        self.assertEqual(source.asked, 0)

    def test_what_cannot_be_written_is_a_500(self) -> None:
        source = Source(b"hello")
        bad = Headers(((b"x", b"a\nb"),))
        there = Line(Recorder(answer=lambda _: evolve(source.answer(), headers=bad)))
        there.send(get() + get())
        self.assertEqual(there.statuses(), [500, 500])
        self.assertEqual(source.asked, 0)

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 40))
    def test_however_slowly_it_is_taken(self, pieces: list[bytes], step: int) -> None:
        there = line(Source(*pieces), room=1)
        there.send(get(b"/1") + get(b"/2"))
        for _ in range(3000):
            there.transport.drain(step)
        answers = read_answers(bytes(there.transport.written), ["GET"])
        self.assertEqual([answer.body for answer in answers], [b"".join(pieces)] * 2)


class PressureTests(SynchronousTestCase):
    def test_one_piece_in_hand(self) -> None:
        source = Source(*[b"x" * 100] * 50)
        there = line(source, room=150)
        there.send(get())
        asked = source.asked
        self.assertLess(asked, 3)
        there.transport.drain(100)
        self.assertLessEqual(source.asked, asked + 1)
        there.transport.drain(10_000)
        self.assertEqual(source.closed, 1)
        self.assertEqual(there.context.budget.used, 0)

    def test_what_waits_is_counted(self) -> None:
        there = line(Source(b"x" * 5000), room=300)
        there.send(get())
        self.assertGreaterEqual(there.context.budget.used, 5000)
        there.transport.end(ConnectionDone)
        self.assertEqual(there.context.budget.used, 0)

    def test_progress_winds_the_clock_up(self) -> None:
        for policy in POLICIES:
            source = Source(*[b"x" * 100] * 20)
            there = line(source, plain=policy, room=200)
            there.send(get())
            for _ in range(40):
                if source.closed or there.gone:
                    break
                there.pass_time(LIMITS.write_timeout_s - 1)
                there.transport.drain(150)
            self.assertEqual((there.gone, source.closed), (False, 1))

    def test_no_progress_is_cut_off(self) -> None:
        for policy in POLICIES:
            source = Source(*[b"x" * 1000] * 20)
            there = line(source, plain=policy, room=500)
            there.send(get())
            there.pass_time(LIMITS.write_timeout_s + 1)
            self.assertIs(there.transport.gone, ConnectionAborted)
            self.assertEqual((source.closed, source.told), (1, [False]))
            self.assertNotIn(END, there.transport.written)

    def test_the_next_request_waits(self) -> None:
        late: Deferred[bytes] = Deferred()
        there = Line(Recorder(answer=first_then(Source(b"a", late, b"c"))))
        there.send(get(b"/1") + get(b"/2"))
        self.assertEqual(len(there.handler.handled), 1)
        late.callback(b"b")
        self.assertEqual([answer.body for answer in there.answers()], [b"abc", b"second"])

    def test_reading_ahead_is_bounded(self) -> None:
        late: Deferred[bytes] = Deferred()
        there = line(Source(late))
        there.send(get(b"/1"), b"x" * (MAX_PIPELINED_BYTES + 1))
        self.assertFalse(there.transport.reading)
        late.callback(b"b")
        self.assertTrue(there.transport.reading)


class CutTests(SynchronousTestCase):
    def test_the_client_goes_while_a_piece_is_made(self) -> None:
        cancelled: list[bool] = []
        late: Deferred[bytes] = Deferred(lambda _: cancelled.append(True))
        source = Source(b"a", late)
        there = line(source)
        there.send(get())
        there.transport.end(ConnectionDone)
        self.assertEqual((cancelled, source.closed, source.told), ([True], 1, [False]))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_client_goes_while_it_is_waited_for(self) -> None:
        source = Source(b"x" * 1000, b"more")
        there = line(source, room=300)
        there.send(get())
        there.transport.end(ConnectionDone)
        self.assertEqual((source.asked, source.closed, source.told), (1, 1, [False]))

    def test_the_client_goes_before_the_answer_is_there(self) -> None:
        source = Source(b"a")
        kept: Deferred[Response] = Deferred(lambda _: kept.callback(source.answer()))
        there = Line(Recorder(answer=lambda _: kept))
        there.send(get())
        there.transport.end(ConnectionDone)
        self.assertEqual(source.asked, 0)

    def test_a_failure_midway_is_no_end(self) -> None:
        for policy in POLICIES:
            for data in (get(), get(b"/", CLOSE), OLD):
                source = Source(b"a", ZeroDivisionError())
                there = line(source, plain=policy)
                there.send(data)
                self.assertIs(there.transport.gone, ConnectionAborted)
                self.assertFalse(there.transport.half_closed or there.transport.closing)
                self.assertFalse(there.transport.written.endswith(END))
                self.assertEqual((source.closed, source.told), (1, [False]))
                self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_parser_of_others_sees_that_it_is_cut_off(self) -> None:
        there = line(Source(b"a", ZeroDivisionError()))
        there.send(get())
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertRaises(http.client.IncompleteRead, there.answers)

    def test_an_iterator_that_cannot_be_closed_is_let_go(self) -> None:
        class Bare:
            def __aiter__(self) -> Bare:
                return self

            def __anext__(self) -> Deferred[bytes]:
                return succeed(b"a") if there.transport.written.count(b"a\r\n") < 2 else Deferred()

        there = Line(Recorder(answer=lambda _: Response(200, chunks=Bare())))  # type: ignore[arg-type]
        there.send(get())
        there.transport.end(ConnectionDone)
        self.assertEqual(self.flushLoggedErrors(), [])


class EndTests(SynchronousTestCase):
    def test_draining_waits_for_it(self) -> None:
        late: Deferred[bytes] = Deferred()
        source = Source(b"a", late)
        there = line(source)
        there.send(get())
        done: list[None] = []
        there.context.connections.drain(30).addCallback(done.append)
        self.assertEqual(done, [])
        late.callback(b"b")
        self.assertEqual([answer.body for answer in there.answers()], [b"ab"])
        self.assertTrue(there.transport.half_closed)
        there.pass_time(LIMITS.linger_s + 1)
        self.assertEqual((done, source.told), ([None], [True]))

    def test_the_deadline_of_draining_cuts_it_off(self) -> None:
        source = Source(b"a", Deferred())
        there = line(source)
        there.send(get())
        there.context.connections.drain(5)
        there.clock.advance(5)
        self.assertIs(there.transport.gone, ConnectionAborted)
        self.assertEqual((source.closed, source.told), (1, [False]))

    def test_closing_waits_until_all_is_taken(self) -> None:
        there = line(Source(b"x" * 1000), room=500)
        there.send(get(b"/", CLOSE))
        self.assertFalse(there.transport.half_closed)
        there.transport.drain(5000)
        self.assertTrue(there.transport.half_closed)
        self.assertEqual(len(there.answers()[0].body), 1000)

    def test_a_client_that_has_closed_its_side_still_gets_it(self) -> None:
        late: Deferred[bytes] = Deferred()
        there = line(Source(b"a", late))
        there.send(get())
        there.protocol.readConnectionLost()
        late.callback(b"b")
        self.assertEqual([answer.body for answer in there.answers()], [b"ab"])
        self.assertTrue(there.gone)
