"""Fetches in flight: one for equal requests (single-flight), and how a write affects those that began before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from math import ceil

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..exchange.exchange import Identified
from ..http.errors import ProxyError
from ..http.messages import Response
from ..process.single_flight import Flight
from .bounded import LastChanges
from .directives import CacheDirectives
from .store import CacheEntry

GRACE_S = 0.1
"""Seconds to wait beyond the deadline: the inner processors have the same deadline and a more exact error."""
MOST_STRUCK = 10_000
"""Maximum number of tags whose last invalidation is remembered."""

_MICRO = 1_000_000
_log = Logger()


@frozen(slots=True)
class Fetched:
    """The result of a fetch, and whether it was stored.

    :param fresh_s: seconds for which it is stored as fresh; None if it is not stored.
    :param why_not: why it is not stored; "" if there is no reason to report.
    :param entry: another process's entry, served instead of a response from HOSP.
    """

    response: Response
    fresh_s: float | None = None
    why_not: str = ""
    entry: CacheEntry | None = None


@define(slots=True, eq=False)
class Fill:
    """One fetch, and all requests that wait for it.

    :param tags: tags of its response.
    :param exchange: belongs to the fetch only, because the fetch outlives the request that began it.
    :param began: monotonic seconds.
    :param keep: whether the response may be stored at all.
    :param wish: how fresh a cache entry must be for all who wait.
    :param doomed: a write may have changed what it reads: it is not stored, and no further request joins it.
    :param flight: the work, and who waits for it.
    """

    key: bytes
    tags: frozenset[str]
    exchange: Identified
    began: float
    keep: bool
    wish: CacheDirectives = field(factory=CacheDirectives)
    doomed: bool = False
    flight: Flight[Fetched] = field(factory=Flight)


Fetch = Callable[[Fill], Awaitable[Fetched]]


class Fills:
    """The fetches in flight. There are never more of them than requests in the proxy.

    :param clock: monotonic time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._running: dict[Fill, None] = {}  # not a set: the order must not depend on memory addresses
        self._joinable: dict[bytes, Fill] = {}
        self._struck: LastChanges[str] = LastChanges(MOST_STRUCK)

    def __len__(self) -> int:
        return len(self._running)

    def joinable(self, key: bytes) -> Fill | None:
        """The fetch that an equal request may wait for; None if there is none."""
        return self._joinable.get(key)

    def begin(
        self,
        key: bytes,
        tags: Iterable[str],
        exchange: Identified,
        keep: bool,
        fetch: Fetch,
        wish: CacheDirectives = CacheDirectives(),  # noqa: B008 - frozen
    ) -> Fill:
        """Begin a fetch. It runs independently of the request that began it.

        :param exchange: for the fetch only.
        :param keep: whether the response may be stored.
        :param fetch: makes the response.
        :param wish: of the first request; those of others are added when they join.
        """
        before = self._joinable.get(key)
        if before is not None:
            # The older fetch for this key must not overwrite what the new one will store.
            self._doom(before)
        fill = Fill(key, frozenset(tags), exchange, self._clock.seconds(), keep, wish)
        self._running[fill] = None
        self._joinable[key] = fill

        fill.flight.start(
            lambda: fetch(fill),
            abandoned=lambda: self._doom(fill),
            ended=lambda outcome, heard: self._end(fill, outcome, heard),
        )
        return fill

    async def wait(self, fill: Fill, deadline: float) -> Fetched:
        """Wait for the result of a fetch.

        :param deadline: monotonic seconds at which this wait ends.
        :raise ProxyError: 504 at the deadline; or the error of the fetch, for every waiting request.
        """
        waiter = fill.flight.wait()
        if waiter.called:
            return await waiter
        # HOSP may take as long as the most patient waiter allows.
        fill.exchange.due.extend_to(deadline)
        patience = max(0.0, deadline - self._clock.seconds()) + GRACE_S
        late = self._clock.callLater(
            patience,
            lambda: fill.flight.send_away(waiter, ProxyError("There was no response in time.", status=504)),
        )
        try:
            return await waiter
        finally:
            if late.active():
                late.cancel()

    def doom(self, tags: Iterable[str]) -> int:
        """Doom the fetches in flight that carry one of the tags. Returns how many there were."""
        struck = frozenset(tags)
        for tag in struck:
            self._struck.note(tag, ceil(self._clock.seconds() * _MICRO))
        hit = [fill for fill in self._running if not fill.doomed and not struck.isdisjoint(fill.tags)]
        for fill in hit:
            self._doom(fill)
        return len(hit)

    def struck(self, tags: Iterable[str]) -> float:
        """Monotonic seconds of the last invalidation of any of the tags, or slightly later.

        A response that HOSP was asked for before that may be stale, in any process.
        """
        return max((self._struck.of(tag) for tag in tags), default=0) / _MICRO

    def _doom(self, fill: Fill) -> None:
        fill.doomed = True
        if self._joinable.get(fill.key) is fill:
            del self._joinable[fill.key]

    def _end(self, fill: Fill, outcome: Fetched | Failure, heard: bool) -> None:
        self._running.pop(fill, None)
        self._doom(fill)
        if not heard and isinstance(outcome, Failure) and not outcome.check(CancelledError, ProxyError):
            _log.failure(
                "a fetch failed after its clients had left; this is a bug: report the traceback", outcome
            )
