"""The second level of the cache: responses that all workers and machines share, if there are any."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from ..http.messages import Response
from ..sharing.kinds import ALONE, Sharing
from .fills import Fill


@frozen(slots=True)
class SharedHit:
    """A response that another process may have stored.

    :param response: without the fields that belong to one exchange only.
    :param began: monotonic seconds of the earliest time at which HOSP can have made it.
    :param answered: monotonic seconds from which its freshness counts; never later than HOSP's response.
    """

    response: Response
    began: float
    answered: float


@frozen(slots=True)
class LookupTicket:
    """The generations of a response's tags before HOSP was asked; the response may be stored only with these.

    :param name: of the entry, beyond this process.
    :param tags: of the entry.
    :param epoch: of Redis.
    :param generations: of the tags, in their order.
    :param redis_ms: Redis's time at the lookup.
    :param received: monotonic seconds at which the reply arrived.
    :param position: number of the last entry in the log at the lookup.
    """

    name: bytes
    tags: tuple[str, ...]
    epoch: bytes
    generations: tuple[bytes, ...]
    redis_ms: int
    received: float
    position: int


class SecondLevel(Protocol):
    """Responses stored outside of the process."""

    async def look(
        self, name: bytes, tags: tuple[str, ...], wanted: bool
    ) -> tuple[SharedHit | None, LookupTicket | None]:
        """A response that nothing has invalidated since HOSP was asked, and the ticket for storing the next one.

        Never fails: what is unreachable or invalid counts as absent.

        :param wanted: False if only the ticket is needed.
        """

    def keep(self, ticket: LookupTicket, found: SharedHit, lifetime_s: float) -> None:
        """Store a response for the other processes. It may be lost.

        :param lifetime_s: seconds for which it is fresh, from ``found.answered``.
        """


class NoSecondLevel:
    """For a process without a second level."""

    async def look(
        self,
        name: bytes,  # noqa: ARG002
        tags: tuple[str, ...],  # noqa: ARG002
        wanted: bool,  # noqa: ARG002
    ) -> tuple[SharedHit | None, LookupTicket | None]:
        return None, None

    def keep(self, ticket: LookupTicket, found: SharedHit, lifetime_s: float) -> None:
        pass


class SecondLevelAccess:
    """The second level, as far as a fetch may use it.

    :param level: stores the responses.
    :param sharing: tells whether this process receives the news of others' writes. While it does not, nothing from the
        second level may be served: a worker that cannot reach Redis could not invalidate it there either.
    """

    def __init__(self, level: SecondLevel | None = None, sharing: Sharing = ALONE) -> None:
        self._level: SecondLevel = NoSecondLevel() if level is None else level
        self._sharing = sharing

    async def look(
        self, fill: Fill, name: bytes, tags: tuple[str, ...]
    ) -> tuple[SharedHit | None, LookupTicket | None]:
        """What the second level has for a fetch at the moment of return, and the ticket for the fetch's response."""
        if not fill.keep or not self._sharing.may_serve:
            return None, None
        found, ticket = await self._level.look(name, tags, not fill.wish.no_cache)
        if fill.doomed or not self._sharing.may_serve:
            found = None
        return found, ticket

    def keep(self, ticket: LookupTicket | None, found: SharedHit, lifetime_s: float) -> None:
        """Store HOSP's response for the other processes."""
        if ticket is not None and self._sharing.may_serve:
            self._level.keep(ticket, found, lifetime_s)
