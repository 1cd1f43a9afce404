"""What is logged about a certificate of the upstream that is refused: the reason, in words."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.connection import Connections
from hospproxy.outward.upstream_request import UpstreamTarget
from tests.arrival.certificates import TestAuthority, Wire


class LateWire(Wire):
    """TCP in memory that ends a little after it is closed, as real TCP does."""

    def __init__(self, clock: MemoryReactorClock) -> None:
        super().__init__()
        self.clock = clock

    def loseConnection(self) -> None:
        self.abortConnection()

    def abortConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self.clock.callLater(0, self.protocol.connectionLost, Failure(ConnectionLost()))


class Reasons(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.authority = TestAuthority()
        self.reactor = MemoryReactorClock()
        self.connections = Connections(
            self.reactor,
            UpstreamTarget.from_url("https://hosp.example:3000"),
            connect_timeout_s=3.0,
            max_header_bytes=1024,
            max_body_bytes=1024,
            most_idle=1,
            idle_s=1.0,
            ca_file=self.authority.write(self.folder / "ca.pem"),
        )
        # An address, because the in-memory reactor resolves no names.
        address: Any = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 3000)
        self.connections._endpoint = wrapClientTLS(self.connections._tls, address)
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: Any) -> None:
        if event.get("log_namespace") == "hospproxy.outward.connection":
            self.said.append(event["log_format"].format(**event))

    def shake(self, authority: TestAuthority, name: str = "hosp.example", **validity: float) -> str:
        """Try one handshake with a server that shows such a certificate; return what was logged last."""
        files = authority.issue(name, **validity).write(self.folder, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(come, go, server_side=True)
        opening = self.connections.open()
        done: list[Any] = []
        opening.addBoth(done.append)
        factory = self.reactor.tcpClients[-1][2]
        wire = LateWire(self.reactor)
        wire.protocol = factory.buildProtocol(wire.getPeer())
        wire.protocol.makeConnection(wire)
        for _ in range(5):
            come.write(wire.value())
            wire.clear()
            with contextlib.suppress(ssl.SSLError):
                server.do_handshake()
            if not wire.disconnecting and (data := go.read()):
                wire.protocol.dataReceived(data)
            self.reactor.advance(0)
        self.assertEqual(len(done), 1)
        return self.said[-1] if self.said else ""

    def test_each_reason_reads_differently(self) -> None:
        others = TestAuthority("Other CA")
        found = [
            self.shake(self.authority, since=-30, days=10),
            self.shake(others),
            self.shake(self.authority, since=5),
            self.shake(self.authority, name="other.example"),
        ]
        begin = "TLS with the upstream hosp.example:3000 failed: "
        end = ". Check its certificate, and upstream.ca_file"
        self.assertEqual(
            found,
            [
                f"{begin}{words}{end}"
                for words in (
                    "its certificate, or one of its chain, has expired",
                    "its certificate comes from no authority that is trusted here",
                    "its certificate is malformed, or not valid yet",
                    "its certificate names another host than hosp.example",
                )
            ],
        )
        self.assertEqual(self.said, found)

    def test_a_good_certificate_after_a_bad_one(self) -> None:
        self.shake(self.authority, since=-30, days=10)
        self.shake(self.authority, since=-30, days=10)
        self.assertIn("connected to the upstream hosp.example:3000 again", self.shake(self.authority))
        self.assertEqual(len(self.said), 2)
        assert self.connections._tls is not None
        self.assertEqual(self.connections._tls.refusal, "")
