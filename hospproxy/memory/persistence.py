"""Interface to what stores the memory over a restart."""

from __future__ import annotations

from typing import Protocol

from ..http.messages import Identity
from .store import CacheEntry, EntryMark


class Persistence(Protocol):
    """Stores responses, accepted credentials and open changes of accounts beyond the process.

    Operations are carried out later, in the order of the calls; ``settled`` waits for them.
    """

    def put(self, entry: CacheEntry, tags: tuple[str, ...], mark: EntryMark = EntryMark.CLEAN) -> None:
        """Store a response under its name. It may be lost."""

    def mark(self, tag: str, mark: EntryMark, owner: str | None = None) -> None:
        """Mark all entries with a tag; with an owner, only those that carry this second tag too."""

    def drop(self, tag: str) -> None:
        """Delete all entries with a tag, and the acceptance of the credentials that it names."""

    def forget_all(self) -> None:
        """Delete all entries and all accepted credentials."""

    async def get(self, name: bytes) -> tuple[CacheEntry, EntryMark] | None:
        """An entry with its mark at the moment of return; it is never fresh."""

    def accept(self, identity: Identity, ago_s: float = 0.0) -> None:
        """HOSP accepted these credentials this many seconds ago."""

    async def accepted(self, credentials: bytes) -> tuple[Identity, float] | None:
        """The principal of these credentials, and the seconds since HOSP accepted them; None if unknown or revoked."""

    def doubt(self, staff_id: str | None, is_open: bool) -> None:
        """A change of an account (None: of any) is in flight or has an unknown outcome; or no longer."""

    async def settled(self) -> bool:
        """Wait until all operations so far are done; False if they failed and older content may still be stored."""


class NoPersistence:
    """Stores nothing beyond the process."""

    def put(self, entry: CacheEntry, tags: tuple[str, ...], mark: EntryMark = EntryMark.CLEAN) -> None:
        pass

    def mark(self, tag: str, mark: EntryMark, owner: str | None = None) -> None:
        pass

    def drop(self, tag: str) -> None:
        pass

    def forget_all(self) -> None:
        pass

    async def get(self, name: bytes) -> tuple[CacheEntry, EntryMark] | None:  # noqa: ARG002
        return None

    def accept(self, identity: Identity, ago_s: float = 0.0) -> None:
        pass

    async def accepted(self, credentials: bytes) -> tuple[Identity, float] | None:  # noqa: ARG002
        return None

    def doubt(self, staff_id: str | None, is_open: bool) -> None:
        pass

    async def settled(self) -> bool:
        return True
