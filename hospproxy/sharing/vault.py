"""Encrypts values for Redis, and hides the data in the names of its keys.

A sealed value (AES-256-GCM, NIST SP 800-38D) is: one byte of format, four bytes that name the master key, sixteen bytes
of salt (one per process), twelve bytes of nonce, then the ciphertext with its tag. The encryption key is derived from
the master key and the salt (HKDF-SHA256, RFC 5869), so each process has its own key and needs unique nonces only within
itself: a counter in the nonce never repeats, and its random part keeps two copies of one process (a cloned virtual
machine) apart.
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from twisted.logger import Logger

from ..exchange.words import RefusedValue
from ..interfaces import IMeter
from ..keys.encryption import Unsealable
from ..keys.secrets import MasterKey
from .kinds import Sealing

FORMAT = 1
PURPOSE = "redis values"
SALT_BYTES = 16
NONCE_BYTES = 12
OVERHEAD = 1 + 4 + SALT_BYTES + NONCE_BYTES + 16
"""Bytes by which a sealed value is longer than its plain text."""
MOST_KEYS = 1024
"""Most derived keys of other processes to keep in memory."""
SAY_AGAIN_S = 600.0
_COUNTER_BYTES = 6
_NAME_BYTES = 18
_NAMES_KEY_BYTES = 32
_NAMES = b"names"
"""The name to which the secret for names of keys is bound; it is stored only in the head."""
_log = Logger()


class Vault:
    """Seals with one master key, and opens what any known master key has sealed.

    :param key: the master key, with those that only open (``further``).
    :param seconds: clock in seconds, which limits log lines to one per ``SAY_AGAIN_S`` and reason.
    :param random: returns this many random bytes.
    """

    def __init__(
        self,
        key: MasterKey,
        meter: IMeter,
        seconds: Callable[[], float],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._secrets = {bytes.fromhex(each.key_id): each.subkey(PURPOSE) for each in (*key.further, key)}
        self._key_id = bytes.fromhex(key.key_id)
        self._meter = meter
        self._seconds = seconds
        self._random = random
        self._ready: OrderedDict[bytes, AESGCM] = OrderedDict()
        self._own: tuple[bytes, AESGCM] | None = None
        self._count = 0
        self._said: dict[str, float] = {}

    def seal(self, plain: bytes, name: bytes) -> bytes:
        """Encrypt a value, bound to the name of the key that will hold it.

        :param name: the full name of that key.
        """
        if self._own is None:  # made on first use: twistd forks between building and starting
            self._own = self._new()
        head, cipher = self._own
        nonce = self._random(NONCE_BYTES - _COUNTER_BYTES) + self._count.to_bytes(_COUNTER_BYTES, "big")
        self._count += 1
        return head + nonce + cipher.encrypt(nonce, plain, _bound(name))

    def open(self, sealed: bytes, name: bytes) -> bytes:
        """Decrypt a value. A failure is counted, and logged once per reason and ``SAY_AGAIN_S``.

        :param name: the full name of the key that holds it.
        :raise Unsealable: it is damaged, was bound to another name, or was sealed with an unknown master key.
        """
        if not isinstance(sealed, bytes) or len(sealed) < OVERHEAD or sealed[0] != FORMAT:
            raise self._refused("damaged")
        if sealed[1:5] not in self._secrets:
            raise self._refused("unknown_key")
        nonce_at = 5 + SALT_BYTES
        head, rest = sealed[1:nonce_at], nonce_at + NONCE_BYTES
        cipher = self._ready.get(head) or self._made(head)
        try:
            plain = cipher.decrypt(sealed[nonce_at:rest], sealed[rest:], _bound(name))
        except InvalidTag:
            raise self._refused("damaged") from None
        # Keep the key only after a success: a forged salt must not evict a real one.
        self._ready[head] = cipher
        self._ready.move_to_end(head)
        if len(self._ready) > MOST_KEYS:
            self._ready.popitem(last=False)
        return plain

    def is_current(self, sealed: bytes) -> bool:
        """Whether a value names the current master key as the one that sealed it. It is not decrypted."""
        return sealed[1:5] == self._key_id

    def _new(self) -> tuple[bytes, AESGCM]:
        head = self._key_id + self._random(SALT_BYTES)
        return bytes([FORMAT]) + head, self._made(head)

    def _made(self, head: bytes) -> AESGCM:
        """Derive the cipher of one process.

        :param head: id of the master key, and salt.
        """
        secret, salt = self._secrets[head[:4]], head[4:]
        return AESGCM(HKDF(SHA256(), 32, salt, b"hospproxy/1/value").derive(secret))

    def _refused(self, reason: RefusedValue) -> Unsealable:
        self._meter.count("redis_values_refused_total", reason=reason)
        now = self._seconds()
        if now - self._said.get(reason, -SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._said[reason] = now
            _log.warn("a value in Redis is ignored: it is {words}", words=_WORDS[reason])
        return Unsealable(_WORDS[reason])


_WORDS = {
    "unknown_key": "sealed with a master key that this machine does not have",
    "damaged": "damaged, or sealed for another place",
}


def _bound(name: bytes) -> bytes:
    """Return the associated data of a value: the format, and the name of its key."""
    return bytes([FORMAT]) + name


@frozen(slots=True)
class KeyNames:
    """Makes names of keys in Redis. The secret is not derived from the master key, so a new master key renames nothing.

    :param secret: 32 bytes that all workers share.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, random: Callable[[int], bytes] = os.urandom) -> KeyNames:
        """Make a new secret, for a Redis that has none yet."""
        return cls(random(_NAMES_KEY_BYTES))

    @classmethod
    def opened(cls, vault: Sealing, sealed: bytes) -> KeyNames:
        """Open the sealed secret from the head.

        :raise Unsealable: it cannot be read.
        """
        secret = vault.open(sealed, _NAMES)
        if len(secret) != _NAMES_KEY_BYTES:
            raise Unsealable("the secret for names of keys has the wrong length")
        return cls(secret)

    def sealed(self, vault: Sealing) -> bytes:
        """Seal the secret for the head. Repeat it when ``vault.is_current`` says that an earlier key has sealed it."""
        return vault.seal(self.secret, _NAMES)

    def key(self, prefix: str, kind: str, data: bytes | None = None) -> bytes:
        """Return the name of a key in Redis.

        :param prefix: of this installation; the braces put all its keys into one hash slot of a cluster.
        :param kind: a plain word.
        :param data: data that the name must not reveal; the name holds its HMAC.
        """
        said = kind.encode()
        name = b"{" + prefix.encode() + b"}:" + said
        if data is None:
            return name
        hidden = hmac.digest(self.secret, said + b"\0" + data, sha256)[:_NAME_BYTES]
        return name + b":" + hidden.hex().encode()
