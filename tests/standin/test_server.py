from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.faults import Scripted
from hosp_standin.server import HospFactory
from hosp_standin.testing import in_memory, root

AUTHORIZATION = b"Authorization: Basic c3RhZmYxOnBhc3N3b3JkMQ==\r\n"


class BreakableTransport(StringTransport):
    """Distinguishes an orderly close from a reset."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class RawTests(SynchronousTestCase):
    """The bytes that go over a connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hosp = in_memory(self.clock)
        self.factory = HospFactory(self.hosp)
        self.factory.doStart()
        self.addCleanup(self.factory.doStop)
        self.connect()

    def connect(self) -> None:
        self.transport = BreakableTransport()
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def say(self, *lines: bytes, body: bytes = b"") -> bytes:
        self.transport.clear()
        self.protocol.dataReceived(
            b"\r\n".join(lines) + b"\r\nHost: hosp\r\n" + AUTHORIZATION + b"\r\n" + body
        )
        return self.transport.value()

    def post(self, fault: str | None = None) -> bytes:
        self.hosp.planner.script.append(Scripted(fault))
        body = b'{"title":"x"}'
        length = b"Content-Length: %d" % len(body)
        return self.say(b"POST /notes HTTP/1.1", length, b"Content-Type: application/json", body=body)

    def test_a_whole_answer_on_a_connection_that_stays(self) -> None:
        for _ in range(2):
            answer = self.say(b"GET /notes/7 HTTP/1.1")
            head, _, body = answer.partition(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
            self.assertIn(b"Content-Length: %d" % len(body), head)
            self.assertNotIn(b"Server:", head)
            self.assertEqual(head.count(b"Date:"), 1)
        self.assertFalse(self.transport.disconnecting or self.transport.aborted)

    def test_head_has_no_body_and_its_length(self) -> None:
        whole = self.say(b"GET /notes/7 HTTP/1.1").partition(b"\r\n\r\n")[2]
        head, _, body = self.say(b"HEAD /notes/7 HTTP/1.1").partition(b"\r\n\r\n")
        self.assertEqual(body, b"")
        self.assertIn(b"Content-Length: %d" % len(whole), head)

    def test_an_empty_answer_is_not_chunked(self) -> None:
        answer = self.say(
            b"POST /notes HTTP/1.1", b"Content-Type: application/json", b"Content-Length: 1", body=b"{"
        )
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer)
        self.assertIn(b"Content-Length: 0\r\n", answer)
        self.assertNotIn(b"chunked", answer)

    def test_truncated(self) -> None:
        head, _, body = self.post("truncated").partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 201 Created"), head)
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        self.assertEqual(len(body), length // 2)
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)

    def test_cut_head(self) -> None:
        answer = self.post("cut_head")
        self.assertTrue(answer.startswith(b"HTTP/1.1 201 Created"), answer)
        self.assertNotIn(b"\r\n\r\n", answer)
        self.assertTrue(self.transport.disconnecting)

    def test_resets(self) -> None:
        for fault, stored in (("reset_before", 300), ("reset_after", 301)):
            self.connect()
            self.assertEqual(self.post(fault), b"")
            self.assertTrue(self.transport.aborted, fault)
            self.assertEqual(next(self.hosp.store.newest_first("notes"))["id"], stored)

    def test_a_stall_says_nothing_and_stays(self) -> None:
        self.assertEqual(self.post("stall"), b"")
        self.clock.advance(1000)
        self.assertEqual(self.transport.value(), b"")
        self.assertFalse(self.transport.disconnecting or self.transport.aborted)

    def test_a_client_that_hangs_up(self) -> None:
        self.hosp.planner.script.append(Scripted("stall"))
        self.say(b"GET / HTTP/1.1")
        self.assertEqual(self.hosp.stats.in_flight, 1)
        self.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.hosp.stats.in_flight, 0)

    def test_an_absolute_address_and_http_1_0(self) -> None:
        answer = self.say(b"GET http://hosp/notes/7?a=b HTTP/1.0")
        self.assertIn(b" 200 OK\r\n", answer)
        self.assertEqual(self.hosp.journal.entries()[0].path, "/notes/7")
        self.assertTrue(self.transport.disconnecting)

    def test_an_idle_connection_is_closed_after_a_while(self) -> None:
        self.factory = HospFactory(in_memory(self.clock, keep_alive_s=5))
        self.connect()
        self.say(b"GET / HTTP/1.1")
        self.clock.advance(4.9)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(self.transport.disconnecting)

    def test_drop_connections(self) -> None:
        self.factory.drop_connections()
        self.assertTrue(self.transport.aborted)

    def test_offline_by_resets(self) -> None:
        self.factory.resetting = True
        self.connect()
        self.assertTrue(self.transport.aborted)

    def test_a_failure_of_the_stand_in_itself_is_logged_and_resets(self) -> None:
        self.patch(self.hosp.app, "carry_out", lambda _: 1 / 0)
        self.say(b"GET / HTTP/1.1")
        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((self.hosp.places.taken, self.hosp.stats.requests), (0, 1))


class InMemoryTests(SynchronousTestCase):
    """The form that needs no sockets at all."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hosp = in_memory(self.clock, delay="fixed:2", places=1)
        self.treq = StubTreq(root(self.hosp))

    def test_asked_through_treq(self) -> None:
        url = "http://hosp.example/hospitals/1"
        asked = [self.treq.get(url, auth=("staff1", "password1")) for _ in range(2)]
        self.treq.flush()
        self.assertNoResult(asked[0])
        self.clock.advance(2)
        self.treq.flush()
        response = self.successResultOf(asked[0])
        self.assertEqual(response.code, 200)
        record: Any = self.successResultOf(response.json())
        self.assertEqual(record["url"], "http://hosp.example/hospitals/1.json")
        self.assertNoResult(asked[1])
        self.clock.advance(2)
        self.treq.flush()
        self.assertEqual(self.successResultOf(asked[1]).code, 200)
        self.assertEqual(self.hosp.stats.max_in_flight, 2)
