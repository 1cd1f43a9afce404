"""What is logged while no connection to the upstream can be opened: one line for each change."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import NotSent
from hospproxy.outward.connection import Connections
from hospproxy.outward.upstream_request import UpstreamTarget


class Lines(SynchronousTestCase):
    def setUp(self) -> None:
        target = UpstreamTarget.from_url("http://hosp.example:3000")
        self.connections = Connections(
            Clock(),
            target,
            connect_timeout_s=3.0,
            max_header_bytes=1024,
            max_body_bytes=1024,
            most_idle=1,
            idle_s=1.0,
        )
        endpoint: Any = SimpleNamespace(connect=lambda _factory: self.opening)
        self.connections._endpoint = endpoint
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: Any) -> None:
        if event.get("log_namespace") == "hospproxy.outward.connection":
            self.said.append(event["log_format"].format(**event).partition(":3000")[0])

    def tried(self, outcome: Exception | None) -> None:
        """Open a connection, or fail to."""
        self.opening: Deferred[Any] = Deferred()
        opened = self.connections.open()
        if outcome is None:
            self.opening.callback(SimpleNamespace(ready=object()))
            self.successResultOf(opened)
        else:
            self.opening.errback(outcome)
            expected = CancelledError if isinstance(outcome, CancelledError) else NotSent
            self.failureResultOf(opened, expected)

    def test_one_line_until_it_changes(self) -> None:
        for outcome in (None, *[ConnectionRefusedError()] * 50, *[TimeoutError()] * 50, None, None):
            self.tried(outcome)
        self.tried(ConnectionRefusedError())
        could_not, again = (
            "could not connect to the upstream hosp.example",
            "connected to the upstream hosp.example",
        )
        self.assertEqual(self.said, [could_not, could_not, again, could_not])

    def test_tls_reads_differently(self) -> None:
        for _ in range(3):
            self.tried(SSL.Error([("SSL routines", "", "certificate verify failed")]))
        self.assertEqual(self.said, ["TLS with the upstream hosp.example"])

    def test_a_client_that_left_is_no_trouble(self) -> None:
        self.tried(CancelledError())
        self.assertEqual(self.said, [])
