"""What stands behind a process's own memory: answers that all workers and machines have in common, if there are any."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from ..messages import Response
from ..sharing.kinds import ALONE, Sharing
from .fills import Fill


@frozen(slots=True)
class Found:
    """An answer that another process may have kept.

    :param response: without what belongs to one exchange alone.
    :param began: monotonic seconds at which it was at the earliest made.
    :param answered: monotonic seconds from which its time runs; not later than it was.
    """

    response: Response
    began: float
    answered: float


@frozen(slots=True)
class Ticket:
    """The generations of an answer's tags as they were before HOSP was asked: what the answer may be kept with.

    :param name: of the answer, beyond this process.
    :param tags: that it carries.
    :param epoch: of Redis.
    :param generations: of the tags, in their order.
    :param redis_ms: Redis's time at the look.
    :param received: monotonic seconds at which that was known.
    :param position: number of the last entry in the log at the look.
    """

    name: bytes
    tags: tuple[str, ...]
    epoch: bytes
    generations: tuple[bytes, ...]
    redis_ms: int
    received: float
    position: int


class Level(Protocol):
    """Answers outside of the process."""

    async def look(
        self, name: bytes, tags: tuple[str, ...], wanted: bool
    ) -> tuple[Found | None, Ticket | None]:
        """An answer that nothing has struck since HOSP was asked for it, and what the next one may be kept with.

        Never fails: what is away, or nonsense, is not there.

        :param wanted: False where only the ticket is.
        """

    def keep(self, ticket: Ticket, found: Found, lifetime_s: float) -> None:
        """Keep an answer for the others. May be lost.

        :param lifetime_s: seconds for which it is fresh, from ``found.answered``.
        """


class NoLevel:
    """There is nothing outside."""

    async def look(
        self,
        name: bytes,  # noqa: ARG002
        tags: tuple[str, ...],  # noqa: ARG002
        wanted: bool,  # noqa: ARG002
    ) -> tuple[Found | None, Ticket | None]:
        return None, None

    def keep(self, ticket: Ticket, found: Found, lifetime_s: float) -> None:
        pass


class Second:
    """The second level, as far as a fetch may use it.

    :param level: where the answers are.
    :param sharing: knows whether this process hears of what others write. While it does not, nothing that is kept there
        may be given out: the writer who cannot reach Redis could not strike it either.
    """

    def __init__(self, level: Level | None = None, sharing: Sharing = ALONE) -> None:
        self._level: Level = NoLevel() if level is None else level
        self._sharing = sharing

    async def look(
        self, fill: Fill, name: bytes, tags: tuple[str, ...]
    ) -> tuple[Found | None, Ticket | None]:
        """What there is for a fetch, right at the moment of returning, and the ticket for its answer."""
        if not fill.keep or not self._sharing.may_serve:
            return None, None
        found, ticket = await self._level.look(name, tags, not fill.wish.no_cache)
        if fill.doomed or not self._sharing.may_serve:
            found = None
        return found, ticket

    def keep(self, ticket: Ticket | None, found: Found, lifetime_s: float) -> None:
        """Keep HOSP's answer for the others."""
        if ticket is not None and self._sharing.may_serve:
            self._level.keep(ticket, found, lifetime_s)
