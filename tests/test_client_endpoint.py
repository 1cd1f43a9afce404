"""Connections that we open."""

from __future__ import annotations

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.client_endpoint import endpoint_to


class EndpointTests(SynchronousTestCase):
    def test_addresses_need_no_resolver(self) -> None:
        kinds = {"127.0.0.1": TCP4ClientEndpoint, "::1": TCP6ClientEndpoint, "localhost": HostnameEndpoint}
        for host, kind in kinds.items():
            endpoint = endpoint_to(MemoryReactorClock(), host, 1, 2.0)
            self.assertIsInstance(endpoint, kind)
