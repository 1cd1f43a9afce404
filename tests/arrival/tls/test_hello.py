"""The host name in the first TLS message: found however it is split, and whatever surrounds it."""

from __future__ import annotations

import ssl

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.tls.hello import MAX_BYTES, MAX_RECORDS, server_name


def hello(name: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What Python's TLS says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = version
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("unreachable")


def in_records(data: bytes, size: int, most: int = MAX_RECORDS) -> bytes:
    """The same message in records of this size; the last of so many holds all the rest."""
    message, cut = data[5:], size * (most - 1)
    parts = [message[at : at + size] for at in range(0, min(len(message), cut), size)]
    parts += [message[cut:]] if message[cut:] else []
    return b"".join(data[:3] + len(part).to_bytes(2) + part for part in parts)


class HelloTests(SynchronousTestCase):
    def test_names(self) -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertEqual(server_name(hello("Hosp.Example", version)), "hosp.example")
            self.assertEqual(server_name(hello(None, version)), "")

    def test_not_before_it_is_whole(self) -> None:
        data = hello("hosp.example")
        for end in range(len(data)):
            self.assertIsNone(server_name(data[:end]), end)
        self.assertEqual(server_name(data + b"more"), "hosp.example")

    def test_in_many_records(self) -> None:
        data = hello("hosp.example")
        for size in (1, 3, 4, 100):
            cut = in_records(data, size)
            self.assertEqual(server_name(cut), "hosp.example", size)
            self.assertIsNone(server_name(cut[:-1]), size)

    def test_what_is_none(self) -> None:
        for data in (
            b"GET / HTTP/1.1\r\n",
            b"\x15\x03\x01",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x00\x01\x02",
            b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
            b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        ):
            self.assertEqual(server_name(data), "", data)

    def test_not_waited_for_without_end(self) -> None:
        endless = in_records(b"\x16\x03\x01\x00\x00\x01\x00\x7f\x00" + bytes(MAX_BYTES), 256)
        self.assertIsNone(server_name(endless[: MAX_BYTES - 1]))
        self.assertEqual(server_name(endless[:MAX_BYTES]), "")

    def test_in_too_many_records(self) -> None:
        """Thousands of them would be gone through again with every byte that comes."""
        data = hello("hosp.example")
        cut = in_records(data, 1, most=MAX_RECORDS + 1)
        self.assertIsNone(server_name(cut[: 6 * MAX_RECORDS - 1]))
        self.assertEqual(server_name(cut[: 6 * MAX_RECORDS]), "")

    @given(st.binary(max_size=400), st.integers(0, 600), st.binary(max_size=3))
    def test_nothing_breaks_it(self, noise: bytes, at: int, change: bytes) -> None:
        server_name(noise)
        server_name(b"\x16\x03\x01" + noise)
        data = hello("hosp.example")
        server_name(data[:at] + change + data[at + len(change) :])
