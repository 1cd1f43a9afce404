"""What memory wants of whatever keeps it over a restart."""

from __future__ import annotations

from typing import Protocol

from ..messages import Identity
from .store import Entry, Mark


class Keeper(Protocol):
    """Keeps answers, accepted credentials and open changes of accounts beyond the process.

    What is given is done in the order in which it is given, and later; ``settled`` waits for it.
    """

    def put(self, entry: Entry, tags: tuple[str, ...], mark: Mark = Mark.CLEAN) -> None:
        """Keep an answer under its name. May be lost."""

    def mark(self, tag: str, mark: Mark, owner: str | None = None) -> None:
        """Mark all answers with a tag; with an owner only those that carry this tag, too."""

    def drop(self, tag: str) -> None:
        """Forget all answers with a tag, and the acceptance of credentials that it names."""

    def forget_all(self) -> None:
        """Forget all answers and all accepted credentials."""

    async def get(self, name: bytes) -> tuple[Entry, Mark] | None:
        """An answer as it is marked at the moment of returning; it is never fresh."""

    def accept(self, identity: Identity, ago_s: float = 0.0) -> None:
        """HOSP has accepted these credentials, so many seconds ago."""

    async def accepted(self, credentials: bytes) -> tuple[Identity, float] | None:
        """Whose credentials they are, and the seconds since HOSP accepted them; unless it was revoked."""

    def doubt(self, staff_id: str | None, is_open: bool) -> None:
        """A change of an account (None: of any) is under way or of unknown outcome, or is not any more."""

    async def settled(self) -> bool:
        """Wait until all that was given is done; False if it is not and older things may still be there."""


class Nowhere:
    """Keeps nothing beyond the process."""

    def put(self, entry: Entry, tags: tuple[str, ...], mark: Mark = Mark.CLEAN) -> None:
        pass

    def mark(self, tag: str, mark: Mark, owner: str | None = None) -> None:
        pass

    def drop(self, tag: str) -> None:
        pass

    def forget_all(self) -> None:
        pass

    async def get(self, name: bytes) -> tuple[Entry, Mark] | None:  # noqa: ARG002
        return None

    def accept(self, identity: Identity, ago_s: float = 0.0) -> None:
        pass

    async def accepted(self, credentials: bytes) -> tuple[Identity, float] | None:  # noqa: ARG002
        return None

    def doubt(self, staff_id: str | None, is_open: bool) -> None:
        pass

    async def settled(self) -> bool:
        return True
