from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.retry_after import seconds_until
from hospproxy.record.sinks.signed_post import MAX_ANSWER_BYTES, PostError, SignedPoster

SECRET = b"0123456789abcdef"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Posting(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.poster = SignedPoster(
            self.reactor, "http://127.0.0.1:8080/in%20box?a=1", SECRET, timeout_s=5, wall=lambda: 1700.9
        )

    def post(self, body: bytes = b'{"a":1}\n') -> Deferred[None]:
        posting = Deferred.fromCoroutine(self.poster.post(body, {"Content-Type": "application/x-ndjson"}))
        self.addCleanup(self.end, posting)
        return posting

    def end(self, posting: Deferred[None]) -> None:
        posting.addErrback(lambda _: None)
        posting.cancel()

    def connect(self) -> Any:
        host, port, factory, _, _ = self.reactor.tcpClients[-1]
        self.assertEqual((host, port), ("127.0.0.1", 8080))
        connection = factory.buildProtocol(None)
        connection.makeConnection(StringTransport())
        return connection

    def answered(self, answer: bytes) -> PostError:
        posting = self.post()
        self.connect().dataReceived(answer)
        return self.failureResultOf(posting, PostError).value  # type: ignore[no-any-return]

    def test_as_it_is_written(self) -> None:
        posting = self.post()
        connection = self.connect()
        head, body = connection.transport.value().split(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        self.assertEqual(first, b"POST /in%20box?a=1 HTTP/1.1")
        mac = hmac.new(SECRET, b'1700.{"a":1}\n', "sha256").hexdigest()
        for field in (
            b"Content-Type: application/x-ndjson",
            b"X-Hospproxy-Timestamp: 1700",
            b"X-Hospproxy-Signature: sha256=" + mac.encode(),
            b"Content-Length: 8",
            b"Accept-Encoding: identity",
        ):
            self.assertIn(field, fields)
        self.assertEqual(body, b'{"a":1}\n')
        connection.dataReceived(OK)
        self.assertIsNone(self.successResultOf(posting))

    def test_without_a_secret_nothing_is_signed(self) -> None:
        self.poster = SignedPoster(self.reactor, "http://127.0.0.1:8080/", None, timeout_s=30)
        self.post()
        self.assertNotIn(b"Signature", self.connect().transport.value())

    def test_what_is_no_success(self) -> None:
        for status, refused in ((301, True), (400, True), (408, False), (429, False), (503, False)):
            error = self.answered(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
            self.assertEqual((error.status, error.refused), (status, refused))
            self.reactor.advance(3)  # the next one gets a connection of its own

    def test_a_redirect_is_not_followed(self) -> None:
        self.answered(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_no_cookie_comes_back(self) -> None:
        posting = self.post()
        connection = self.connect()
        connection.dataReceived(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n")
        self.successResultOf(posting)
        connection.transport.clear()
        self.post()
        self.assertIn(b"POST", connection.transport.value())
        self.assertNotIn(b"ookie", connection.transport.value())

    def test_retry_after_is_told(self) -> None:
        error = self.answered(b"HTTP/1.1 503 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(error.retry_after_s, 7)

    def test_nobody_there(self) -> None:
        posting = self.post()
        self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.reactor.advance(1)
        error = self.failureResultOf(posting, PostError).value
        self.assertIn("refused", str(error))
        self.assertIsNone(error.status)

    def test_it_breaks_off(self) -> None:
        posting = self.post()
        self.connect().connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(posting, PostError)

    def test_slow_to_the_last_byte(self) -> None:
        posting = self.post()
        connection = self.connect()
        connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        self.reactor.advance(4.9)
        self.assertNoResult(posting)
        self.reactor.advance(0.2)
        self.assertIn("5 s", str(self.failureResultOf(posting, PostError).value))

    def test_an_answer_without_end(self) -> None:
        posting = self.post()
        connection = self.connect()
        connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
        connection.dataReceived(b"x" * (MAX_ANSWER_BYTES + 1))
        self.assertIn("too long", str(self.failureResultOf(posting, PostError).value))

    def test_whoever_gives_up_is_let_go(self) -> None:
        posting = self.post()
        self.connect()
        posting.cancel()
        self.failureResultOf(posting, CancelledError)
        self.assertEqual(
            [call for call in self.reactor.getDelayedCalls() if call.getTime() <= self.reactor.seconds() + 5],
            [],
        )

    def test_certificates_that_are_none(self) -> None:
        path = Path(self.mktemp())
        path.write_text("none")
        self.assertRaises(
            ValueError, SignedPoster, self.reactor, "https://x.example/", SECRET, path, timeout_s=30
        )


class RetryAfter(SynchronousTestCase):
    def test_spellings(self) -> None:
        for text, seconds in (
            ("120", 120.0),
            ("9" * 400, 1e9),
            ("Thu, 01 Jan 1970 00:30:00 GMT", 100.0),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
            ("-1", None),
            ("soon", None),
            ("", None),
        ):
            self.assertEqual(seconds_until(text, 1700.0), seconds, text)
