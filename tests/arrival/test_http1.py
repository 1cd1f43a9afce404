"""One connection: order, clocks, back-pressure, refusals and the end."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.authority import PublicHosts
from hospproxy.arrival.budget import BodyBudget
from hospproxy.arrival.http1 import Http1Factory
from hospproxy.arrival.plain import Plain, PlainPolicy
from hospproxy.arrival.trust import Trust
from hospproxy.errors import RecordFailed
from hospproxy.messages import Headers, Request, Response
from tests.arrival.wire import Line, Recorder
from tests.corpus import LIMITS
from tests.corpus.case import BODY_LIMIT, chunked, get, post, raw, request

CLOSE = b"Connection: close"


class Slow:
    """A handler whose answers wait until they are released."""

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


class OrderTests(SynchronousTestCase):
    def test_one_request_at_a_time(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get(b"/1") + get(b"/2"))
        self.assertEqual(len(slow.waiting), 1)
        slow.release(b"first")
        self.assertEqual([each.path for each in line.handler.handled], [b"/1", b"/2"])
        slow.release(b"second")
        self.assertEqual([answer.body for answer in line.answers()], [b"first", b"second"])
        self.assertFalse(line.gone)

    def test_a_bad_second_request_waits_for_the_first_answer(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get(b"/1") + raw(b"GET /2 HTTP/1.1"))
        self.assertEqual(line.handler.refused, [])
        slow.release()
        self.assertEqual(line.statuses(), [200, 400])

    def test_many_at_once_do_not_recurse(self) -> None:
        line = Line()
        line.send(b"".join(get(b"/%d" % number) for number in range(3000)))
        self.assertEqual(len(line.answers()), 3000)

    def test_nothing_is_read_after_close(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get(b"/1", CLOSE) + b"x" * 50_000)
        line.send(b"x" * 100_000)
        self.assertEqual(len(line.protocol._buffer), 0)
        slow.release()
        line.send(get(b"/2"))
        self.assertEqual([each.path for each in line.handler.handled], [b"/1"])

    def test_what_the_handler_is_told(self) -> None:
        line = Line(plain=None, trust=Trust.of(["192.0.2.0/24"]))
        line.send(
            get(b"/a?b", b"X-Forwarded-For: 198.51.100.1", b"X-Forwarded-Proto: http", b"X-Request-Id: abc")
        )
        (told,) = line.handler.handled
        self.assertEqual((told.method, told.path, told.query, told.version), ("GET", b"/a", b"b", (1, 1)))
        client = told.client
        self.assertEqual(
            (client.peer, client.address, client.chain, client.scheme, client.host, client.request_id),
            ("192.0.2.7", "198.51.100.1", ("192.0.2.7",), "http", "a", "abc"),
        )

    def test_a_stranger_gets_an_id_of_ours(self) -> None:
        line = Line()
        line.send(get(b"/", b"X-Request-Id: abc") + get())
        self.assertEqual([each.client.request_id for each in line.handler.handled], ["id-1", "id-2"])


class ContinueTests(SynchronousTestCase):
    CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

    def sent(self, *pieces: bytes) -> bytes:
        line = Line()
        line.send(*pieces)
        return bytes(line.transport.written)

    def test_when_the_body_is_not_there(self) -> None:
        head = post(b"", b"Content-Length: 5", b"Expect: 100-continue")
        self.assertEqual(self.sent(head), self.CONTINUE)
        self.assertEqual(self.sent(head, b"hello").count(self.CONTINUE), 1)

    def test_not_when_it_is(self) -> None:
        self.assertNotIn(self.CONTINUE, self.sent(post(b"h", b"Content-Length: 5", b"Expect: 100-continue")))

    def test_not_for_http_1_0(self) -> None:
        self.assertEqual(
            self.sent(post(b"", b"Content-Length: 5", b"Expect: 100-continue", version=b"1.0")), b""
        )

    def test_not_before_a_refusal(self) -> None:
        length = b"Content-Length: %d" % (BODY_LIMIT + 1)
        self.assertTrue(self.sent(post(b"", length, b"Expect: 100-continue")).startswith(b"HTTP/1.1 413"))

    def test_is_no_answer(self) -> None:
        line = Line()
        line.send(post(b"", b"Content-Length: 5", b"Expect: 100-continue"))
        self.assertEqual((line.handler.handled, line.handler.refused), ([], []))


class ClockTests(SynchronousTestCase):
    def test_a_head_that_drips(self) -> None:
        """The clock is absolute: a byte now and then does not wind it up."""
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
        """After the last answer the client's side is read for a while, then all is closed."""
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
        for plain in (None, PlainPolicy(Plain.SERVE)):
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
        house = Line(Recorder(answer=lambda _: Response(200, body=b"x" * 2000)), budget=budget).house
        first, second = Line(house=house, room=100), Line(house=house)
        first.send(get(b"/1"))
        self.assertGreaterEqual(budget.used, 2000)
        second.send(get(b"/2"))
        self.assertTrue(second.transport.written.startswith(b"HTTP/1.1 503"))
        first.transport.end(ConnectionDone)
        self.assertEqual(budget.used, 0)

    def test_reading_ahead_is_bounded(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get(b"/1"), b"x" * (LIMITS.max_pipelined_bytes - 10))
        self.assertTrue(line.transport.reading)
        line.send(b"x" * 11)
        self.assertFalse(line.transport.reading)
        slow.release()
        self.assertTrue(line.transport.reading)

    def test_reading_resumes_after_a_refusal(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get(b"/1"), b"\x00" * (LIMITS.max_pipelined_bytes + 1))
        slow.release()
        self.assertEqual(line.statuses(), [200, 400])
        self.assertTrue(line.transport.reading, "the client's close would never be seen")

    def test_bodies_share_one_budget(self) -> None:
        slow = Slow()
        house = Line(Recorder(answer=slow), budget=BodyBudget(100)).house
        first, second, third = Line(house=house), Line(house=house), Line(house=house)
        first.send(post(b"x" * 60, b"Content-Length: 60"))
        second.send(post(b"x" * 60, b"Content-Length: 60"))
        self.assertTrue(second.transport.written.startswith(b"HTTP/1.1 503"))
        slow.release()
        third.send(post(b"x" * 60, b"Content-Length: 60"))
        self.assertEqual(len(slow.waiting), 1)

    def test_an_announced_body_is_not_counted_until_it_comes(self) -> None:
        line = Line(budget=BodyBudget(100))
        line.send(post(b"x", b"Content-Length: 1000"))
        self.assertEqual(line.house.budget.used, 1)
        line.transport.end(ConnectionDone)
        self.assertEqual(line.house.budget.used, 0)

    def test_chunks_are_counted_too(self) -> None:
        line = Line(budget=BodyBudget(10))
        line.send(chunked(b"5\r\nhello\r\n6\r\nhello!\r\n0\r\n\r\n"))
        self.assertEqual(line.statuses(), [503])


class AdmissionTests(SynchronousTestCase):
    def refusal(
        self, data: bytes, plain: PlainPolicy | None = None, **shared: object
    ) -> tuple[int, str] | None:
        line = Line(plain=plain, **shared)
        line.send(data)
        if not line.handler.refused:
            return None
        ((request, error),) = line.handler.refused
        return error.status, request.method

    def test_public_hosts(self) -> None:
        hosts = PublicHosts.of(["a"])
        self.assertIsNone(self.refusal(get(host=b"A:8443"), public_hosts=hosts))
        self.assertEqual(self.refusal(get(host=b"b"), public_hosts=hosts), (421, "GET"))
        self.assertEqual(self.refusal(raw(b"GET / HTTP/1.0"), public_hosts=hosts), (421, "GET"))

    def test_https_by_name_only(self) -> None:
        """RFC 9110 §7.4."""
        self.assertIsNone(self.refusal(get(b"https://a/")))
        self.assertEqual(self.refusal(get(b"https://a/"), PlainPolicy(Plain.SERVE)), (421, "GET"))

    def test_the_plain_port(self) -> None:
        body = post(b"secret", b"Content-Length: 6")
        self.assertEqual(self.refusal(body, PlainPolicy()), (403, "POST"))
        self.assertEqual(self.refusal(get(), PlainPolicy(Plain.REDIRECT)), (308, "GET"))
        self.assertEqual(self.refusal(body, PlainPolicy(Plain.REDIRECT)), (403, "POST"))

    def test_redirection(self) -> None:
        line = Line(plain=PlainPolicy(Plain.REDIRECT, 8443))
        line.send(request(b"HEAD", b"/x?y"))
        (answer,) = line.answers()
        self.assertEqual((answer.status, answer.headers["location"]), (308, "https://a:8443/x?y"))

    def test_too_many_connections(self) -> None:
        house = Line(limits=evolve(LIMITS, max_connections=2)).house
        Line(house=house)
        self.assertIsNone(Http1Factory(house).buildProtocol(None))


class FailureTests(SynchronousTestCase):
    def test_no_record_no_answer(self) -> None:
        for made in (lambda _: fail(RecordFailed()), self.raise_it):
            line = Line(Recorder(answer=made))
            line.send(get(b"/1") + get(b"/2"))
            self.assertIs(line.transport.gone, ConnectionAborted)
            self.assertEqual(line.transport.written, b"")
            self.assertEqual(len(line.handler.handled), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def raise_it(self, _: Request) -> Response:
        raise RecordFailed

    def test_a_fault_of_ours_is_logged_once(self) -> None:
        line = Line(Recorder(answer=lambda _: fail(ZeroDivisionError())))
        line.send(get())
        self.assertIs(line.transport.gone, ConnectionAborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_answer_that_cannot_be_written(self) -> None:
        bad = Response(200, Headers(((b"x", b"a\r\nSet-Cookie: b=c"),)))
        line = Line(Recorder(answer=lambda _: bad))
        line.send(get() + get())
        self.assertEqual(line.statuses(), [500, 500])
        self.assertNotIn(b"Set-Cookie", line.transport.written)
        self.assertEqual(line.house.unwritable_answers, 2)

    def test_the_client_goes(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(post(b"hello", b"Content-Length: 5"))
        self.assertEqual(line.house.budget.used, 5)
        line.transport.end(ConnectionDone)
        self.assertEqual((slow.cancelled, line.house.budget.used, len(line.house.connections)), (1, 0, 0))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_an_answer_for_a_client_that_went(self) -> None:
        """A write is not cancelled: its answer comes when nobody is there any more."""
        kept: Deferred[Response] = Deferred(lambda _: kept.callback(Response(200)))
        line = Line(Recorder(answer=lambda _: kept))
        line.send(get())
        line.transport.end(ConnectionDone)
        self.assertEqual(line.transport.written, b"")

    def test_a_refusal_is_recorded_though_the_client_goes(self) -> None:
        line = Line(Recorder(delay_s=1))
        line.send(raw(b"GET / HTTP/1.1"))
        line.transport.end(ConnectionDone)
        self.assertEqual(len(line.clock.getDelayedCalls()), 1)
        line.clock.advance(2)
        self.assertEqual(line.transport.written, b"")


class HalfCloseTests(SynchronousTestCase):
    def test_what_was_asked_is_answered(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(get(b"/1") + get(b"/2"))
        line.protocol.readConnectionLost()
        slow.release()
        slow.release()
        first, second = line.answers()
        self.assertNotIn("connection", first.headers)
        self.assertEqual(second.headers["connection"], "close")
        self.assertTrue(line.gone)

    def test_idle(self) -> None:
        line = Line()
        line.send(get())
        line.protocol.readConnectionLost()
        self.assertTrue(line.gone)

    def test_a_request_cut_short(self) -> None:
        for data in (b"GET / HTTP/1.1\r\nHo", post(b"hel", b"Content-Length: 5"), chunked(b"5\r\nhello\r\n")):
            line = Line()
            line.send(data)
            line.protocol.readConnectionLost()
            self.assertEqual(line.statuses(), [400])
            self.assertTrue(line.gone)

    def test_after_our_own_close(self) -> None:
        line = Line()
        line.send(get(b"/", CLOSE))
        line.protocol.readConnectionLost()
        self.assertIs(line.transport.gone, ConnectionDone)


class DrainTests(SynchronousTestCase):
    def drain(self, line: Line, deadline_s: float = 30) -> list[None]:
        done: list[None] = []
        line.house.connections.drain(deadline_s).addCallback(done.append)
        return done

    def test_none_open(self) -> None:
        line = Line()
        line.transport.end(ConnectionDone)
        self.assertEqual(self.drain(line), [None])
        self.assertEqual(line.clock.getDelayedCalls(), [])

    def test_idle_ones_close_at_once(self) -> None:
        for plain in (None, PlainPolicy(Plain.SERVE)):
            line = Line(plain=plain)
            line.send(get())
            self.assertEqual(self.drain(line), [None])
            self.assertEqual(line.clock.getDelayedCalls(), [])

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
        self.assertIsNone(Http1Factory(line.house).buildProtocol(None))
