"""One connection: order, admission, rejections, failures."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.authority import PublicHosts
from hospproxy.arrival.factory import Http1Factory
from hospproxy.arrival.front.trust import TrustedProxies
from hospproxy.arrival.plain import PlainHttpMode, PlainPolicy
from hospproxy.http.errors import RecordFailed
from hospproxy.http.messages import Headers, Request, Response
from tests.arrival.memory_transport import Line, Recorder, Slow
from tests.corpus import LIMITS
from tests.corpus.case import BODY_LIMIT, chunked, get, post, raw, request

CLOSE = b"Connection: close"


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
        line = Line(limits=evolve(LIMITS, max_pipelined=3000))
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
        line = Line(plain=None, trust=TrustedProxies.of(["192.0.2.0/24"]))
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

    def test_the_hops_that_a_request_came_by(self) -> None:
        line = Line()
        line.send(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred\r\nVia: 1.1 jane\r\nConnection: via\r\n\r\n")
        self.assertEqual(line.handler.handled[0].client.via, "1.0 fred, 1.1 jane, 1.1")

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
        self.assertEqual(self.refusal(get(b"https://a/"), PlainPolicy(PlainHttpMode.SERVE)), (421, "GET"))

    def test_the_plain_port(self) -> None:
        body = post(b"secret", b"Content-Length: 6")
        self.assertEqual(self.refusal(body, PlainPolicy()), (403, "POST"))
        self.assertEqual(self.refusal(get(), PlainPolicy(PlainHttpMode.REDIRECT)), (308, "GET"))
        self.assertEqual(self.refusal(body, PlainPolicy(PlainHttpMode.REDIRECT)), (403, "POST"))

    def test_redirection(self) -> None:
        line = Line(plain=PlainPolicy(PlainHttpMode.REDIRECT, 8443))
        line.send(request(b"HEAD", b"/x?y"))
        (answer,) = line.answers()
        self.assertEqual((answer.status, answer.headers["location"]), (308, "https://a:8443/x?y"))

    def test_too_many_connections(self) -> None:
        context = Line(limits=evolve(LIMITS, max_connections=2)).context
        Line(context=context)
        self.assertIsNone(Http1Factory(context).buildProtocol(None))


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
        self.assertEqual(line.context.tally.unwritable, 2)

    def test_an_answer_that_cannot_be_written_has_reached_nobody(self) -> None:
        told: list[bool] = []
        bad = Response(201, Headers(((b"x", b"a\r\nb"),)), handed_over=told.append)
        Line(Recorder(answer=lambda _: bad)).send(get())
        self.assertEqual(told, [False])

    def test_the_client_goes(self) -> None:
        slow = Slow()
        line = Line(Recorder(answer=slow))
        line.send(post(b"hello", b"Content-Length: 5"))
        self.assertEqual(line.context.budget.used, 5)
        line.transport.end(ConnectionDone)
        self.assertEqual(
            (slow.cancelled, line.context.budget.used, len(line.context.connections)),
            (1, 0, 0),
        )
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_an_answer_for_a_client_that_went(self) -> None:
        """A write is not cancelled: its response comes after the client has left."""
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


class DeliveryTests(SynchronousTestCase):
    """The handler that made a response is told whether its client has received it."""

    def line(self, told: list[bool], **options: object) -> Line:
        response = Response(201, Headers(), b"stored", handed_over=told.append)
        return Line(Recorder(answer=lambda _request: response), **options)  # type: ignore[arg-type]

    def test_an_answer_that_went_out(self) -> None:
        for fields in ((), (CLOSE,)):
            told: list[bool] = []
            line = self.line(told)
            line.send(get(b"/1", *fields))
            line.pass_time(1)
            self.assertEqual(told, [True])

    def test_an_answer_that_nobody_takes(self) -> None:
        told: list[bool] = []
        line = self.line(told, room=10)
        line.send(get(b"/1"))
        line.pass_time(1)
        self.assertEqual(told, [])
        line.transport.abortConnection()
        self.assertEqual(told, [False])


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
