"""What a request claims, as keys under which it can be counted. Pure."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import unicodedata
from typing import Final

from attrs import field, frozen

from ..credentials import Credentials

MAX_NAME: Final = 256
"""Characters of a claimed name that are looked at: to put many accents in order takes the square of their number."""


@frozen(slots=True)
class Attempt:
    """A request by what it claims; every key is an HMAC.

    :param credentials: the same as in ``Exchange.credentials``.
    :param name: as it was claimed.
    """

    address: bytes = field(repr=False)
    account: bytes = field(repr=False)
    credentials: bytes = field(repr=False)
    name: str = field(repr=False)


@frozen(slots=True)
class Keys:
    """Keys of HMACs.

    :param credentials: the one under which credentials are remembered everywhere.
    :param names: of claimed names and addresses, here only.
    """

    credentials: bytes = field(repr=False)
    names: bytes = field(repr=False)

    def attempt(self, address: str, credentials: Credentials) -> Attempt:
        """The keys of a claim. Spellings of one name that somebody could take for each other are one account."""
        name = unicodedata.normalize("NFKC", credentials.name[:MAX_NAME]).casefold().strip()
        return Attempt(
            self.address(address),
            self._of(b"account ", name),
            hmac.digest(self.credentials, credentials.canonical, hashlib.sha256),
            credentials.name,
        )

    def address(self, address: str) -> bytes:
        """The key of an address."""
        return self._of(b"address ", whole_address(address))

    def _of(self, kind: bytes, text: str) -> bytes:
        return hmac.digest(self.names, kind + text.encode("utf-8", "surrogatepass"), hashlib.sha256)


def whole_address(address: str) -> str:
    """What one subscriber has: an IPv4 address, or an IPv6 network of 64 bits (RFC 6177)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
