"""Encryption of everything in the ledger that came from a client or HOSP (AES-256-GCM, NIST SP 800-38D)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .secrets import MasterKey

_NONCE_BYTES = 12


class Unsealable(Exception):
    """The content was sealed with another key or for another place, or is damaged. It is never used."""


@frozen(slots=True)
class Seal:
    """Encrypts bytes for one place, and decrypts them for that place only.

    :param key: 32 bytes, derived for this purpose only.
    :param key_id: eight hexadecimal digits that identify the master key; they precede the ciphertext.
    :param random: makes nonces.
    :param further: keys derived from other master keys, by key id. They only decrypt.
    """

    key: bytes = field(repr=False)
    key_id: str
    random: Callable[[int], bytes] = os.urandom
    further: Mapping[str, bytes] = field(factory=dict, repr=False)

    @classmethod
    def of(cls, master: MasterKey, purpose: str, random: Callable[[int], bytes] = os.urandom) -> Seal:
        """A Seal with the key for one purpose. It also decrypts what further master keys have sealed for it."""
        further = {each.key_id: each.subkey(purpose) for each in master.further}
        return cls(master.subkey(purpose), master.key_id, random, further)

    def seal(self, plain: bytes, place: str) -> bytes:
        """Encrypt bytes for one place in the store.

        :param place: where the content will be stored. It cannot be decrypted for any other place.
        """
        nonce = self.random(_NONCE_BYTES)
        return self.key_id.encode("ascii") + nonce + AESGCM(self.key).encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypt bytes that were sealed for this place.

        :raise Unsealable: they cannot be decrypted; the text says why.
        """
        key_id, nonce, rest = sealed[:8], sealed[8 : 8 + _NONCE_BYTES], sealed[8 + _NONCE_BYTES :]
        key = self._key_of(key_id)
        if key is None:
            raise Unsealable("sealed with another master key")
        try:
            return AESGCM(key).decrypt(nonce, rest, place.encode())
        except (InvalidTag, ValueError):
            raise Unsealable("damaged, or sealed for another place") from None

    def _key_of(self, key_id: bytes) -> bytes | None:
        if key_id == self.key_id.encode("ascii"):
            return self.key
        return self.further.get(key_id.decode("ascii", "replace"))
