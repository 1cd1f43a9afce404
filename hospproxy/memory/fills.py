"""Answers on their way from HOSP: one fetch for equal requests, and what a write does to those that began before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from math import ceil

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ProxyError
from ..messages import Exchange, Response
from .bounded import LastChanges
from .directives import Wish
from .store import Entry

GRACE_S = 0.1
"""The stations below end by the same deadline and know better what went wrong: they speak first."""
MOST_STRUCK = 10_000
"""Tags of which it is known when they were struck last."""

_MICRO = 1_000_000
_log = Logger()


@frozen(slots=True)
class Fetched:
    """What came back.

    :param fresh_s: seconds for which it is kept; None if it is not.
    :param why_not: why it is not kept; "" if there is nothing to say.
    :param entry: the answer of another process that is given instead of HOSP's.
    """

    response: Response
    fresh_s: float | None = None
    why_not: str = ""
    entry: Entry | None = None


@define(slots=True, eq=False)
class Fill:
    """One fetch and all who wait for it.

    :param tags: those that its answer carries.
    :param exchange: of the fetch alone: it outlives the request that began it.
    :param began: monotonic seconds.
    :param keep: whether the answer may be kept at all.
    :param wish: how fresh an answer from memory must be for all who wait.
    :param doomed: something that it may have read was written meanwhile: it is neither kept nor joined any more.
    """

    key: bytes
    tags: frozenset[str]
    exchange: Exchange
    began: float
    keep: bool
    wish: Wish = field(factory=Wish)
    doomed: bool = False
    _waiting: list[Deferred[Fetched]] = field(factory=list)
    _task: Deferred[None] | None = None
    _outcome: Fetched | Failure | None = None


Fetch = Callable[[Fill], Awaitable[Fetched]]


class Fills:
    """The fetches under way. There are never more than there are requests in the house.

    :param clock: monotonic time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._running: set[Fill] = set()
        self._joinable: dict[bytes, Fill] = {}
        self._struck: LastChanges[str] = LastChanges(MOST_STRUCK)

    def __len__(self) -> int:
        return len(self._running)

    def joinable(self, key: bytes) -> Fill | None:
        """The fetch that an equal request may wait for."""
        return self._joinable.get(key)

    def begin(
        self,
        key: bytes,
        tags: Iterable[str],
        exchange: Exchange,
        keep: bool,
        fetch: Fetch,
        wish: Wish = Wish(),  # noqa: B008 - frozen
    ) -> Fill:
        """Begin a fetch. It runs on its own: whoever asked may leave.

        :param exchange: for the fetch alone.
        :param keep: whether the answer may be kept.
        :param fetch: does it.
        :param wish: of who asks; others' are added as they join.
        """
        before = self._joinable.get(key)
        if before is not None:
            # A newer one for the same key: the older must not overwrite what this one will keep.
            self._doom(before)
        fill = Fill(key, frozenset(tags), exchange, self._clock.seconds(), keep, wish)
        self._running.add(fill)
        self._joinable[key] = fill

        async def whole() -> Fetched:
            return await fetch(fill)

        task = Deferred.fromCoroutine(whole()).addBoth(lambda outcome: self._end(fill, outcome))
        fill._task = task
        return fill

    async def wait(self, fill: Fill, deadline: float) -> Fetched:
        """The outcome of a fetch.

        :param deadline: monotonic time after which this one waits no longer.
        :raise ProxyError: a 504 at the deadline; or whatever the fetch raised, for everybody who waits for it.
        """
        waiter: Deferred[Fetched] = Deferred(lambda gone: self._leave(fill, gone))
        if fill._outcome is not None:
            _hand_over(fill._outcome, waiter)
            return await waiter
        fill._waiting.append(waiter)
        # As long as anybody has time left, HOSP may take it.
        fill.exchange.deadline = max(fill.exchange.deadline, deadline)
        patience = max(0.0, deadline - self._clock.seconds()) + GRACE_S
        late = self._clock.callLater(patience, self._expire, fill, waiter)
        try:
            return await waiter
        finally:
            if late.active():
                late.cancel()

    def doom(self, tags: Iterable[str]) -> int:
        """What began before now and carries one of the tags is not kept, and nobody joins it any more."""
        struck = frozenset(tags)
        for tag in struck:
            self._struck.note(tag, ceil(self._clock.seconds() * _MICRO))
        hit = [fill for fill in self._running if not fill.doomed and not struck.isdisjoint(fill.tags)]
        for fill in hit:
            self._doom(fill)
        return len(hit)

    def struck(self, tags: Iterable[str]) -> float:
        """Monotonic seconds at which one of the tags was struck last, or not much later: what was asked of HOSP before
        then may be out of date, whoever asked."""
        return max((self._struck.of(tag) for tag in tags), default=0) / _MICRO

    def _doom(self, fill: Fill) -> None:
        fill.doomed = True
        if self._joinable.get(fill.key) is fill:
            del self._joinable[fill.key]

    def _end(self, fill: Fill, outcome: Fetched | Failure) -> None:
        fill._outcome = outcome
        self._running.discard(fill)
        self._doom(fill)
        waiting, fill._waiting = fill._waiting, []
        if not waiting and isinstance(outcome, Failure) and not outcome.check(CancelledError, ProxyError):
            _log.failure("a fetch failed for which nobody waits any more", outcome)
        for waiter in waiting:
            if not waiter.called:
                _hand_over(outcome, waiter)

    def _leave(self, fill: Fill, waiter: Deferred[Fetched]) -> None:
        if waiter in fill._waiting:
            fill._waiting.remove(waiter)
        if not fill._waiting and fill._outcome is None and fill._task is not None:
            self._doom(fill)
            fill._task.cancel()

    def _expire(self, fill: Fill, waiter: Deferred[Fetched]) -> None:
        self._leave(fill, waiter)
        waiter.errback(ProxyError("There was no answer in time.", status=504))


def _hand_over(outcome: Fetched | Failure, waiter: Deferred[Fetched]) -> None:
    if isinstance(outcome, Failure):
        # A Failure of its own: the first to read a shared one would change its traceback for the rest.
        waiter.errback(Failure(outcome.value))
    else:
        waiter.callback(outcome)
