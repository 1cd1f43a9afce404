"""Everything in the ledger that came from a client or HOSP is sealed (AES-256-GCM, NIST SP 800-38D)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...secrets import MasterKey

_NONCE_BYTES = 12


class Unsealable(Exception):
    """Sealed with another key, for another place, or damaged. It is never used."""


@frozen(slots=True)
class Seal:
    """Seals bytes for one place and opens them there only.

    :param key: 32 bytes, of this purpose alone.
    :param key_id: eight hexadecimal digits that name the master key; they stand before what it has sealed.
    :param random: makes nonces.
    :param further: by their ids, keys of other master keys: they only open.
    """

    key: bytes = field(repr=False)
    key_id: str
    random: Callable[[int], bytes] = os.urandom
    further: Mapping[str, bytes] = field(factory=dict, repr=False)

    @classmethod
    def of(cls, master: MasterKey, purpose: str, random: Callable[[int], bytes] = os.urandom) -> Seal:
        """With a key for one purpose; it also opens what was sealed for it with the further master keys."""
        further = {each.key_id: each.subkey(purpose) for each in master.further}
        return cls(master.subkey(purpose), master.key_id, random, further)

    def seal(self, plain: bytes, place: str) -> bytes:
        """Encrypt.

        :param place: where it will stand; opened for any other place it is refused.
        """
        nonce = self.random(_NONCE_BYTES)
        return self.key_id.encode("ascii") + nonce + AESGCM(self.key).encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypt.

        :raise Unsealable: it cannot be, with words that say which.
        """
        key_id, nonce, rest = sealed[:8], sealed[8 : 8 + _NONCE_BYTES], sealed[8 + _NONCE_BYTES :]
        key = self._key_of(key_id)
        if key is None:
            raise Unsealable("sealed with another master key")
        try:
            return AESGCM(key).decrypt(nonce, rest, place.encode())
        except (InvalidTag, ValueError):
            raise Unsealable("damaged, or from another place") from None

    def _key_of(self, key_id: bytes) -> bytes | None:
        if key_id == self.key_id.encode("ascii"):
            return self.key
        return self.further.get(key_id.decode("ascii", "replace"))
