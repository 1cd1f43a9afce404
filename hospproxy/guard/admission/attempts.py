"""What a request claims, as keys under which it can be counted. Pure."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from typing import Final

from attrs import field, frozen

from ...arrival.front.trust import source_of
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
        return self._of(b"address ", source_of(address))

    def _of(self, kind: bytes, text: str) -> bytes:
        return hmac.digest(self.names, kind + text.encode("utf-8", "surrogatepass"), hashlib.sha256)
