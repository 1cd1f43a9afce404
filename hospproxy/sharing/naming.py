"""The names of keys in Redis: the key of their HMAC is in Redis too, sealed, so that all share it."""

from __future__ import annotations

from collections.abc import Callable

from ..outward.ledger.sealing import Unsealable
from .kinds import Away, NamesLike, NamesMaker, Sealing


class Naming:
    """Names, once they are known.

    :param prefix: what all of them begin with.
    :param complain: told once what is wrong.
    :ivar foreign: they cannot be read, and never could: this worker has no part in what is shared,
        places at HOSP included.
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
        """The name of a key.

        :raise Away: it is not known yet.
        """
        if data is None:
            return b"{" + self._prefix.encode() + b"}:" + kind.encode()
        if self._names is None:
            raise Away("Redis has not been reached yet")
        return self._names.key(self._prefix, kind, data)

    @property
    def proposed(self) -> bytes:
        """Sealed names, for whoever is the first."""
        if self._proposed is None:
            self._proposed = self._make(self._vault, None).sealed(self._vault)
        return self._proposed

    def learn(self, sealed: bytes) -> bytes | None:
        """The names that all use.

        :return: the same, sealed anew, where an earlier master key has sealed them.
        :raise Away: they belong to another master key.
        """
        try:
            self._names = self._make(self._vault, sealed)
        except Unsealable as error:
            self.foreign = self._names is None
            self._complain(
                f"what is in Redis belongs to another master key ({error}). This worker stays by itself and asks HOSP"
                " nothing: give it the others' master_key_file, or another redis.prefix"
            )
            raise Away("the key of names cannot be read") from None
        self.foreign = False
        return None if self._vault.is_current(sealed) else self._names.sealed(self._vault)
