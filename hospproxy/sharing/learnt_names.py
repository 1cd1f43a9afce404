"""Names of keys in Redis. They contain an HMAC; its secret is stored in Redis, sealed, so that all workers share it."""

from __future__ import annotations

from collections.abc import Callable

from ..keys.encryption import Unsealable
from .kinds import Away, NamesLike, NamesMaker, Sealing


class LearntNames:
    """Makes names of keys, once the secret has been read from Redis.

    :param prefix: what all names begin with.
    :param complain: called with the problem when the secret cannot be read.
    :ivar foreign: whether the secret cannot be read and never could. This worker then shares nothing,
        slots at HOSP included.
    """

    def __init__(
        self, vault: Sealing, make: NamesMaker, prefix: str, complain: Callable[[str], object]
    ) -> None:
        self._vault = vault
        self._make = make
        self._prefix = prefix
        self._complain = complain
        self._names: NamesLike | None = None
        self._proposed: bytes | None = None
        self.foreign = False

    def key(self, kind: str, data: bytes | None = None) -> bytes:
        """Return the name of a key in Redis; see ``RedisScripts.key``.

        :raise Away: with data, while the secret is not known.
        """
        if data is None:
            return b"{" + self._prefix.encode() + b"}:" + kind.encode()
        if self._names is None:
            raise Away("Redis has not been reached yet")
        return self._names.key(self._prefix, kind, data)

    @property
    def proposed(self) -> bytes:
        """A new sealed secret, which ``open.lua`` stores if Redis has none yet."""
        if self._proposed is None:
            self._proposed = self._make(self._vault, None).sealed(self._vault)
        return self._proposed

    def learn(self, sealed: bytes) -> bytes | None:
        """Take over the secret that all workers use.

        :param sealed: the secret from the head.
        :return: the secret sealed with the current master key, if an earlier one had sealed it; else None.
        :raise Away: it belongs to another master key.
        """
        try:
            self._names = self._make(self._vault, sealed)
        except Unsealable as error:
            self.foreign = self._names is None
            self._complain(
                f"the data in Redis belongs to another master key ({error}). This worker shares nothing and sends HOSP"
                " no requests: give it the others' master_key_file, or another redis.prefix"
            )
            raise Away("the key of names cannot be read") from None
        self.foreign = False
        return None if self._vault.is_current(sealed) else self._names.sealed(self._vault)
