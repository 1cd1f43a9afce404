"""Plain HTTP on a TLS port."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.tls.contexts import TlsTransport
from hospproxy.arrival.tls.plain_hint import HINT, is_plain_http


class Half(StringTransport):
    """A transport that knows whether our side was closed."""

    half = False

    def loseWriteConnection(self) -> None:
        self.half = True


class PlainHint(SynchronousTestCase):
    def transport(self) -> Any:
        made: Any = TlsTransport.__new__(TlsTransport)
        made._hello, made._plain = bytearray(), False
        made.transport = Half()
        made.factory = SimpleNamespace(doorway=SimpleNamespace(contexts=SimpleNamespace(named={"a": 1})))
        return made

    def test_what_is_http(self) -> None:
        for data in (b"GET / HTTP/1.1\r\n", b"P", b"PRI * HTTP/2.0", b"get"):
            self.assertTrue(is_plain_http(data), data)
        for data in (b"\x16\x03\x01", b"\x15", b"", b" GET", b"\r\nGET", b"\x80"):
            self.assertFalse(is_plain_http(data), data)

    def test_the_hint_is_awhole_response(self) -> None:
        head, _, body = HINT.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 400 "))
        self.assertIn(b"Content-Length: %d" % len(body), head)
        self.assertIn(b"https://", body)

    def test_it_is_sent_once_whatever_follows(self) -> None:
        made = self.transport()
        for data in (b"GET / HTTP/1.1\r\n", b"Host: x\r\n\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"):
            made.dataReceived(data)
        self.assertEqual((made.transport.value(), made.transport.half), (HINT, True))

    def test_the_second_read_of_aclient_hello_may_begin_with_aletter(self) -> None:
        made = self.transport()
        made.dataReceived(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        made.dataReceived(b"GET")
        self.assertEqual(made.transport.value(), b"")
