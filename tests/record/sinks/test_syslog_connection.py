"""When a delivery counts as confirmed. integration/test_writers_syslog.py tests it with real ends of connections."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.sinks import syslog_connection
from hospproxy.record.sinks.syslog_connection import NotConfirmed, SyslogDelivery


class Handle:
    """A socket that takes options."""

    def setsockopt(self, *_: int) -> None:
        return None


class Wire:
    """A TCP transport that asks for more data when told to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.producer: Any = None
        self.half_closed = self.closed = self.aborted = False

    def setTcpKeepAlive(self, _: bool) -> None:
        return None

    setTcpNoDelay = setTcpKeepAlive

    def getHandle(self) -> Handle:
        return Handle()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert not streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def loseConnection(self) -> None:
        self.closed = True

    def abortConnection(self) -> None:
        self.aborted = True


class DeliveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wire = Wire()
        self.delivery = SyslogDelivery(self.clock, 10.0, False)
        inner = Factory.forProtocol(lambda: self.delivery)
        self.raw = syslog_connection._RawFactory(inner, 10.0).buildProtocol(None)
        self.raw.makeConnection(self.wire)
        self.left = 0
        self.patch(syslog_connection, "_unacknowledged", lambda _: self.left)

    def sent(self) -> Any:
        done = self.delivery.deliver(iter([b"a", b"b"]))
        while self.wire.producer is not None:
            self.wire.producer.resumeProducing()
        self.assertEqual(self.wire.written, [b"a", b"b"])
        self.assertTrue(self.wire.half_closed and not self.wire.closed)
        self.assertNoResult(done)
        return done

    def ended(self, error: Exception | None = None) -> None:
        self.raw.connectionLost(Failure(error or ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_receivers_end_after_everything_is_acknowledged(self) -> None:
        done = self.sent()
        self.raw.readConnectionLost()
        self.ended()
        self.successResultOf(done)

    def test_an_end_that_came_before_our_last_bytes_did(self) -> None:
        self.left = 1
        done = self.sent()
        self.raw.readConnectionLost()
        self.left = 0
        self.ended()
        self.failureResultOf(done, NotConfirmed)

    def test_an_end_before_all_was_written(self) -> None:
        done = self.delivery.deliver(iter([b"a", b"b"]))
        self.wire.producer.resumeProducing()
        self.raw.readConnectionLost()
        self.ended()
        self.failureResultOf(done, NotConfirmed)

    def test_a_reset(self) -> None:
        done = self.sent()
        self.ended(ConnectionLost())
        self.failureResultOf(done, NotConfirmed)

    def test_an_alert_of_tls_before_an_end_in_order(self) -> None:
        done = self.sent()
        self.raw.readConnectionLost()
        self.ended(SSL.Error([("SSL routines", "", "tlsv13 alert certificate required")]))
        self.failureResultOf(done, NotConfirmed)

    def test_tls_that_was_not_said_farewell_to(self) -> None:
        done = self.sent()
        self.raw.readConnectionLost()
        self.ended(ConnectionLost())
        self.successResultOf(done)

    def test_the_time_is_for_each_step(self) -> None:
        done = self.delivery.deliver(iter([b"a"] * 5))
        for _ in range(6):
            self.clock.advance(9)
            self.wire.producer.resumeProducing()
        self.clock.advance(9.9)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(0.2)
        self.assertTrue(self.wire.aborted)
        self.ended(ConnectionLost())
        self.failureResultOf(done, TimeoutError)

    def test_a_receiver_that_takes_nothing(self) -> None:
        done = self.delivery.deliver(iter([b"a", b"b"]))
        self.wire.producer.resumeProducing()
        self.clock.advance(10)
        self.ended(ConnectionLost())
        self.failureResultOf(done, TimeoutError)

    def test_a_delivery_that_is_cancelled(self) -> None:
        done = self.sent()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertTrue(self.wire.aborted)
        self.ended(ConnectionLost())

    def test_a_connection_that_is_gone(self) -> None:
        told: list[bool] = []
        self.delivery.on_lost = lambda: told.append(True)
        self.ended()
        self.assertEqual(told, [True])
        self.assertRaises(NotConfirmed, self.delivery.deliver, iter([b"a"]))
        self.delivery.abort()
        self.assertFalse(self.wire.aborted, "there is nothing left to abort")

    def test_a_connection_that_is_dropped_tells_nobody(self) -> None:
        told: list[bool] = []
        self.delivery.on_lost = lambda: told.append(True)
        self.delivery.drop()
        self.assertTrue(self.wire.aborted)
        self.ended(ConnectionLost())
        self.assertEqual(told, [])
