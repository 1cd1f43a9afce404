"""Connections that begin with a PROXY header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.drain import FIRST_REQUEST_S
from hospproxy.arrival.factory import Http1Factory
from hospproxy.arrival.front.proxy_protocol import LOG_S, ProxyHeaderFactory, ProxyHeaderProtocol
from hospproxy.arrival.front.trust import TrustedProxies
from hospproxy.arrival.http1 import Http1Protocol
from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.tls.certificates import self_signed
from hospproxy.arrival.tls.contexts import TlsConnectionCreator, TlsContexts, TlsFactory
from hospproxy.http.messages import Client
from hospproxy.options.arrival_section import ArrivalSettings
from hospproxy.watch.metrics import Metrics
from tests.arrival.front.test_proxy_header import MALFORMED, TCP4, WHOLE, ipv4, version_2
from tests.arrival.memory_transport import PLAIN, FakeTcp, Recorder
from tests.arrival.tls.test_certificates import NOW

GET = b"GET /notes HTTP/1.1\r\nHost: h\r\n"
BALANCER = IPv4Address("TCP", "192.0.2.7", 4711)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.recorder = Recorder()
        self.meter = Metrics(strict=True)
        self.context = ListenerContext(
            handler=self.recorder,
            clock=self.clock,
            trust=TrustedProxies.of(["192.0.2.7", "10.0.0.0/8"]),
            limits=ArrivalSettings(header_timeout_s=10, max_connections=3),
            new_id=lambda: "id",
            wall=lambda: 0.0,
            meter=self.meter,
        )
        self.factory = ProxyHeaderFactory(Http1Factory(self.context, PLAIN), self.context, self.context.trust)
        self.logged: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def connect(self) -> FakeTcp:
        transport = FakeTcp()
        built = self.factory.buildProtocol(BALANCER)
        assert built is not None
        transport.protocol = built
        built.makeConnection(transport)
        return transport

    def send(self, transport: FakeTcp, *pieces: bytes) -> None:
        for piece in pieces:
            if transport.gone is None:
                transport.protocol.dataReceived(piece)

    def refused(self, reason: str) -> float:
        return self.meter.value("proxy_protocol_refused_total", reason=reason) or 0.0

    def clients(self) -> list[Client]:
        return [request.client for request in self.recorder.handled]


class TakingOverTests(Case):
    def test_the_source_is_who_asks(self) -> None:
        for header, source in WHOLE:
            transport = self.connect()
            self.send(transport, header + GET + b"Connection: close\r\n\r\n")
            expected = (source, ("192.0.2.7",)) if source else ("192.0.2.7", ())
            client = self.clients()[-1]
            self.assertEqual((client.address, client.chain, client.peer), (*expected, "192.0.2.7"))
            self.assertTrue(transport.written.startswith(b"HTTP/1.1 200"))
            transport.loseConnection()
        self.assertEqual(len(self.context.connections), 0)

    def test_split_at_every_byte(self) -> None:
        whole = version_2(addresses=ipv4()) + GET + b"\r\n"
        for cut in range(len(whole)):
            transport = self.connect()
            self.send(transport, whole[:cut], whole[cut:])
            self.assertEqual(self.clients()[-1].address, "192.0.2.9")
            transport.end(ConnectionError)
        transport = self.connect()
        self.send(transport, *(bytes([byte]) for byte in whole))
        self.assertEqual(len(self.recorder.handled), len(whole) + 1)

    def test_the_chain_of_trust_goes_on(self) -> None:
        """What the next hop says in fields is believed if that one is listed too, and only then."""
        fields = b"X-Forwarded-For: 1.1.1.1, 203.0.113.5\r\nX-Forwarded-Proto: https\r\n\r\n"
        for source, expected in (
            ("10.0.0.3", ("203.0.113.5", ("10.0.0.3", "192.0.2.7"), "https")),
            ("192.0.2.9", ("192.0.2.9", ("192.0.2.7",), "http")),
        ):
            self.send(self.connect(), version_2(addresses=ipv4(source)) + GET + fields)
            client = self.clients()[-1]
            self.assertEqual((client.address, client.chain, client.scheme), expected)
            self.assertEqual(client.peer, "192.0.2.7")

    def test_without_a_source_nobody_is_believed(self) -> None:
        """Somebody's connection may have been passed on, whose fields would then be taken for the balancer's."""
        fields = b"X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-Proto: https\r\nX-Request-Id: a\r\n\r\n"
        for header, source in WHOLE:
            if not source:
                self.send(self.connect(), header + GET + fields)
                self.assertEqual(
                    self.clients()[-1], Client("192.0.2.7", "192.0.2.7", (), "http", "h", "id", via="1.1")
                )
                self.context.connections.drain(0)
                self.context.connections.draining = False
                self.clock.advance(0)

    def test_it_holds_for_every_request_of_the_connection_and_for_refusals(self) -> None:
        transport = self.connect()
        self.send(transport, TCP4 + (GET + b"\r\n") * 2 + b"\0")
        self.assertEqual([client.address for client in self.clients()], ["192.0.2.9"] * 2)
        [(refused, error)] = self.recorder.refused
        self.assertEqual(
            (refused.client.address, refused.client.chain, error.status), ("192.0.2.9", ("192.0.2.7",), 400)
        )

    def test_one_header_only(self) -> None:
        transport = self.connect()
        self.send(transport, TCP4 + TCP4)
        self.assertEqual([error.status for _, error in self.recorder.refused], [400])

    def test_the_connection_is_counted_once(self) -> None:
        lines = [self.connect() for _ in range(3)]
        self.assertIsNone(self.factory.buildProtocol(BALANCER))
        self.send(lines[0], TCP4)
        self.assertIsInstance(lines[0].protocol, Http1Protocol)
        self.assertEqual(len(self.context.connections), 3)

    def test_before_tls(self) -> None:
        credentials = self_signed(Path(self.mktemp()), [], NOW)
        http = Http1Factory(self.context)
        self.factory = ProxyHeaderFactory(
            TlsFactory(TlsConnectionCreator(TlsContexts.of([credentials])), http, self.clock),
            self.context,
            self.context.trust,
        )
        transport = self.connect()
        self.send(transport, TCP4 + b"\x16\x03\x01")
        self.assertIsInstance(transport.protocol, TLSMemoryBIOProtocol)
        self.assertEqual(transport.protocol.wrappedProtocol._announced, "192.0.2.9")


class LimitTests(Case):
    """Limits apply to the client, not to the balancer, and so do the log lines about them."""

    def hits(self) -> list[tuple[str, str]]:
        return [(event["limit"], event["address"]) for event in self.logged if "unsaid" in event]

    def test_of_one_address(self) -> None:
        self.context.address_counts.limits = evolve(self.context.limits, max_connections_per_address=1)
        for source, let_in in (("192.0.2.9", True), ("192.0.2.9", False), ("192.0.2.10", True)):
            transport = self.connect()
            self.send(transport, version_2(addresses=ipv4(source)))
            self.assertIs(transport.gone is None, let_in)
        self.assertEqual(self.hits(), [("max_connections_per_address", "192.0.2.9")])

    def test_in_all(self) -> None:
        for _ in range(3):
            self.connect()
        self.assertIsNone(self.factory.buildProtocol(BALANCER))
        self.assertEqual(self.hits(), [("max_connections", "192.0.2.7")])
        self.assertEqual(self.meter.value("arrival_limits_total", limit="max_connections"), 1)

    def test_who_is_too_slow_is_named(self) -> None:
        transport = self.connect()
        transport.room = 10
        self.send(transport, TCP4 + GET + b"\r\n")
        self.clock.advance(self.context.limits.write_timeout_s)
        self.assertIsNotNone(transport.gone)
        self.assertEqual(self.hits(), [("write_timeout_s", "192.0.2.9")])


class TurningAwayTests(Case):
    def test_strangers(self) -> None:
        for stranger in (IPv4Address("TCP", "192.0.2.8", 1), IPv6Address("TCP", "::1", 1), None):
            self.assertIsNone(self.factory.buildProtocol(stranger))
        self.assertEqual(self.refused("unlisted"), 3)

    def test_a_listed_one_on_a_dual_stack_socket(self) -> None:
        self.assertIsNotNone(self.factory.buildProtocol(IPv6Address("TCP", "::ffff:192.0.2.7", 1)))

    def test_malformed(self) -> None:
        for data in MALFORMED:
            transport = self.connect()
            self.send(transport, data)
            self.assertIsNotNone(transport.gone, data)
            self.assertEqual(transport.written, b"")
        self.assertEqual(self.refused("malformed"), len(MALFORMED))
        self.assertEqual((self.recorder.handled, len(self.context.connections)), ([], 0))

    def test_the_log_is_not_filled(self) -> None:
        def said() -> list[str]:
            return [event["why"] for event in self.logged if "was closed" in (event["log_format"] or "")]

        for _ in range(50):
            self.send(self.connect(), b"GET ")
        self.assertEqual(said(), ["it does not begin with a PROXY header: there is no PROXY header"])
        self.clock.advance(LOG_S)
        self.send(self.connect(), b"GET ")
        self.assertEqual(
            (len(said()), self.logged[-1]["more"], self.logged[-1]["peer"]), (2, 49, "192.0.2.7")
        )

    def test_the_clock_is_absolute(self) -> None:
        transport = self.connect()
        for byte in TCP4[:40]:
            self.send(transport, bytes([byte]))
            self.clock.advance(0.26)
        self.assertIsNotNone(transport.gone)
        self.assertEqual((self.refused("timeout"), len(self.context.connections)), (1, 0))

    def test_after_the_header_the_clocks_are_http(self) -> None:
        transport = self.connect()
        self.clock.advance(9)
        self.send(transport, TCP4 + b"GET")
        self.clock.advance(9)
        self.assertIsNone(transport.gone)
        for _ in range(8):
            self.clock.advance(0.25)
        self.assertEqual([error.status for _, error in self.recorder.refused], [408])
        self.assertEqual(self.refused("timeout"), 0)

    def test_a_connection_that_ends_without_a_word_is_no_mistake(self) -> None:
        """Balancers try ports that way."""
        self.connect().end(ConnectionError)
        self.assertEqual((self.refused("malformed"), len(self.context.connections)), (0, 0))

    def test_stopping(self) -> None:
        transport = self.connect()
        drained = self.context.connections.drain(5)
        self.assertIsNone(self.factory.buildProtocol(BALANCER))
        self.clock.advance(FIRST_REQUEST_S - 0.5)
        self.assertIsNone(transport.gone)
        self.clock.advance(0.5)
        self.assertIsNone(self.successResultOf(drained))
        self.assertIsNotNone(transport.gone)

    def test_a_request_under_way_while_stopping(self) -> None:
        """The drain does not end between header and request, and neither do those who wait for its end."""
        transport = self.connect()
        drained = self.context.connections.drain(5)
        self.send(transport, TCP4)
        self.assertNoResult(drained)
        self.send(transport, GET + b"\r\n")
        self.assertEqual([client.address for client in self.clients()], ["192.0.2.9"])
        self.assertIn(b"connection: close", transport.written)
        transport.protocol.readConnectionLost()
        self.assertIsNone(self.successResultOf(drained))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_between_header_and_request(self) -> None:
        transport = self.connect()
        assert isinstance(transport.protocol, ProxyHeaderProtocol)
        self.context.connections.draining = True
        self.send(transport, TCP4)
        self.assertIsNotNone(transport.gone)
