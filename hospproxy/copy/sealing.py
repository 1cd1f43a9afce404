"""Seals the states of records, each record's under a key of its own, which is sealed under the master key."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

from attrs import field, frozen

from ..keys.encryption import Seal, Unsealable
from ..keys.secrets import KEY_BYTES, MasterKey

_PURPOSE = "copy of records"
_OWN_KEY = "record-k"
"""Stands where other sealed content names its master key: a state is sealed with its record's key."""


@frozen(slots=True)
class RecordKey:
    """The key of one record: it seals its states, and makes the digests that recognise them.

    :param place: resource and id of the record.
    """

    secret: bytes = field(repr=False)
    place: str
    random: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def seal(self, content: bytes, number: int) -> bytes:
        """Encrypt one state, for its place in the history.

        :param number: of the state in the record's history; it can be read as no other.
        """
        return self._seal().seal(content, f"{self.place} {number}")

    def open(self, sealed: bytes, number: int) -> bytes:
        """Decrypt one state, if it was sealed for this place.

        :raise Unsealable: it is damaged, or belongs to another place.
        """
        return self._seal().open(sealed, f"{self.place} {number}")

    @property
    def for_digests(self) -> bytes:
        """The key of the hashes by which content is recognised."""
        return hmac.digest(self.secret, b"digests", hashlib.sha256)

    def _seal(self) -> Seal:
        return Seal(self.secret, _OWN_KEY, self.random)


class KeyRing:
    """Makes and opens the keys of records.

    :param random: makes keys and nonces.
    """

    def __init__(self, master: MasterKey, random: Callable[[int], bytes] = os.urandom) -> None:
        self._seal = Seal.of(master, _PURPOSE, random)
        self._random = random

    def make(self, place: str) -> tuple[RecordKey, bytes]:
        """Return a new key, and the same key as it is stored."""
        secret = self._random(KEY_BYTES)
        return RecordKey(secret, place, self._random), self._seal.seal(secret, f"key of {place}")

    def open(self, stored: bytes, place: str) -> RecordKey:
        """Return the key of a record from its stored form.

        :raise Unsealable: it was sealed with another master key or for another record, or is damaged.
        """
        return RecordKey(self._seal.open(stored, f"key of {place}"), place, self._random)

    def is_current(self, stored: bytes) -> bool:
        """Whether a stored key is sealed with the first master key, and not with one that is being replaced."""
        return stored[:8] == self._seal.key_id.encode("ascii")

    def seal_again(self, stored: bytes, place: str) -> bytes:
        """Return a stored key, sealed with the first master key.

        :raise Unsealable: as ``open``.
        """
        return self._seal.seal(self.open(stored, place).secret, f"key of {place}")

    def witness(self) -> bytes:
        """Return what tells later whether a file belongs to this master key."""
        return self._seal.seal(b"copy", "witness")

    def knows(self, witness: bytes) -> bool:
        """Whether one of the master keys made this witness."""
        try:
            return self._seal.open(witness, "witness") == b"copy"
        except Unsealable:
            return False


def place_of(resource: str, record_id: str) -> str:
    """Return the name of a record, in the files and for its seals."""
    return f"{resource}/{record_id}"
