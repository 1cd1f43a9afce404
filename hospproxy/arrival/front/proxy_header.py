"""Parse the header of the PROXY protocol, versions 1 and 2. Pure: bytes in, an address or a refusal out.

Source: HAProxy's specification, doc/proxy-protocol.txt, sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from attrs import frozen

SIGNATURE_1: Final = b"PROXY "
SIGNATURE_2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_LENGTH_1: Final = 107
"""Longest version 1 line in bytes, including its CRLF (section 2.1)."""
MAX_LENGTH_2: Final = 4096
"""Longest addresses and TLVs of version 2, in bytes.

Section 2.2 asks for 520, but certificate names may come with them.
"""
_FIXED_2: Final = 16

_LINE = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")
_FAMILIES: Final = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}
"""Bytes of both addresses together, by address family: unspecified, IPv4, IPv6, UNIX."""
_LOCAL, _PROXY = 0x20, 0x21


class ProxyHeaderError(ValueError):
    """These bytes are not a PROXY header, no matter what follows. The error text contains none of them."""


@frozen(slots=True)
class ProxyHeader:
    """A complete PROXY header: how long it is, and which client it names.

    :param length: bytes of the header.
    :param source: address of the client's connection; "" if the header gives none (the sender's own health checks,
        UNIX sockets, UNKNOWN). Then use the address of the connection itself.
    """

    length: int
    source: str = ""


def parse_proxy_header(data: bytes | bytearray) -> ProxyHeader | None:
    """Parse the header at the beginning of a connection.

    The result does not depend on how the bytes are split into reads.

    :param data: everything that has arrived so far.
    :return: None if more bytes are needed.
    :raise ProxyHeaderError: these bytes cannot become a header.
    """
    if data[:1] == SIGNATURE_2[:1]:
        return _version_2(data)
    return _version_1(data)


def _version_1(data: bytes | bytearray) -> ProxyHeader | None:
    if not SIGNATURE_1.startswith(bytes(data[: len(SIGNATURE_1)])):
        raise ProxyHeaderError("there is no PROXY header")
    end = data.find(b"\r\n", 0, MAX_LENGTH_1)
    if end < 0:
        if len(data) >= MAX_LENGTH_1:
            raise ProxyHeaderError("the line is too long")
        return None
    line = bytes(data[:end])
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(end + 2)
    match = _LINE.fullmatch(line)
    if match is None or max(int(match[4]), int(match[5])) > 65535:
        raise ProxyHeaderError("the line is malformed")
    kind = ipaddress.IPv4Address if match[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        source, _destination = (kind(match[part].decode("ascii")) for part in (2, 3))
    except ValueError:
        raise ProxyHeaderError("an address is malformed") from None
    return ProxyHeader(end + 2, _display(source))


def _version_2(data: bytes | bytearray) -> ProxyHeader | None:
    signature = len(SIGNATURE_2)
    if not SIGNATURE_2.startswith(bytes(data[:signature])):
        raise ProxyHeaderError("there is no PROXY header")
    _judge_fixed_part(data)
    if len(data) < _FIXED_2:
        return None
    command, family = data[signature], data[signature + 1] >> 4
    length = int.from_bytes(data[14:16], "big")
    if length > MAX_LENGTH_2:
        raise ProxyHeaderError("it is too long")
    if command == _PROXY and length < _FAMILIES[family]:
        raise ProxyHeaderError("it is too short for its addresses")
    if len(data) < _FIXED_2 + length:
        return None
    if command == _LOCAL or family not in (0x1, 0x2):
        return ProxyHeader(_FIXED_2 + length)
    raw = bytes(data[_FIXED_2 : _FIXED_2 + (4 if family == 0x1 else 16)])
    return ProxyHeader(_FIXED_2 + length, _display(ipaddress.ip_address(raw)))


def _judge_fixed_part(data: bytes | bytearray) -> None:
    """Check version, command, family and transport as far as they have arrived.

    :raise ProxyHeaderError: one of them is unassigned, or makes no sense over TCP.
    """
    command = data[12] if len(data) > 12 else _LOCAL
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("its version or command is unknown")
    if command == _LOCAL or len(data) <= 13:
        return  # section 2.2: with LOCAL, ignore everything else
    family, transport = data[13] >> 4, data[13] & 0xF
    # 0: unspecified, 1: stream. A datagram header on a TCP connection is a mistake of the sender.
    if family not in _FAMILIES or transport > 1:
        raise ProxyHeaderError("its address family or transport is unknown")


def _display(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)
