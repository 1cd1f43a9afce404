"""The PROXY protocol's header, versions 1 and 2: bytes in, an address or a refusal out. Pure.

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
"""Bytes of the longest line of version 1, its CRLF included (section 2.1)."""
MAX_LENGTH_2: Final = 4096
"""Bytes of addresses and TLVs in version 2: section 2.2 asks for 520; certificates' names may come with them."""
_FIXED_2: Final = 16

_LINE = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")
_FAMILIES: Final = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}
"""Bytes of both addresses, by address family: unspecified, IPv4, IPv6, UNIX."""
_LOCAL, _PROXY = 0x20, 0x21


class ProxyHeaderError(ValueError):
    """These bytes are no PROXY header, whatever may follow them. The text holds none of them."""


@frozen(slots=True)
class ProxyHeader:
    """A whole header.

    :param length: bytes that it takes.
    :param source: address of the connection that the sender speaks of; "" where it speaks of none (health checks of its
        own, UNIX sockets, what it does not know): then the connection is what it is.
    """

    length: int
    source: str = ""


def parse_proxy_header(data: bytes | bytearray) -> ProxyHeader | None:
    """Read the header at the beginning of a connection; however the bytes are cut into reads, the outcome is the same.

    :param data: all that has arrived so far.
    :return: None if it may still become one.
    :raise ProxyHeaderError: it cannot.
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
    """Version, command, family and transport, as far as they have come.

    :raise ProxyHeaderError: one of them is not assigned, or of no use over TCP.
    """
    command = data[12] if len(data) > 12 else _LOCAL
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("its version or command is unknown")
    if command == _LOCAL or len(data) <= 13:
        return  # section 2.2: of LOCAL everything else is to be ignored
    family, transport = data[13] >> 4, data[13] & 0xF
    # 0: unspecified, 1: stream. A datagram's header on a TCP connection is somebody's mistake.
    if family not in _FAMILIES or transport > 1:
        raise ProxyHeaderError("its address family or transport is unknown")


def _display(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)
