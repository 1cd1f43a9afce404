"""Decrypts the news of other workers and passes them to the listeners of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from twisted.internet.defer import Deferred, FirstError, TimeoutError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..http.errors import ProxyError
from ..interfaces import IMeter
from ..keys.encryption import Unsealable
from .kinds import ListenerFailed, Sealing
from .news import EverythingStale, News, unpacked
from .outbox import is_hint

_log = Logger()


class NewsNotApplied(Exception):
    """A listener could not apply the news: the cache must not be served as if it had."""


class IncomingNews:
    """Decrypts log entries and passes them to the listeners.

    :param place: the key of the log in Redis.
    :param timeout_s: seconds that a listener may take to write to disk.
    """

    def __init__(
        self, vault: Sealing, place: bytes, clock: IReactorTime, timeout_s: float, meter: IMeter
    ) -> None:
        self._vault = vault
        self._place = place
        self._clock = clock
        self._timeout_s = timeout_s
        self._meter = meter
        self._listeners: list[Callable[[News], object]] = []
        self._failing = False

    def listen(self, listener: Callable[[News], object]) -> None:
        """Register a listener for the news of other workers."""
        self._listeners.append(listener)

    def decode(self, entries: Iterable[tuple[int, bytes, bytes]], own: bytes) -> tuple[list[News], bool]:
        """Decrypt the entries of other workers; also say whether a sender may wait until they were read.

        :param own: this worker's id; its own entries are skipped.
        """
        heard = [self._opened(sealed) for _, who, sealed in entries if who != own]
        self._meter.count("sharing_log_entries_total", len(heard), direction="heard")
        return heard, any(not is_hint(one) for one in heard)

    def _opened(self, sealed: bytes) -> News:
        try:
            return unpacked(self._vault.open(sealed, self._place))
        except Unsealable:
            return EverythingStale()

    async def hear(self, news: Iterable[News]) -> None:
        """Pass news to the listeners, and wait until they have written to disk what must be there.

        :raise NotHeard: a listener failed, or took too long.
        """
        told = list(_not_twice(news))
        waits = [found for one in told for listener in self._listeners for found in self._told(listener, one)]
        late = [one.addTimeout(self._timeout_s, self._clock) for one in waits]
        try:
            await gatherResults(late, consumeErrors=True)
        except FirstError as first:
            if not self._failing and not first.subFailure.check(TimeoutError):
                self._failing = True  # log it once; each heartbeat tries again
                if first.subFailure.check(
                    ProxyError, ListenerFailed, OSError
                ):  # the disk failed; no bug, so no traceback
                    why = first.subFailure.getErrorMessage()
                    _log.error(
                        "another worker's changes could not be written to disk: {why}; each heartbeat tries again",
                        why=why,
                    )
                else:
                    _log.failure(
                        "another worker's changes could not be applied; each heartbeat tries again",
                        first.subFailure,
                    )
            raise NewsNotApplied from None
        if waits:
            self._failing = False

    def _told(self, listener: Callable[[News], object], news: News) -> list[Deferred[object]]:
        try:
            found = listener(news)
        except Exception:
            _log.failure(
                "a listener for other workers' changes failed (a bug); its cache entries are dropped"
            )
            self._meter.count("unhandled_errors_total")
            try:
                found = listener(EverythingStale())
            except Exception:
                raise NewsNotApplied from None
        return [found] if isinstance(found, Deferred) else []


def _not_twice(news: Iterable[News]) -> Iterator[News]:
    """Drop an Everything that directly follows another: a log may be full of entries that cannot be read."""
    before: News | None = None
    for one in news:
        if not (isinstance(one, EverythingStale) and isinstance(before, EverythingStale)):
            yield one
        before = one
