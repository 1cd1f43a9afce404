"""Detects a stall: requests are in flight, and HOSP has responded to none for longer than usual.

A stall is only a suspicion, and no request is refused because of it. Reads that have a cache entry are served from it,
and HOSP still gets requests. The breaker, which does refuse, waits until attempts have run into their deadline.
"""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...interfaces import IMeter
from .estimate import ResponseTimes

LEAST_S = 5.0
"""Silences up to this many seconds are ignored: a client waits as long for an ordinary response."""
EVERY_S = 0.5
"""Seconds between two checks while HOSP is silent for longer than that."""

_log = Logger()


class StallDetector:
    """Follows the attempts in flight at HOSP.

    :param finish_s: seconds of silence that count as a stall in any case.
    """

    def __init__(self, clock: IReactorTime, meter: IMeter, finish_s: float) -> None:
        self._clock = clock
        self._meter = meter
        self._finish_s = finish_s
        self._usual = ResponseTimes()
        self._in_hand: dict[Hashable, float] = {}
        self._answered_at = clock.seconds()
        self._timer: IDelayedCall | None = None
        self._waiting: dict[Deferred[None], None] = {}
        self.stalled = False
        """Whether HOSP is suspected to have stalled."""
        meter.gauge("upstream_stalled", lambda: float(self.stalled))

    def reload(self, finish_s: float) -> None:
        """Apply a changed time in which HOSP must finish."""
        self._finish_s = finish_s

    def noticed(self) -> Deferred[None]:
        """Fires when a stall is suspected; at once if one is suspected now. Cancel it when you no longer need it."""
        waiting: Deferred[None] = Deferred(self._forget)
        if self.stalled:
            waiting.callback(None)
        else:
            self._waiting[waiting] = None
        return waiting

    @property
    def longest_s(self) -> float | None:
        """Seconds within which HOSP responds, judged by recent responses; None: too few samples."""
        return self._usual.longest_s

    def sent(self, attempt: Hashable) -> None:
        """An attempt was sent to HOSP."""
        self._in_hand[attempt] = self._clock.seconds()
        self._watch()

    def over(self, attempt: Hashable) -> None:
        """HOSP has finished this attempt, or its response would no longer be read."""
        self._in_hand.pop(attempt, None)
        if not self._in_hand and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def answered(self, lasted_s: float | None) -> None:
        """HOSP has responded to something.

        :param lasted_s: how long the response took; None if that says nothing about other requests.
        """
        self._answered_at = self._clock.seconds()
        if lasted_s is not None:
            self._usual.learn(lasted_s)
        if self.stalled:
            self.stalled = False
            _log.info("HOSP: responds again; the stall is over")
            self._meter.count("breaker_events_total", event="stall_over")
        self._watch()

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting.pop(waiting, None)

    def _waits(self) -> list[float]:
        now = self._clock.seconds()
        return [now - max(sent, self._answered_at) for sent in self._in_hand.values()]

    def _watch(self) -> None:
        if self._timer is None and self._in_hand and not self.stalled:
            left_s = LEAST_S - max(self._waits())
            self._timer = self._clock.callLater(max(EVERY_S, left_s), self._judge)

    def _judge(self) -> None:
        self._timer = None
        waits = self._waits()
        longest_s = max(waits)
        if longest_s >= self._finish_s or (longest_s >= LEAST_S and not self._usual.is_chance(waits)):
            self._notice(longest_s)
        else:
            self._watch()

    def _notice(self, silent_s: float) -> None:
        self.stalled = True
        _log.warn(
            "HOSP: no response to any request for {silent_s:.1f} s; it may have stalled. "
            "Cached responses are served where possible",
            silent_s=silent_s,
        )
        self._meter.count("breaker_events_total", event="stalled")
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            one.callback(None)
