"""Connections that we open."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.client_endpoint import endpoint_to, write_now


class EndpointTests(SynchronousTestCase):
    def test_addresses_need_no_resolver(self) -> None:
        kinds = {"127.0.0.1": TCP4ClientEndpoint, "::1": TCP6ClientEndpoint, "localhost": HostnameEndpoint}
        for host, kind in kinds.items():
            endpoint = endpoint_to(MemoryReactorClock(), host, 1, 2.0)
            self.assertIsInstance(endpoint, kind)


class WriteNowTests(SynchronousTestCase):
    """The reactor makes no turn in these tests: what arrives was sent at once."""

    def setUp(self) -> None:
        here, self.there = socket.socketpair()
        self.addCleanup(self.there.close)
        self.addCleanup(here.close)
        for each in (here, self.there):
            each.setblocking(False)
        self.reactor = MemoryReactorClock()
        self.transport: Any = tcp.Connection(here, Protocol(), self.reactor)
        self.transport.connected = True

    def test_a_plain_connection_sends_at_once(self) -> None:
        write_now(self.transport, b"GET / HTTP/1.1")
        self.assertEqual(self.there.recv(100), b"GET / HTTP/1.1")
        self.assertEqual(self.reactor.getWriters(), [])

    def test_what_waits_goes_first(self) -> None:
        self.transport.write(b"one ")
        write_now(self.transport, b"two")
        self.assertRaises(BlockingIOError, self.there.recv, 100)
        self.transport.doWrite()
        self.assertEqual(self.there.recv(100), b"one two")

    def test_what_the_system_does_not_take_waits(self) -> None:
        data = bytes(range(256)) * 40_000
        write_now(self.transport, data)
        self.assertEqual(self.reactor.getWriters(), [self.transport])
        received = b""
        while len(received) < len(data):
            try:
                received += self.there.recv(1 << 20)
            except BlockingIOError:
                self.transport.doWrite()
        self.assertEqual(received, data)

    def test_a_connection_that_closes_sends_nothing_at_once(self) -> None:
        self.transport.loseConnection()
        write_now(self.transport, b"late")
        self.assertRaises(BlockingIOError, self.there.recv, 100)

    def test_a_broken_connection_does_not_raise(self) -> None:
        self.there.close()
        write_now(self.transport, b"lost")
        self.assertEqual(self.reactor.getWriters(), [self.transport])

    def test_another_transport_is_written_to(self) -> None:
        transport = StringTransport()
        write_now(transport, b"TLS")
        self.assertEqual(transport.value(), b"TLS")
