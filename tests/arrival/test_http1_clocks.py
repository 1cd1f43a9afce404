"""One connection over time: time limits, back-pressure, the end of the process."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.budget import BodyBudget
from hospproxy.arrival.drain import FIRST_REQUEST_S, SWEEP_S
from hospproxy.arrival.factory import Http1Factory
from hospproxy.arrival.limits import MAX_PIPELINED_BYTES
from hospproxy.arrival.plain import PlainHttpMode, PlainPolicy
from hospproxy.http.messages import Response
from tests.arrival.memory_transport import Line, Recorder, Slow
from tests.corpus import LIMITS
from tests.corpus.case import chunked, get, post

CLOSE = b"Connection: close"


class ClockTests(SynchronousTestCase):
    def test_a_head_that_drips(self) -> None:
        """The limit is absolute: single bytes do not extend it."""
        line = Line()
        for _ in range(int(LIMITS.header_timeout_s) + 1):
            line.send(b"A")
            line.pass_time(1)
        self.assertEqual(line.statuses(), [408])
        line.pass_time(LIMITS.linger_s)
        self.assertTrue(line.gone)

    def test_a_head_in_time(self) -> None:
        line = Line()
        line.send(b"GET / HT")
        line.pass_time(LIMITS.header_timeout_s - 1)
        line.send(b"TP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(line.statuses(), [200])

    def test_a_body_that_drips(self) -> None:
        line = Line()
        line.send(post(b"", b"Content-Length: 1000"))
        for _ in range(int(LIMITS.body_timeout_s) + 1):
            line.send(b"A")
            line.pass_time(1)
        self.assertEqual(line.statuses(), [408])
        (refused, _) = line.handler.refused[0]
        self.assertEqual((refused.method, refused.path), ("POST", b"/"))

    def test_silence_is_closed_without_an_answer(self) -> None:
        line = Line()
        line.pass_time(LIMITS.header_timeout_s - 0.5)
        self.assertFalse(line.gone)
        line.pass_time(1)
        self.assertTrue(line.gone)
        self.assertEqual((line.transport.written, line.handler.refused), (b"", []))

    def test_keep_alive(self) -> None:
        line = Line()
        line.send(get())
        line.pass_time(LIMITS.keep_alive_s - 1)
        self.assertFalse(line.gone)
        line.send(get())
        line.pass_time(LIMITS.keep_alive_s - 1)
        self.assertEqual((line.statuses(), line.gone), ([200, 200], False))
        line.pass_time(2)
        self.assertTrue(line.gone)

    def test_no_clock_while_the_handler_works(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get())
        line.pass_time(1000, step_s=10)
        slow.release()
        self.assertEqual(line.statuses(), [200])

    def test_linger(self) -> None:
        """After the last response the client's bytes are read for a while; then the connection closes."""
        line = Line()
        line.send(get(b"/", CLOSE))
        self.assertTrue(line.transport.half_closed)
        line.send(b"x" * 1000)
        line.pass_time(LIMITS.linger_s - 0.5)
        self.assertFalse(line.gone)
        line.pass_time(1)
        self.assertIs(line.transport.gone, ConnectionDone)

    def test_linger_over_tls(self) -> None:
        line = Line(plain=None)
        line.send(get(b"/", CLOSE))
        self.assertTrue(line.transport.closing)
        line.pass_time(LIMITS.linger_s - 0.5)
        self.assertFalse(line.gone)
        line.pass_time(1)
        self.assertIs(line.transport.gone, ConnectionDone)


class BackPressureTests(SynchronousTestCase):
    def test_a_slow_reader_is_cut_off(self) -> None:
        for plain in (None, PlainPolicy(PlainHttpMode.SERVE)):
            line = Line(Recorder(answer=lambda _: Response(200, body=b"x" * 1000)), room=100, plain=plain)
            line.send(get())
            for _ in range(int(LIMITS.write_timeout_s)):
                line.transport.drain(1)
                line.pass_time(1)
            line.pass_time(1)
            self.assertIs(line.transport.gone, ConnectionAborted)

    def test_the_next_request_waits(self) -> None:
        line = Line(Recorder(answer=lambda _: Response(200, body=b"x" * 1000)), room=100)
        line.send(get(b"/1") + get(b"/2"))
        self.assertEqual(len(line.handler.handled), 1)
        line.transport.drain(2000)
        self.assertEqual(len(line.handler.handled), 2)

    def test_close_waits_until_all_is_taken(self) -> None:
        line = Line(Recorder(answer=lambda _: Response(200, body=b"x" * 1000)), room=100)
        line.send(get(b"/", CLOSE))
        self.assertFalse(line.transport.half_closed)
        line.transport.drain(2000)
        self.assertTrue(line.transport.half_closed)
        self.assertEqual(len(line.answers()[0].body), 1000)

    def test_what_waits_is_counted(self) -> None:
        budget = BodyBudget(1500)
        context = Line(Recorder(answer=lambda _: Response(200, body=b"x" * 2000)), budget=budget).context
        first, second = (
            Line(context=context, room=100),
            Line(context=context),
        )
        first.send(get(b"/1"))
        self.assertGreaterEqual(budget.used, 2000)
        second.send(get(b"/2"))
        self.assertTrue(second.transport.written.startswith(b"HTTP/1.1 503"))
        first.transport.end(ConnectionDone)
        self.assertEqual(budget.used, 0)

    def test_reading_ahead_is_bounded(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get(b"/1"), b"x" * (MAX_PIPELINED_BYTES - 10))
        self.assertTrue(line.transport.reading)
        line.send(b"x" * 11)
        self.assertFalse(line.transport.reading)
        slow.release()
        self.assertTrue(line.transport.reading)

    def test_reading_resumes_after_a_refusal(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get(b"/1"), b"\x00" * (MAX_PIPELINED_BYTES + 1))
        slow.release()
        self.assertEqual(line.statuses(), [200, 400])
        self.assertTrue(line.transport.reading, "the client's close would never be seen")

    def test_bodies_share_one_budget(self) -> None:
        slow = Slow()
        context = Line(Recorder(answer=slow), budget=BodyBudget(100)).context
        first, second, third = (
            Line(context=context),
            Line(context=context),
            Line(context=context),
        )
        first.send(post(b"x" * 60, b"Content-Length: 60"))
        second.send(post(b"x" * 60, b"Content-Length: 60"))
        self.assertTrue(second.transport.written.startswith(b"HTTP/1.1 503"))
        slow.release()
        third.send(post(b"x" * 60, b"Content-Length: 60"))
        self.assertEqual(len(slow.waiting), 1)

    def test_an_announced_body_is_not_counted_until_it_comes(self) -> None:
        line = Line(budget=BodyBudget(100))
        line.send(post(b"x", b"Content-Length: 1000"))
        self.assertEqual(line.context.budget.used, 1)
        line.transport.end(ConnectionDone)
        self.assertEqual(line.context.budget.used, 0)

    def test_chunks_are_counted_too(self) -> None:
        line = Line(budget=BodyBudget(10))
        line.send(chunked(b"5\r\nhello\r\n6\r\nhello!\r\n0\r\n\r\n"))
        self.assertEqual(line.statuses(), [503])


class DrainTests(SynchronousTestCase):
    def drain(self, line: Line, deadline_s: float = 30) -> list[None]:
        done: list[None] = []
        line.context.connections.drain(deadline_s).addCallback(done.append)
        return done

    def test_none_open(self) -> None:
        line = Line()
        line.transport.end(ConnectionDone)
        self.assertEqual(self.drain(line), [None])
        self.assertEqual(line.clock.getDelayedCalls(), [])

    def test_idle_ones_close_at_once(self) -> None:
        for plain in (None, PlainPolicy(PlainHttpMode.SERVE)):
            line = Line(plain=plain)
            line.send(get())
            self.assertEqual(self.drain(line), [None])
            self.assertEqual(line.clock.getDelayedCalls(), [])

    def test_a_first_request_on_its_way_is_answered(self) -> None:
        """The client has connected, and its request is under way: a closed port would cost it this request."""
        for plain in (None, PlainPolicy(PlainHttpMode.SERVE)):
            line = Line(plain=plain)
            done = self.drain(line)
            line.pass_time(FIRST_REQUEST_S - SWEEP_S)
            line.send(get(), get(b"/second"))
            (answer,) = line.answers()
            self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
            line.pass_time(3)
            self.assertEqual((done, line.clock.getDelayedCalls()), ([None], []))

    def test_the_grace_for_a_first_request_is_short(self) -> None:
        for plain in (None, PlainPolicy(PlainHttpMode.SERVE)):
            for began in (b"", b"\r\n"):
                line = Line(plain=plain)
                line.send(began)
                done = self.drain(line)
                line.pass_time(FIRST_REQUEST_S - SWEEP_S)
                self.assertEqual((line.gone, done), (False, []))
                line.pass_time(SWEEP_S)
                self.assertEqual((line.transport.gone, done), (ConnectionDone, [None]))
                self.assertEqual((line.transport.written, line.clock.getDelayedCalls()), (b"", []))

    def test_a_first_request_that_began_in_the_grace_is_waited_for(self) -> None:
        line = Line()
        self.drain(line)
        line.send(b"GET / HTTP/1.1\r\n")
        line.pass_time(FIRST_REQUEST_S + 1)
        line.send(b"Host: a\r\n\r\n")
        self.assertEqual(line.statuses(), [200])

    def test_the_grace_is_within_the_deadline(self) -> None:
        line = Line()
        done = self.drain(line, FIRST_REQUEST_S / 2)
        line.pass_time(FIRST_REQUEST_S / 2)
        self.assertEqual((line.gone, done, line.clock.getDelayedCalls()), (True, [None], []))

    def test_answers_are_finished(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get())
        done = self.drain(line)
        self.assertEqual(done, [])
        slow.release()
        (answer,) = line.answers()
        self.assertEqual(answer.headers["connection"], "close")
        line.pass_time(3)
        self.assertEqual((done, line.clock.getDelayedCalls()), ([None], []))

    def test_a_request_on_its_way_in_is_answered(self) -> None:
        line = Line()
        line.send(post(b"hel", b"Content-Length: 5"))
        self.drain(line)
        line.send(b"lo")
        self.assertEqual(line.statuses(), [200])
        self.assertTrue(line.transport.half_closed)

    def test_deadline(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get())
        done = self.drain(line, 5)
        line.clock.advance(5)
        self.assertIs(line.transport.gone, ConnectionAborted)
        self.assertEqual((done, slow.cancelled), ([None], 1))

    def test_a_slow_reader_is_waited_for(self) -> None:
        line = Line(Recorder(answer=lambda _: Response(200, body=b"x" * 1000)), room=100)
        line.send(get())
        done = self.drain(line)
        line.transport.drain(2000)
        self.assertEqual(done, [None])
        self.assertEqual(len(line.answers()[0].body), 1000)

    def test_nobody_new(self) -> None:
        line = Line()
        self.drain(line)
        self.assertIsNone(Http1Factory(line.context).buildProtocol(None))
