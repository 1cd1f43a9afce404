"""Interface to what other workers and machines know about writes; ``NoClaims`` for a process that is alone."""
# ruff: noqa: ARG002 - what is alone needs no arguments

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen

from ...exchange.exchange import Identified
from ...http.errors import ProxyError
from ...http.messages import Identity, Response
from .entry import WriteState

if TYPE_CHECKING:
    from .entry import WriteEntry, WriteNames


@frozen(slots=True)
class WriteTurn:
    """The right to send a write, with what must be known for its looks.

    :param trusted: other workers' writes are visible, so a look at HOSP can tell this write's record from theirs.
    :param floor: the highest id of its resource that any worker had seen; if this write takes another over, when that
        one began.
    :param sent_ago_s: seconds since the last moment at which the write taken over may have been sent; None if there is
        none.
    :param began_ago_s: seconds since the write taken over began.
    :param blind: this write may have been sent long ago, at an unknown time.
    :param seen_s: seconds for which all other workers' writes have been visible without a break.
    """

    trusted: bool = True
    floor: int | None = None
    sent_ago_s: float | None = None
    began_ago_s: float = 0.0
    blind: bool = False
    seen_s: float = math.inf


@frozen(slots=True)
class KnownWrite:
    """What is known about a write of another worker.

    :param told: a client was told that its outcome is unknown.
    :param orphan: it is open, and no worker is left that finds out its outcome: take it over.
    """

    reference: str
    state: WriteState
    told: bool = False
    orphan: bool = False
    record: str | None = None
    answer: Response | None = field(default=None, repr=False)
    author: str = ""


class ClaimUnknown(ProxyError):
    """It cannot be known now whether another worker has this key. Nothing was sent."""

    status = 503
    outcome = "refused"

    def __init__(self) -> None:
        super().__init__(
            "It cannot be checked now whether this Idempotency-Key was used, so nothing was sent.",
            retry_after_s=5,
        )


class ClaimedElsewhere(Exception):
    """Another worker has the write under this key: use its response.

    :param reference: of that write.
    """

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        self.reference = reference


class RejoinResult:
    """Result of asking whether an equal write may join a write of this process as its retry."""

    YES = "yes"
    HANDED_OVER = "handed over"
    WAITED_FOR = "waited for"


class Claims(Protocol):
    """Exchanges what workers and machines know about their writes. Methods raise only what they name."""

    async def first(self, names: WriteNames) -> str | None:
        """Reference of another worker's write that a write without a key retries, and now waits for; or None."""

    async def rejoin(self, reference: str, deadline: float) -> str:
        """Whether a retry may join a write that this process knows: one of ``RejoinResult``.

        :param deadline: monotonic seconds; how long to wait for the reply.
        """

    async def keyed(self, names: WriteNames) -> str | None:
        """Reference of the write under this key to wait for; None: no worker has the key, or ``claim`` will settle it.

        :raise Refused: 409: the key is in use; 422: it belongs to another request.
        :raise Unseen: it cannot be known now.
        """

    async def claim(self, entry: WriteEntry, highest: int | None) -> WriteTurn:
        """Claim the turn of a write, and its key, before it is sent. Waits until its deadline.

        :param highest: the highest id of its resource that this worker has seen.
        :raise OverCapacity: the turn did not come. Nothing was sent.
        :raise Refused, Unseen, Elsewhere: about its key, see ``keyed``.
        """

    async def known(self, reference: str) -> KnownWrite | None:
        """A write by its reference; None if there is none, or it cannot be seen now."""

    async def settled(self, reference: str, exchange: Identified) -> KnownWrite | None:
        """Wait for a write of another worker.

        :param exchange: the retry that waits, until its deadline or until its client leaves.
        :return: settled or an orphan; None: not in time.
        """

    async def learn(self, entry: WriteEntry) -> bool | None:
        """Before a look is judged, learn what others did meanwhile.

        :return: True: judge it; False: it can never be judged; None: not now.
        """

    async def settle(self, entry: WriteEntry, state: WriteState, *, keeps_turn: bool = False) -> None:
        """Report the outcome of a write. The report is repeated until the others have it.

        :param keeps_turn: no write with the same turn may be sent until this is reported again without it.
        """

    async def give_back(self, entry: WriteEntry) -> None:
        """Give back a claim of which nothing was sent."""

    async def tell_unknown(self, entry: WriteEntry) -> None:
        """Report that the client is told "unknown"."""

    def adopt(self, entry: WriteEntry) -> None:
        """Take on an entry of an earlier process of this machine."""

    def lost(self, entry: WriteEntry) -> None:
        """Report that the client left before it had the response."""

    def handed_over(self, reference: str) -> None:
        """Report that a client has received the response."""

    def left(self, reference: str) -> None:
        """Report that the retry that waited for it left without a response."""

    def is_author(self, known: KnownWrite, identity: Identity | None) -> bool:
        """Whether a write was made by this member of staff."""

    def stop(self) -> None:
        """Stop reporting to other workers."""


class NoClaims:
    """For a process that is alone: no other worker writes."""

    async def first(self, names: WriteNames) -> str | None:
        return None

    async def rejoin(self, reference: str, deadline: float) -> str:
        return RejoinResult.YES

    async def keyed(self, names: WriteNames) -> str | None:
        return None

    async def claim(self, entry: WriteEntry, highest: int | None) -> WriteTurn:
        return WriteTurn()

    async def known(self, reference: str) -> KnownWrite | None:
        return None

    async def settled(self, reference: str, exchange: Identified) -> KnownWrite | None:
        return None

    async def learn(self, entry: WriteEntry) -> bool | None:
        return True

    async def settle(self, entry: WriteEntry, state: WriteState, *, keeps_turn: bool = False) -> None:
        pass

    async def give_back(self, entry: WriteEntry) -> None:
        pass

    async def tell_unknown(self, entry: WriteEntry) -> None:
        pass

    def adopt(self, entry: WriteEntry) -> None:
        pass

    def lost(self, entry: WriteEntry) -> None:
        pass

    def handed_over(self, reference: str) -> None:
        pass

    def left(self, reference: str) -> None:
        pass

    def is_author(self, known: KnownWrite, identity: Identity | None) -> bool:
        return False

    def stop(self) -> None:
        pass
