"""HMAC keys under which the claims of a request (address, account, credentials) are counted. Pure."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from attrs import field, frozen

from ...arrival.front.trust import source_of
from ...keys.mac import Mac
from ..credentials import Credentials

MAX_NAME: Final = 256
"""Characters of a claimed name that are used: Unicode normalisation of many accents takes quadratic time."""


_source = lru_cache(maxsize=1024)(source_of)
"""The addresses of a hospital are few, and each request has one."""


@frozen(slots=True)
class LoginAttempt:
    """What a request claims; every key is an HMAC.

    :param credentials: the same value as ``Exchange.credentials``.
    :param name: as claimed.
    """

    address: bytes = field(repr=False)
    account: bytes = field(repr=False)
    credentials: bytes = field(repr=False)
    name: str = field(repr=False)


@frozen(slots=True)
class ClaimKeys:
    """Two secret keys, and the HMACs that they make of a request's claims and address.

    :param credentials: the key under which credentials are remembered in the whole proxy.
    :param names: for claimed names and addresses; used only here.
    """

    credentials: bytes = field(repr=False)
    names: bytes = field(repr=False)
    _of_credentials: Mac = field(init=False, repr=False, eq=False)
    _of_names: Mac = field(init=False, repr=False, eq=False)

    @_of_credentials.default
    def _under_credentials(self) -> Mac:
        return Mac(self.credentials)

    @_of_names.default
    def _under_names(self) -> Mac:
        return Mac(self.names)

    def attempt(self, address: str, credentials: Credentials) -> LoginAttempt:
        """Return the keys of a claim. Names that look alike (case, compatibility forms) count as one account."""
        name = unicodedata.normalize("NFKC", credentials.name[:MAX_NAME]).casefold().strip()
        return LoginAttempt(
            self.address(address),
            self._of(b"account ", name),
            self.known_by(credentials),
            credentials.name,
        )

    def known_by(self, credentials: Credentials) -> bytes:
        """Return the key of credentials, the same value as ``Exchange.credentials``."""
        return self._of_credentials.of(credentials.canonical)

    def address(self, address: str) -> bytes:
        """Return the key of an address."""
        return self._of(b"address ", _source(address))

    def _of(self, kind: bytes, text: str) -> bytes:
        return self._of_names.of(kind + text.encode("utf-8", "surrogatepass"))
