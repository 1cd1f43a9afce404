"""Listeners: all or none, and checked before anything is bound."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.arrival.authority import PublicHosts
from hospproxy.arrival.factory import Http1Factory
from hospproxy.arrival.front.proxy_protocol import ProxyHeaderFactory
from hospproxy.arrival.front.trust import TrustedProxies
from hospproxy.arrival.listener_context import ListenerContext, new_request_id
from hospproxy.arrival.listeners import BACKLOG, Listener, ListenerError, Listeners
from hospproxy.arrival.plain import PlainHttpMode, PlainPolicy
from hospproxy.arrival.tls.certificates import CERTIFICATE_NAME, KEY_NAME, CertificateError, self_signed
from hospproxy.arrival.tls.contexts import TlsConnectionCreator, TlsContexts, TlsFactory
from hospproxy.interfaces import IHandler
from tests.arrival.memory_transport import Recorder
from tests.arrival.tls.test_certificates import NOW


class ListenersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.state = Path(self.mktemp())
        self.context = ListenerContext(
            handler=Recorder(),
            clock=self.reactor,
            wall=NOW.timestamp,
            public_hosts=PublicHosts.of(["hosp.example:8443", "[2001:db8::1]"]),
        )

    def make(self, *values: Listener) -> Listeners:
        return Listeners(values, self.context, self.state)

    def bound(self) -> list[tuple[str, int, Any]]:
        for _, _, backlog, _ in self.reactor.tcpServers:
            self.assertEqual(backlog, BACKLOG)
        return [(interface, port, factory) for port, factory, _, interface in self.reactor.tcpServers]

    def test_plain_and_tls(self) -> None:
        self.make(
            Listener("https://localhost:8443"),
            Listener("http://0.0.0.0:8080", plain="redirect"),
            Listener("https://[::1]:9443"),
        ).listen(self.reactor)
        (first, second, third) = self.bound()
        self.assertEqual((first[:2], type(first[2])), (("127.0.0.1", 8443), TlsFactory))
        self.assertEqual(second[:2], ("0.0.0.0", 8080))
        self.assertEqual(second[2].plain, PlainPolicy(PlainHttpMode.REDIRECT, 8443))
        self.assertEqual((third[:2], type(third[2])), (("::1", 9443), TlsFactory))

    def test_a_proxy_header_comes_before_everything(self) -> None:
        own = TrustedProxies.of(["192.0.2.0/24"]).networks
        self.context.trust = TrustedProxies.of(["10.0.0.0/8"])
        self.make(
            Listener("https://127.0.0.1:1", proxy_protocol=True),
            Listener("http://127.0.0.1:2", proxy_protocol=True, proxy_protocol_from=own),
        ).listen(self.reactor)
        (secure, plain) = [factory for _, _, factory in self.bound()]
        self.assertEqual((type(secure), type(secure.wrapped)), (ProxyHeaderFactory, TlsFactory))
        self.assertEqual((type(plain), type(plain.wrapped)), (ProxyHeaderFactory, Http1Factory))
        self.assertEqual(
            (secure.senders.networks, plain.senders.networks), (self.context.trust.networks, own)
        )

    def test_sockets_that_listen_already(self) -> None:
        """As in a worker: nothing is bound. The given socket is closed, because its copy is used."""
        taken: list[tuple[int, int, type]] = []

        def adopt(number: int, family: int, factory: Any) -> Any:
            taken.append((number, family, type(factory)))
            return MemoryReactorClock.adoptStreamPort(self.reactor, number, family, factory)

        self.patch(self.reactor, "adoptStreamPort", adopt)
        given = [socket.socket(), socket.socket(socket.AF_INET6)]
        numbers = [each.fileno() for each in given]
        listeners = self.make(Listener("https://127.0.0.1:8443"), Listener("http://[::1]:8080"))
        listeners.listen(self.reactor, given)
        families = (socket.AF_INET, socket.AF_INET6)
        self.assertEqual(taken, list(zip(numbers, families, (TlsFactory, Http1Factory), strict=True)))
        self.assertEqual((self.reactor.tcpServers, [each.fileno() for each in given]), ([], [-1, -1]))
        self.assertEqual(len(listeners.ports), 2)

    def test_no_tls_no_certificate(self) -> None:
        self.make(Listener("http://127.0.0.1:0", plain="serve"))
        self.assertFalse(self.state.exists())

    def test_the_self_signed_certificate_names_the_public_hosts(self) -> None:
        self.make(Listener("https://192.0.2.1:8443"))
        made = (self.state / CERTIFICATE_NAME).read_bytes()
        again = self_signed(self.state, ["hosp.example", "2001:db8::1", "192.0.2.1"], NOW)
        self.assertEqual((self.state / CERTIFICATE_NAME).read_bytes(), made, again)

    def test_nothing_is_bound_before_all_is_checked(self) -> None:
        missing = Listener("https://127.0.0.1:8443", self.state / "no.crt", self.state / "no.key")
        error = self.assertRaises(CertificateError, self.make, Listener("http://127.0.0.1:80"), missing)
        self.assertIn("no.crt", str(error))
        self.assertEqual(self.reactor.tcpServers, [])

    def test_half_a_pair(self) -> None:
        for pair in ((self.state, None), (None, self.state)):
            self.assertRaises(ListenerError, self.make, Listener("https://127.0.0.1:8443", *pair))

    def test_addresses_that_are_none(self) -> None:
        for url in (
            "127.0.0.1:80",
            "ftp://a:1",
            "http://127.0.0.1",
            "http://:80",
            "http://a:99999",
            "http://a:b",
        ):
            error = self.assertRaises(ListenerError, self.make, Listener(url))
            self.assertIn(url, str(error))

    def test_all_or_none(self) -> None:
        stopped: list[int] = []

        def listen(port: int, *rest: Any) -> Any:
            if port == 2:
                raise CannotListenError("", port, OSError("taken"))
            opened = MemoryReactorClock.listenTCP(self.reactor, port, *rest)
            opened.stopListening = lambda: stopped.append(port)
            return opened

        self.patch(self.reactor, "listenTCP", listen)
        listeners = self.make(Listener("http://127.0.0.1:1"), Listener("http://127.0.0.1:2"))
        self.assertRaises(CannotListenError, listeners.listen, self.reactor)
        self.assertEqual((stopped, listeners.ports), ([1], []))

    def test_addresses(self) -> None:
        listeners = self.make(Listener("http://[::1]:1"), Listener("http://[::2]:2"))
        listeners.listen(self.reactor)
        self.assertEqual(listeners.addresses(), [("::1", 1), ("::2", 2)])

    def test_reload(self) -> None:
        self_signed(self.state / "named", [], NOW)
        pair = (self.state / "named" / CERTIFICATE_NAME, self.state / "named" / KEY_NAME)
        listeners = self.make(Listener("https://127.0.0.1:1", *pair), Listener("https://127.0.0.1:2"))
        listeners.listen(self.reactor)
        doorways = [factory.doorway for _, _, factory in self.bound()]
        before = [doorway.contexts for doorway in doorways]
        shown = doorways[0].contexts.first.certificate
        pair[1].rename(pair[1].with_suffix(".aside"))
        self.assertIn("self-signed.key", str(self.assertRaises(CertificateError, listeners.reload)))
        self.assertEqual(doorways[0].contexts.first.certificate, shown)
        pair[1].with_suffix(".aside").rename(pair[1])
        listeners.reload()
        for old, doorway in zip(before, doorways, strict=True):
            self.assertIsNot(doorway.contexts, old)

    def test_stop_without_connections(self) -> None:
        listeners = self.make(Listener("http://127.0.0.1:1"))
        listeners.listen(self.reactor)
        self.assertIsNone(self.successResultOf(listeners.stop(5)))
        self.assertTrue(self.context.connections.draining)

    def test_a_full_house_turns_tls_away_too(self) -> None:
        self.context.connections.draining = True
        listeners = self.make(Listener("https://127.0.0.1:1"))
        listeners.listen(self.reactor)
        ((_, _, factory),) = self.bound()
        self.assertIsNone(factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)))
        self.context.connections.draining = False
        self.assertIsNotNone(factory.buildProtocol(IPv6Address("TCP", "::1", 1)))


class SmallPartsTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        verifyObject(IHandler, Recorder())
        credentials = self_signed(Path(self.mktemp()), [], NOW)
        verifyObject(IOpenSSLServerConnectionCreator, TlsConnectionCreator(TlsContexts.of([credentials])))

    def test_ids(self) -> None:
        ids = {new_request_id() for _ in range(100)}
        self.assertEqual((len(ids), {len(each) for each in ids}), (100, {32}))
