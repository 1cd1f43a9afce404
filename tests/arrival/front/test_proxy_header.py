"""Parsing of the PROXY protocol's header."""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.front.proxy_header import (
    MAX_LENGTH_1,
    MAX_LENGTH_2,
    SIGNATURE_2,
    ProxyHeader,
    ProxyHeaderError,
    parse_proxy_header,
)

TCP4 = b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 443\r\n"


def version_2(
    command: int = 0x21,
    family: int = 0x11,
    addresses: bytes = b"",
    tlvs: bytes = b"",
    length: int | None = None,
) -> bytes:
    content = addresses + tlvs
    size = len(content) if length is None else length
    return SIGNATURE_2 + struct.pack("!BBH", command, family, size) + content


def ipv4(source: str = "192.0.2.9") -> bytes:
    return socket.inet_aton(source) + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 56324, 443)


def ipv6(source: str = "2001:db8::9") -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "::1")
    return ends + struct.pack("!HH", 56324, 443)


UNIX = b"/run/a\0".ljust(108, b"\0") + b"/run/b\0".ljust(108, b"\0")
TLVS = b"\x01\x00\x02h2" + b"\x04\x00\x01\x00"

WHOLE = (
    (TCP4, "192.0.2.9"),
    (b"PROXY TCP6 2001:db8::9 ::1 1 65535\r\n", "2001:db8::9"),
    (b"PROXY TCP6 ::ffff:192.0.2.9 ::1 0 0\r\n", "192.0.2.9"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff:f::ffff ffff:f::ffff 65535 65535\r\n", ""),
    (version_2(addresses=ipv4()), "192.0.2.9"),
    (version_2(addresses=ipv4(), tlvs=TLVS), "192.0.2.9"),
    (version_2(family=0x21, addresses=ipv6()), "2001:db8::9"),
    (version_2(family=0x21, addresses=ipv6("::ffff:192.0.2.9"), tlvs=TLVS), "192.0.2.9"),
    (version_2(family=0x31, addresses=UNIX), ""),
    (version_2(family=0x00), ""),
    (version_2(family=0x00, tlvs=TLVS), ""),
    (version_2(family=0x10, addresses=ipv4()), "192.0.2.9"),
    (version_2(command=0x20, family=0x00), ""),
    (version_2(command=0x20, family=0x11, addresses=ipv4()), ""),
    (version_2(command=0x20, family=0xFF, tlvs=b"whatever"), ""),
    (version_2(addresses=ipv4(), tlvs=b"x" * (MAX_LENGTH_2 - 12)), "192.0.2.9"),
)

MALFORMED = (
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01",  # a ClientHello
    b"proxy TCP4",
    b"PROXY\r\n",
    b"PROXY TCP4 192.0.2.9 198.51.100.1 56324\r\n",
    b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 443 \r\n",
    b"PROXY TCP4  192.0.2.9 198.51.100.1 56324 443\r\n",
    b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 65536\r\n",
    b"PROXY TCP4 192.0.2.9 198.51.100.1 056324 443\r\n",
    b"PROXY TCP4 192.0.2.999 198.51.100.1 56324 443\r\n",
    b"PROXY TCP4 192.0.2.09 198.51.100.1 56324 443\r\n",
    b"PROXY TCP4 2001:db8::9 ::1 56324 443\r\n",
    b"PROXY TCP6 192.0.2.9 198.51.100.1 56324 443\r\n",
    b"PROXY UDP4 192.0.2.9 198.51.100.1 56324 443\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN a\nb\r\n",
    b"PROXY " + b"A" * (MAX_LENGTH_1 - 6),
    b"PROXY UNKNOWN " + b"A" * MAX_LENGTH_1 + b"\r\n",
    SIGNATURE_2[:-1] + b"\r",
    version_2(command=0x11, addresses=ipv4()),
    version_2(command=0x22, addresses=ipv4()),
    version_2(family=0x12, addresses=ipv4()),
    version_2(family=0x41, addresses=ipv4()),
    version_2(addresses=ipv4()[:-1]),
    version_2(family=0x21, addresses=ipv4()),
    version_2(family=0x31, addresses=UNIX[:-1]),
    version_2(length=MAX_LENGTH_2 + 1),
    version_2(command=0x20, family=0, length=MAX_LENGTH_2 + 1),
)


class HeaderTests(SynchronousTestCase):
    def test_whole_ones(self) -> None:
        for data, source in WHOLE:
            for rest in (b"", b"\x16\x03\x01", b"PROXY TCP4 "):
                self.assertEqual(parse_proxy_header(data + rest), ProxyHeader(len(data), source), data)

    def test_every_part_of_one_may_still_become_whole(self) -> None:
        for data, _ in WHOLE:
            for cut in range(len(data)):
                self.assertIsNone(parse_proxy_header(bytearray(data[:cut])), (data, cut))

    def test_malformed_ones(self) -> None:
        for data in MALFORMED:
            error = self.assertRaises(ProxyHeaderError, parse_proxy_header, data)
            self.assertNotIn("192", str(error))

    def test_what_is_malformed_stays_so_and_is_judged_at_a_bounded_length(self) -> None:
        for data in MALFORMED:
            fails = [cut for cut in range(len(data) + 1) if self.fails(data[:cut])]
            self.assertEqual(fails, list(range(fails[0], len(data) + 1)), data)
            self.assertLessEqual(fails[0], MAX_LENGTH_1)

    def fails(self, data: bytes) -> bool:
        try:
            parse_proxy_header(data)
        except ProxyHeaderError:
            return True
        return False

    @given(
        st.binary(max_size=300),
        st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE_2, SIGNATURE_2 + b"!"]),
    )
    def test_any_bytes(self, data: bytes, beginning: bytes) -> None:
        """A header, a part of one, or a refusal; and never longer than what came."""
        try:
            header = parse_proxy_header(beginning + data)
        except ProxyHeaderError:
            return
        if header is not None:
            self.assertLessEqual(header.length, len(beginning + data))
        else:
            self.assertLess(len(beginning + data), 16 + MAX_LENGTH_2)

    @given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=64))
    def test_any_address(self, address: object, port: int, rest: bytes) -> None:
        version = address.version  # type: ignore[attr-defined]
        line = f"PROXY TCP{version} {address} {address} {port} {port}\r\n".encode()
        packed = address.packed * 2 + struct.pack("!HH", port, port)  # type: ignore[attr-defined]
        binary = version_2(family=0x11 if version == 4 else 0x21, addresses=packed)
        said = str(getattr(address, "ipv4_mapped", None) or address)
        self.assertEqual(parse_proxy_header(line + rest), ProxyHeader(len(line), said))
        self.assertEqual(parse_proxy_header(binary + rest), ProxyHeader(len(binary), said))
