from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.errors import BadAnswer, FailedAfterSending, NotSent, ProxyError
from hospproxy.http.messages import ABSENT, Client, Headers, Origin, Request, Response
from hospproxy.interfaces import IProcessor, IUpstream
from hospproxy.options.sections import UpstreamSettings
from hospproxy.outward.upstream import Upstream, UpstreamProcessor
from hospproxy.outward.validators import dated, tagged
from hospproxy.watch.metrics import Metrics
from tests.stages import identified

CONTRACT = load()
READ = Call(CONTRACT.operation("listHospitals"), accept="json")
WRITE = Call(CONTRACT.operation("createHospital"), document={"name": "Barn"})
DELETE = Call(CONTRACT.operation("deleteNote"), path=("4",))
CLIENT = Client(address="192.0.2.7", host="hosp.example", request_id="req-1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def end(answer: Deferred[Response]) -> None:
    """Leave nothing for the garbage collector, which would report it in another test."""
    answer.addErrback(lambda _: None)
    answer.cancel()


class UpstreamCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.meter = Metrics(strict=True)
        self.upstream = self.make()
        self.on_sent: list[float] = []

    def make(self, **options: Any) -> Upstream:
        settings = UpstreamSettings(
            url="http://127.0.0.1:3000", max_header_bytes=1000, max_body_bytes=100, **options
        )
        return Upstream(self.reactor, settings, self.meter, kept_connections=2)

    def send(self, call: Call = READ, timeout_s: float = 28.0) -> Deferred[Response]:
        answer = Deferred.fromCoroutine(
            self.upstream.send(call, CLIENT, timeout_s, lambda: self.on_sent.append(self.reactor.seconds()))
        )
        self.addCleanup(end, answer)
        return answer

    def connect(self, number: int = -1) -> Any:
        """Let a connection succeed, and return its protocol."""
        host, port, factory, timeout, _ = self.reactor.tcpClients[number]
        self.assertEqual((host, port, timeout), ("127.0.0.1", 3000, 3.0))
        connection = factory.buildProtocol(None)
        connection.makeConnection(StringTransport())
        return connection

    def error(self, answer: Deferred[Response]) -> ProxyError:
        return self.failureResultOf(answer, ProxyError).value  # type: ignore[no-any-return]

    def nothing_left(self) -> None:
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Requests(UpstreamCase):
    def test_it_is_an_upstream(self) -> None:
        self.assertTrue(verifyObject(IUpstream, self.upstream))

    def test_a_read_as_it_is_written(self) -> None:
        self.send()
        written = self.connect().transport.value()
        self.assertEqual(
            written,
            b"GET /hospitals HTTP/1.1\r\n"
            b"Host: hosp.example\r\n"
            b"User-Agent: hospproxy\r\n"
            b"Accept: application/json\r\n"
            b"Accept-Encoding: identity\r\n"
            b"X-Forwarded-Proto: https\r\n"
            b"X-Forwarded-For: 192.0.2.7\r\n"
            b"X-Request-Id: req-1\r\n\r\n",
        )

    def test_a_write_as_it_is_written(self) -> None:
        self.send(WRITE)
        head, body = self.connect().transport.value().split(b"\r\n\r\n")
        self.assertIn(b"\r\nConnection: close\r\nContent-Length: 15\r\n", head)
        self.assertIn(b"\r\nContent-Type: application/json", head)
        self.assertEqual(body, b'{"name":"Barn"}')

    def test_the_moment_of_sending_is_when_there_is_a_connection(self) -> None:
        self.send()
        self.reactor.advance(2)
        self.assertEqual(self.on_sent, [])
        self.connect()
        self.assertEqual(self.on_sent, [2.0])


class Answers(UpstreamCase):
    def test_a_whole_one(self) -> None:
        answer = self.send()
        self.connect().dataReceived(
            b"HTTP/1.1 201 Created\r\nlocation: http://hosp.example/1\r\nTransfer-Encoding: chunked\r\n"
            b"Set-Cookie: a=1\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
        self.assertEqual(
            self.successResultOf(answer),
            Response(
                201,
                Headers(((b"location", b"http://hosp.example/1"), (b"Set-Cookie", b"a=1"))),
                b"hello",
                Origin.UPSTREAM,
            ),
        )
        self.assertEqual(self.meter.value("upstream_requests_total", route="/hospitals", outcome="2xx"), 1)
        self.assertEqual(self.meter.value("upstream_seconds_count", route="/hospitals"), 1)

    def test_a_redirect_is_an_answer(self) -> None:
        answer = self.send()
        self.connect().dataReceived(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertEqual(self.successResultOf(answer).status, 302)
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_no_cookie_goes_out_with_another_request(self) -> None:
        self.send()
        connection = self.connect()
        connection.dataReceived(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\nContent-Length: 0\r\n\r\n"
        )
        connection.transport.clear()
        self.send()
        self.assertIn(b"GET /hospitals", connection.transport.value())
        self.assertNotIn(b"ookie", connection.transport.value())

    def test_until_the_close(self) -> None:
        answer = self.send(WRITE)
        connection = self.connect()
        connection.dataReceived(b"HTTP/1.0 200 OK\r\n\r\nhel")
        connection.dataReceived(b"lo")
        self.assertNoResult(answer)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(answer).body, b"hello")

    def test_until_a_close_that_was_a_break(self) -> None:
        """RFC 9112 §8: an error of the connection makes it incomplete."""
        answer = self.send(WRITE)
        connection = self.connect()
        connection.dataReceived(b"HTTP/1.0 200 OK\r\n\r\nhello")
        connection.connectionLost(Failure(ConnectionLost()))
        error = self.error(answer)
        self.assertIsInstance(error, FailedAfterSending)
        self.assertEqual(error.head_status, 200)  # type: ignore[attr-defined]

    def test_a_body_up_to_its_limit(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = self.send()
        self.connect().dataReceived(head + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n")
        self.assertEqual(len(self.successResultOf(answer).body), 100)

    def test_a_body_beyond_it(self) -> None:
        answer = self.send(WRITE)
        connection = self.connect()
        connection.dataReceived(b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101)
        error = self.error(answer)
        self.assertIsInstance(error, BadAnswer)
        self.assertEqual(error.head_status, 201)  # type: ignore[attr-defined]
        self.assertTrue(connection.transport.disconnected)
        connection.connectionLost(Failure(ConnectionDone()))
        self.nothing_left()


class NothingSent(UpstreamCase):
    def test_refused(self) -> None:
        for call in (READ, WRITE):
            answer = self.send(call)
            self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
            self.assertIsInstance(self.error(answer), NotSent)
        self.assertEqual(self.on_sent, [])
        self.nothing_left()

    def test_no_connection_in_time(self) -> None:
        answer = self.send()
        self.reactor.advance(2.9)
        self.assertNoResult(answer)
        self.reactor.advance(0.2)
        self.assertIsInstance(self.error(answer), NotSent)
        self.nothing_left()

    def test_the_deadline_comes_before_the_connection(self) -> None:
        answer = self.send(timeout_s=1.0)
        self.reactor.advance(1.0)
        error = self.error(answer)
        self.assertIsInstance(error, NotSent)
        self.nothing_left()

    def test_no_time_at_all(self) -> None:
        self.assertIsInstance(self.error(self.send(timeout_s=0)), NotSent)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_cancelled(self) -> None:
        answer = self.send()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.nothing_left()


class AfterSending(UpstreamCase):
    def failure(self, answer: Deferred[Response]) -> FailedAfterSending:
        error = self.error(answer)
        assert isinstance(error, FailedAfterSending), error
        return error

    def test_lost_before_an_answer(self) -> None:
        for reason in (ConnectionDone(), ConnectionLost()):
            answer = self.send(WRITE)
            self.connect().connectionLost(Failure(reason))
            error = self.failure(answer)
            self.assertEqual((error.head_status, error.timed_out), (None, False))
        self.nothing_left()

    def test_lost_in_the_head(self) -> None:
        answer = self.send(WRITE)
        connection = self.connect()
        connection.dataReceived(b"HTTP/1.1 201 Created\r\nContent-Le")
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertIs(self.failure(answer).head_status, None)

    def test_lost_in_the_body(self) -> None:
        for head in (b"Content-Length: 3", b"Transfer-Encoding: chunked"):
            answer = self.send(WRITE)
            connection = self.connect()
            connection.dataReceived(b"HTTP/1.1 201 Created\r\n" + head + b"\r\n\r\n2")
            connection.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(self.failure(answer).head_status, 201)

    def test_silence(self) -> None:
        answer = self.send(WRITE, timeout_s=5.0)
        connection = self.connect()
        self.reactor.advance(5.0)
        error = self.failure(answer)
        self.assertEqual((error.head_status, error.timed_out, error.status), (None, True, 504))
        self.assertTrue(connection.transport.disconnected)
        self.nothing_left()

    def test_what_comes_after_the_end_of_an_attempt_is_nobodys(self) -> None:
        for call in (READ, WRITE):
            answer = self.send(call, timeout_s=5.0)
            connection = self.connect()
            self.reactor.advance(5.0)
            self.failure(answer)
            connection.dataReceived(OK)
            connection.connectionLost(Failure(ConnectionLost()))
        self.send()
        self.assertEqual(len(self.reactor.tcpClients), 3)

    def test_a_body_that_drips_past_the_deadline(self) -> None:
        answer = self.send(WRITE, timeout_s=5.0)
        connection = self.connect()
        connection.dataReceived(b"HTTP/1.1 201 Created\r\nContent-Length: 50\r\n\r\n")
        for _ in range(4):
            self.reactor.advance(1)
            connection.dataReceived(b"x")
        self.assertNoResult(answer)
        self.reactor.advance(1)
        error = self.failure(answer)
        self.assertEqual((error.head_status, error.timed_out), (201, True))
        self.assertTrue(connection.transport.disconnected)

    def test_no_http(self) -> None:
        answer = self.send(WRITE)
        connection = self.connect()
        connection.dataReceived(b"220 smtp.example ESMTP\r\n")
        self.assertIs(self.failure(answer).head_status, None)
        self.assertTrue(connection.transport.disconnected)
        connection.connectionLost(Failure(ConnectionDone()))

    def test_cancelling_aborts_the_connection(self) -> None:
        for received in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"):
            answer = self.send()
            connection = self.connect()
            if received:
                connection.dataReceived(received)
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
            self.assertTrue(connection.transport.disconnected)
            connection.connectionLost(Failure(ConnectionLost()))
            self.nothing_left()
        self.assertEqual(
            self.meter.value("upstream_requests_total", route="/hospitals", outcome="cancelled"), 2
        )


class KeptConnections(UpstreamCase):
    def kept(self) -> Any:
        answer = self.send()
        connection = self.connect()
        connection.dataReceived(OK)
        self.successResultOf(answer)
        connection.transport.clear()
        return connection

    def test_reads_share_one(self) -> None:
        connection = self.kept()
        answer = self.send()
        self.assertEqual(len(self.reactor.tcpClients), 1)
        connection.dataReceived(OK)
        self.assertEqual(self.successResultOf(answer).body, b"ok")

    def test_what_may_not_be_repeated_never_uses_one(self) -> None:
        connection = self.kept()
        for call in (WRITE, DELETE):
            self.send(call)
            self.assertEqual(connection.transport.value(), b"")
            fresh = self.connect()
            self.assertIn(b"\r\nConnection: close\r\n", fresh.transport.value())
            fresh.dataReceived(OK)
            self.assertTrue(fresh.transport.disconnecting)

    def test_a_stale_one_is_not_silently_tried_again(self) -> None:
        connection = self.kept()
        answer = self.send()
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertIsInstance(self.error(answer), FailedAfterSending)
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_one_that_hosp_closed_is_not_used(self) -> None:
        self.kept().connectionLost(Failure(ConnectionDone()))
        self.send()
        self.assertEqual(len(self.reactor.tcpClients), 2)

    def test_one_that_hosp_announced_to_close_is_not_kept(self) -> None:
        self.send()
        self.connect().dataReceived(OK.replace(b"\r\n\r\n", b"\r\nConnection: Close\r\n\r\n"))
        self.send()
        self.assertEqual(len(self.reactor.tcpClients), 2)

    def test_an_unused_one_is_closed(self) -> None:
        connection = self.kept()
        self.reactor.advance(30.0)
        self.assertTrue(connection.transport.disconnecting)
        connection.connectionLost(Failure(ConnectionDone()))
        self.nothing_left()

    def test_its_time_counts_from_its_last_request(self) -> None:
        connection = self.kept()
        self.reactor.advance(20.0)
        self.send()
        connection.dataReceived(OK)
        self.reactor.advance(29.0)
        self.assertFalse(connection.transport.disconnecting)
        self.reactor.advance(1.0)
        self.assertTrue(connection.transport.disconnecting)

    def test_the_last_one_that_was_used_is_used_first(self) -> None:
        for _ in range(2):
            self.send()
        first, second = self.connect(0), self.connect(1)
        for connection in (first, second):
            connection.dataReceived(OK)
            connection.transport.clear()
        self.send()
        self.assertEqual((first.transport.value(), second.transport.value()[:4]), (b"", b"GET "))

    def test_bytes_that_nobody_asked_for_end_it(self) -> None:
        """They would be taken for the response to the next request, which may be another user's."""
        connection = self.kept()
        connection.dataReceived(OK)
        self.assertTrue(connection.transport.disconnected)
        self.send()
        self.assertEqual(len(self.reactor.tcpClients), 2)

    def test_more_bytes_than_the_answer_has_end_it(self) -> None:
        for raw in (OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
            answer = self.send()
            connection = self.connect()
            connection.dataReceived(raw + b"more")
            self.successResultOf(answer)
            self.assertTrue(connection.transport.disconnected)

    def test_a_request_that_is_sent_at_that_moment_gets_another_one(self) -> None:
        """The bytes that came too much must not be taken for its response."""
        answer = self.send()
        connection = self.connect()
        again: list[Deferred[Response]] = []
        answer.addCallback(lambda _: again.append(self.send()))
        connection.dataReceived(OK + OK)
        self.assertTrue(connection.transport.disconnected)
        self.assertNoResult(again[0])
        self.connect().dataReceived(OK)
        self.assertEqual(self.successResultOf(again[0]).body, b"ok")

    def test_no_more_are_kept_than_was_asked_for(self) -> None:
        answers = [self.send() for _ in range(3)]
        connections = [self.connect(number) for number in range(3)]
        for connection in connections:
            connection.dataReceived(OK)
        self.assertEqual([self.successResultOf(answer).status for answer in answers], [200] * 3)
        self.assertEqual([c.transport.disconnecting for c in connections], [True, False, False])

    def test_closing(self) -> None:
        connection = self.kept()
        closed = self.upstream.close()
        self.assertTrue(connection.transport.disconnecting)
        self.assertNoResult(closed)
        connection.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(closed)
        self.nothing_left()

    def test_one_that_was_in_use_at_the_closing_is_not_kept(self) -> None:
        answer = self.send()
        connection = self.connect()
        self.successResultOf(self.upstream.close())
        connection.dataReceived(OK)
        self.assertEqual(self.successResultOf(answer).body, b"ok")
        self.assertTrue(connection.transport.disconnecting)

    def test_closing_does_not_wait_for_ever(self) -> None:
        connection = self.kept()
        closed = self.upstream.close()
        self.reactor.advance(2)
        self.assertTrue(connection.transport.disconnected)
        connection.connectionLost(Failure(ConnectionLost()))
        self.successResultOf(closed)


@implementer(IUpstream)
class Scripted:
    def __init__(self, clock: MemoryReactorClock, result: Response | Exception) -> None:
        self.clock = clock
        self.result = result
        self.asked: list[tuple[Call, Client, float]] = []

    async def send(self, call: Call, client: Client, timeout_s: float, on_sent: Any = None) -> Response:
        self.asked.append((call, client, timeout_s))
        self.clock.advance(1)
        on_sent()
        self.clock.advance(3)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class Processor(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.clock.advance(100)
        self.seen: list[Any] = []
        self.silent: list[None] = []

    def run_it(self, result: Response | Exception) -> tuple[Scripted, Exchange, Deferred[Response]]:
        upstream = Scripted(self.clock, result)

        def failing(*_: Any) -> None:
            raise RuntimeError("an observer's own mistake")

        processor = UpstreamProcessor(
            upstream,
            self.clock,
            observers=(failing, lambda *news: self.seen.append(news)),
            silences=(failing, lambda: self.silent.append(None)),
            wall=lambda: 1_700_000_000.0,
        )
        self.assertTrue(verifyObject(IProcessor, processor))
        exchange = identified(READ, Request(client=CLIENT), at=99.0, deadline=127.0)
        return upstream, exchange, Deferred.fromCoroutine(processor.process(exchange, None))  # type: ignore[arg-type]

    def test_an_answer(self) -> None:
        response = Response(200)
        upstream, exchange, answer = self.run_it(response)
        given = self.successResultOf(answer)
        self.assertEqual(given, dated(tagged(READ.operation, response), 1_700_000_000.0))
        self.assertEqual(given.headers.get(b"date"), b"Tue, 14 Nov 2023 22:13:20 GMT")
        self.assertEqual(upstream.asked, [(READ, CLIENT, 27.0)])
        self.assertEqual((exchange.trace.attempts, exchange.last_attempt.sent_at), (1, 101.0))
        self.assertEqual(self.seen, [(READ, response, 100.0, 104.0, ABSENT)])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_silence(self) -> None:
        for error, silent in (
            (NotSent("x"), 1),
            (FailedAfterSending("x", timed_out=True), 1),
            (FailedAfterSending("x"), 0),
            (BadAnswer("x"), 0),
        ):
            self.silent.clear()
            _, exchange, answer = self.run_it(error)
            self.assertIs(self.failureResultOf(answer).value, error)
            self.assertEqual((len(self.silent), exchange.trace.attempts), (silent, 1), error)
        self.assertEqual(self.seen, [])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
