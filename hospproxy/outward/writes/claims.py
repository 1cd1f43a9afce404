"""The seam between writes and what other workers and machines know of writes, and what stands there without any."""
# ruff: noqa: ARG002 - what is alone needs no arguments

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen

from ...errors import ProxyError
from ...messages import Exchange, Identity, Response
from .entries import State

if TYPE_CHECKING:
    from .entries import Entry, Names


@frozen(slots=True)
class Turn:
    """What a write that may be sent now begins with.

    :param trusted: others' writes can be seen, so that a look at HOSP can tell this one's record from theirs.
    :param floor: the highest id of its resource that any worker had seen; when the one that it takes over began.
    :param sent_ago_s: seconds since the last moment at which that one may have been sent; None if it takes over none.
    :param began_ago_s: seconds since that one began.
    :param blind: this may have been sent long ago, and nobody knows when.
    """

    trusted: bool = True
    floor: int | None = None
    sent_ago_s: float | None = None
    began_ago_s: float = 0.0
    blind: bool = False


@frozen(slots=True)
class Known:
    """A write of another worker.

    :param told: a client was told that its outcome is unknown.
    :param orphan: open, and nobody is left who finds out: it is to be taken over.
    """

    reference: str
    state: State
    told: bool = False
    orphan: bool = False
    record: str | None = None
    answer: Response | None = field(default=None, repr=False)
    author: str = ""


class Unseen(ProxyError):
    """Whether another worker has this key cannot be known at present. Nothing was sent."""

    status = 503
    outcome = "refused"

    def __init__(self) -> None:
        super().__init__(
            "Whether this Idempotency-Key was used cannot be known at present, so nothing was sent.",
            retry_after_s=5,
        )


class Elsewhere(Exception):
    """Another worker has the write to this key: its answer is the answer.

    :param reference: of that write.
    """

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        self.reference = reference


class Rejoined:
    """What others know of a write of this process that an equal one may be the retry of."""

    YES = "yes"
    HANDED_OVER = "handed over"
    WAITED_FOR = "waited for"


class Claims(Protocol):
    """What workers and machines say to each other of their writes. Nothing here raises but what is named."""

    async def first(self, names: Names) -> str | None:
        """The write of another worker that one without a key is the retry of; it waits for it from now on."""

    async def rejoin(self, reference: str, deadline: float) -> str:
        """Whether a write that this process knows may be joined: one of ``Rejoined``.

        :param deadline: monotonic seconds until which it is waited for.
        """

    async def keyed(self, names: Names) -> str | None:
        """The write under this key to wait for; None: nobody has it, or it will be a matter of turns.

        :raise Refused: 409, 422.
        :raise Unseen: it cannot be known.
        """

    async def claim(self, entry: Entry, highest: int | None) -> Turn:
        """Claim the turn of a write, and its key, before it is sent; waits until its deadline.

        :param highest: the highest id of its resource that this worker has seen.
        :raise OverCapacity: the turn did not come. Nothing was sent.
        :raise Refused, Unseen, Elsewhere: of its key.
        """

    async def known(self, reference: str) -> Known | None:
        """A write; None if there is none of that name, or it cannot be seen at present."""

    async def settled(self, reference: str, exchange: Exchange) -> Known | None:
        """Wait for a write of another worker.

        :param exchange: who waits as its retry, until its deadline or until its client leaves.
        :return: settled or an orphan; None: not in time.
        """

    async def learn(self, entry: Entry) -> bool | None:
        """Before a look is judged: take in what others did meanwhile.

        :return: True: it may be judged; False: it never may; None: not now.
        """

    async def settle(self, entry: Entry, state: State, *, keeps_turn: bool = False) -> None:
        """What became of a write. It reaches the others at some time.

        :param keeps_turn: none of its turn may be sent before this is said once more without it.
        """

    async def give_back(self, entry: Entry) -> None:
        """A claim of which nothing was sent."""

    async def tell_unknown(self, entry: Entry) -> None:
        """Its client is told that the outcome is unknown."""

    def adopt(self, entry: Entry) -> None:
        """An entry of an earlier process of this machine."""

    def lost(self, entry: Entry) -> None:
        """Its client went before it had the answer."""

    def handed_over(self, reference: str) -> None:
        """A client has the answer."""

    def left(self, reference: str) -> None:
        """Whoever waited for it as its retry left without an answer."""

    def is_author(self, known: Known, identity: Identity | None) -> bool:
        """Whether a write is this member of staff's."""

    def begin_epoch(self) -> None:
        """Redis may have lost what was said there: say it again."""

    def stop(self) -> None:
        """Say nothing any more."""


class NoClaims:
    """There are no others."""

    async def first(self, names: Names) -> str | None:
        return None

    async def rejoin(self, reference: str, deadline: float) -> str:
        return Rejoined.YES

    async def keyed(self, names: Names) -> str | None:
        return None

    async def claim(self, entry: Entry, highest: int | None) -> Turn:
        return Turn()

    async def known(self, reference: str) -> Known | None:
        return None

    async def settled(self, reference: str, exchange: Exchange) -> Known | None:
        return None

    async def learn(self, entry: Entry) -> bool | None:
        return True

    async def settle(self, entry: Entry, state: State, *, keeps_turn: bool = False) -> None:
        pass

    async def give_back(self, entry: Entry) -> None:
        pass

    async def tell_unknown(self, entry: Entry) -> None:
        pass

    def adopt(self, entry: Entry) -> None:
        pass

    def lost(self, entry: Entry) -> None:
        pass

    def handed_over(self, reference: str) -> None:
        pass

    def left(self, reference: str) -> None:
        pass

    def is_author(self, known: Known, identity: Identity | None) -> bool:
        return False

    def begin_epoch(self) -> None:
        pass

    def stop(self) -> None:
        pass
