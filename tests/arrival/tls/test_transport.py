"""What is received and sent on an open TLS connection."""

from __future__ import annotations

import gc
import itertools
import ssl
import weakref
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.tls.transport import RecordEnds
from tests.arrival.certificates import TlsClient
from tests.arrival.tls.test_tls import TlsCase

RECORDS = st.lists(st.binary(max_size=40), min_size=1, max_size=6)


def record(content: bytes) -> bytes:
    return b"\x17\x03\x03" + len(content).to_bytes(2) + content


class RecordEndsTests(SynchronousTestCase):
    @given(RECORDS, st.data())
    def test_bytes_are_one_record_exactly_if_they_are(
        self, contents: list[bytes], data: st.DataObject
    ) -> None:
        """However the stream is cut, only a piece that begins and ends with a record counts as one."""
        records = [record(content) for content in contents]
        stream = b"".join(records)
        edges = [sum(map(len, records[:number])) for number in range(len(records) + 1)]
        places = st.one_of(st.sampled_from(edges), st.integers(0, len(stream)))
        cuts = sorted({0, len(stream), *data.draw(st.lists(places, max_size=8))})
        ends = RecordEnds()
        whole = set(itertools.pairwise(edges))
        for begin, end in itertools.pairwise(cuts):
            expected = (begin, end) in whole and end - begin > 5
            self.assertEqual(ends.is_one(stream[begin:end]), expected)


class OpenConnectionTests(TlsCase):
    def opened(self) -> TlsClient:
        return self.client(self.factory(self.authority.issue("a.example"))).shake()

    def test_a_response_leaves_within_the_call(self) -> None:
        client = self.opened()
        client.tls.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.server.dataReceived(client._out.read())
        client._in.write(client.wire.value())
        self.assertIn(b"200 OK", client.tls.read(65536))

    def test_records_that_arrive_together_or_in_pieces(self) -> None:
        def sent(client: TlsClient, *parts: bytes) -> bytes:
            for part in parts:
                client.tls.write(part)
            return client._out.read()

        head = (b"GET /one HTTP/1.1\r\n", b"Host: a\r\n\r\n")
        for size in (1, 7, 30, 1000):
            client = self.opened()
            data = sent(client, *head) + sent(client, b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n")
            for at in range(0, len(data), size):
                client.server.dataReceived(data[at : at + size])
            self.assertEqual([each.path for each in self.handler.handled[-2:]], [b"/one", b"/two"], size)

    def test_a_close_is_answered_with_a_close(self) -> None:
        client = self.opened()
        with self.assertRaises(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.pump()
        client.tls.unwrap()
        self.assertTrue(client.wire.disconnecting)

    def test_garbage_ends_the_connection(self) -> None:
        for data in (record(b"garbage"), b"garbage that is no record"):
            client = self.opened()
            client.server.dataReceived(data)
            self.assertTrue(client.wire.disconnecting or client.wire.disconnected)

    def test_openssl_frees_its_memory_as_soon_as_the_connection_ends(self) -> None:
        """No cycle holds it until the next garbage collection."""
        client = self.opened()
        client.ask()
        connection = weakref.ref(client.server._tlsConnection)
        gc.disable()
        self.addCleanup(gc.enable)
        client.server.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(connection())
        self.assertEqual(len(self.listener_context.connections), 0)

    def test_nothing_is_written_after_a_close(self) -> None:
        client: Any = self.opened()
        client.server.unregisterProducer()
        client.server.loseConnection()
        client.wire.clear()
        client.server.write(b"late")
        self.assertEqual(client.wire.value(), b"")
