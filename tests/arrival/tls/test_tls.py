"""TLS in memory: names select certificates, sessions stay with theirs, clients present certificates."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.drain import FIRST_REQUEST_S
from hospproxy.arrival.listener_context import ListenerContext
from hospproxy.arrival.tls.certificates import CertificatePair
from hospproxy.arrival.tls.contexts import ClientAuthorities, TlsConnectionCreator, TlsContexts, TlsFactory
from hospproxy.arrival.tls.secure import SecureFactory
from hospproxy.http.messages import Headers, Response
from hospproxy.options.arrival_section import ArrivalSettings
from tests.arrival.certificates import Issued, TestAuthority, TlsClient, trusting
from tests.arrival.memory_transport import Recorder

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def credentials(issued: Issued) -> CertificatePair:
    return CertificatePair(issued.key, (issued.certificate,))


class TlsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.authority = TestAuthority()
        self.clock = Clock()
        self.handler = Recorder()
        self.counted: list[str] = []

    def factory(
        self, *issued: Issued, authorities: ClientAuthorities | None = None, **more: Any
    ) -> TlsFactory:
        limits = ArrivalSettings(**{key: more.pop(key) for key in list(more) if key != "hsts_s"})
        self.listener_context = ListenerContext(handler=self.handler, clock=self.clock, limits=limits)
        self.listener_context.handshakes.count = self.counted.append
        self.doorway = TlsConnectionCreator(
            TlsContexts.of([credentials(each) for each in issued], authorities)
        )
        return TlsFactory(self.doorway, SecureFactory(self.listener_context, **more), self.clock)

    def client(self, factory: Any, name: str | None = None, **more: Any) -> TlsClient:
        context = more.pop("context", None) or trusting(self.authority)
        return TlsClient(factory, context, name, **more)


class Names(TlsCase):
    def test_the_name_picks_the_certificate(self) -> None:
        first, second, wild = (
            self.authority.issue("a.example", "both.example"),
            self.authority.issue("B.example", "both.example", "x.w.example"),
            self.authority.issue("*.w.example"),
        )
        factory = self.factory(first, second, wild)
        for name, expected in (
            ("a.example", first),
            ("b.example", second),
            ("both.example", first),
            ("y.w.example", wild),
            ("x.w.example", second),
            ("x.y.w.example", first),
            ("w.example", first),
            ("none.example", first),
            (None, first),
        ):
            for version in VERSIONS:
                client = self.client(factory, name, context=trusting(self.authority, version)).shake()
                self.assertEqual(client.shown, expected.certificate, name)
                self.assertIn(b"200 OK", client.ask())

    def test_the_name_may_come_byte_by_byte(self) -> None:
        second = self.authority.issue("b.example")
        client = self.client(self.factory(self.authority.issue("a.example"), second), "b.example")
        try:
            client.tls.do_handshake()
        except ssl.SSLWantReadError:
            for byte in client._out.read():
                client.server.dataReceived(bytes([byte]))
        self.assertEqual(client.shake().shown, second.certificate)

    def test_a_session_is_taken_up_by_its_own_certificate_only(self) -> None:
        factory = self.factory(self.authority.issue("a.example"), self.authority.issue("b.example"))
        for version in VERSIONS:
            context = trusting(self.authority, version)
            first = self.client(factory, "a.example", context=context).shake()
            first.ask()
            session = first.tls.session
            again = self.client(factory, "a.example", context=context, session=session).shake()
            self.assertTrue(again.tls.session_reused, version)
            other = self.client(factory, "b.example", context=context, session=session).shake()
            self.assertFalse(other.tls.session_reused, version)

    def test_ticket_keys_go_with_the_contexts(self) -> None:
        one = self.authority.issue("a.example")
        factory, context = self.factory(one), trusting(self.authority)
        first = self.client(factory, "a.example", context=context).shake()
        first.ask()
        self.doorway.contexts = TlsContexts.of([credentials(one)])
        again = self.client(factory, "a.example", context=context, session=first.tls.session).shake()
        self.assertFalse(again.tls.session_reused)
        self.assertIn(b"200 OK", first.ask(), "an open connection stays")


class ClientCertificates(TlsCase):
    def shown(self, issued: Issued, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        context = trusting(self.authority, version)
        context.load_cert_chain(*issued.write(Path(self.mktemp()), "client"))
        return context

    def guarded(self, *, required: bool, by: TestAuthority | None = None) -> TlsFactory:
        trusted = ClientAuthorities(((by or self.authority).certificate,), required)
        return self.factory(self.authority.issue("a.example"), authorities=trusted)

    def test_it_is_on_record(self) -> None:
        issued = self.authority.issue("ward7.example", client=True)
        for required in (False, True):
            for version in VERSIONS:
                self.handler.handled.clear()
                client = self.client(self.guarded(required=required), context=self.shown(issued, version))
                client.shake().ask()
                (request,) = self.handler.handled
                certificate = request.client.certificate
                assert certificate is not None
                self.assertEqual(
                    (certificate.subject, certificate.names), ("CN=ward7.example", ("ward7.example",))
                )
                self.assertEqual(len(certificate.sha256), 64)

    def test_it_stays_known_in_a_session_that_is_taken_up(self) -> None:
        for version in VERSIONS:
            context = self.shown(self.authority.issue("ward7.example", client=True), version)
            factory = self.guarded(required=True)
            first = self.client(factory, context=context).shake()
            first.ask()
            again = self.client(factory, context=context, session=first.tls.session).shake()
            again.ask()
            self.assertTrue(again.tls.session_reused)
            one, other = self.handler.handled[-2:]
            self.assertIsNotNone(one.client.certificate)
            self.assertEqual(other.client.certificate, one.client.certificate)

    def test_what_the_house_counts_it_counts_for_these_too(self) -> None:
        self.handler.answer = lambda _: Response(200, Headers(((b"x", b"a\r\nb"),)))
        context, factory = (
            self.shown(self.authority.issue("w", client=True)),
            self.guarded(required=True),
        )
        for _ in range(2):
            self.assertIn(b" 500 ", self.client(factory, context=context).shake().ask())
        self.assertEqual(self.listener_context.tally.unwritable, 2)

    def test_none(self) -> None:
        client = self.client(self.guarded(required=False)).shake()
        self.assertIn(b"200 OK", client.ask())
        self.assertIsNone(self.handler.handled[0].client.certificate)
        with self.assertRaises(ssl.SSLError):
            self.client(self.guarded(required=True)).shake().ask()
        self.assertEqual(len(self.handler.handled), 1)

    def test_of_somebody_else_or_another_purpose_or_ended(self) -> None:
        for issued in (
            TestAuthority("Other CA").issue("ward7.example", client=True),
            self.authority.issue("ward7.example"),
            self.authority.issue("ward7.example", client=True, since=-10, days=5),
        ):
            for required in (False, True):
                with self.assertRaises(ssl.SSLError):
                    self.client(self.guarded(required=required), context=self.shown(issued)).shake().ask()
        self.assertEqual(self.handler.handled, [])

    def test_one_department_only(self) -> None:
        """An authority can be named without the one above it."""
        wards = TestAuthority("Wards", issuer=self.authority)
        factory = self.guarded(required=True, by=wards)
        self.client(factory, context=self.shown(wards.issue("ward7.example", client=True))).shake().ask()
        self.assertEqual(len(self.handler.handled), 1)
        with self.assertRaises(ssl.SSLError):
            stranger = self.shown(self.authority.issue("lab.example", client=True))
            self.client(factory, context=stranger).shake().ask()


class Answers(TlsCase):
    def test_hsts(self) -> None:
        one = self.authority.issue("a.example")
        bad = b"GET / HTTP/1.1\r\n\r\n"
        for hsts_s, expected in ((0, False), (300, True)):
            for request in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bad):
                answer = self.client(self.factory(one, hsts_s=hsts_s)).shake().ask(request)
                self.assertEqual(b"strict-transport-security: max-age=300\r\n" in answer, expected, answer)
        self.assertEqual(len(self.handler.refused), 2)


class Limits(TlsCase):
    def test_a_handshake_that_never_ends(self) -> None:
        factory = self.factory(self.authority.issue("a.example"), handshake_timeout_s=3)
        mute, quick = self.client(factory), self.client(factory).shake()
        self.clock.advance(2.9)
        self.assertFalse(mute.wire.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(mute.wire.disconnected)
        self.assertFalse(quick.wire.disconnected)
        self.assertEqual((self.counted, len(self.listener_context.handshakes)), (["done", "timed_out"], 0))

    def test_a_handshake_in_progress_when_the_proxy_stops(self) -> None:
        for version in VERSIONS:
            client = self.client(
                self.factory(self.authority.issue("a.example")), context=trusting(self.authority, version)
            )
            self.assertRaises(ssl.SSLWantReadError, client.tls.do_handshake)
            client.pump()
            self.listener_context.connections.drain(30)
            self.clock.advance(1)
            answer = client.shake().ask()
            self.assertIn(b"200 OK", answer)
            self.assertIn(b"connection: close", answer)

    def test_one_that_takes_longer_than_the_stop_waits(self) -> None:
        client = self.client(self.factory(self.authority.issue("a.example")))
        self.patch(client.wire, "abortConnection", lambda: None)  # TCP reports the end of an abort later
        self.listener_context.connections.drain(30)
        self.clock.advance(FIRST_REQUEST_S - 0.1)
        self.assertFalse(client.wire.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(client.wire.disconnecting)

    def test_bytes_do_not_wind_it_up_again(self) -> None:
        two = self.authority.issue("a.example"), self.authority.issue("b.example")
        client = self.client(self.factory(*two, handshake_timeout_s=3))
        for _ in range(3):
            client.server.dataReceived(b"\x16")
            self.clock.advance(1)
        self.assertTrue(client.wire.disconnected)

    def test_no_tls(self) -> None:
        for certificates in (1, 2):
            issued = [self.authority.issue(f"{number}.example") for number in range(certificates)]
            client = self.client(self.factory(*issued))
            client.server.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b"HTTP/1.1 400 ", client.wire.value())
            self.assertIn(b"Use https://", client.wire.value())
            self.assertTrue(client.wire.half_closed)
            client.server.connectionLost(None)
            self.assertEqual(self.counted[-1], "failed")

    def test_at_one_time(self) -> None:
        factory = self.factory(self.authority.issue("a.example"), max_handshakes_per_address=2)
        first, _ = self.client(factory), self.client(factory)
        peer = first.wire.getPeer()
        self.assertIsNone(factory.buildProtocol(peer))
        first.shake()
        self.assertIsNotNone(factory.buildProtocol(peer), "what is open and done counts no more")
