"""What HOSP's responses tell about HOSP itself: its clock, and for how long it has really been working. Pure."""

from __future__ import annotations

from collections import deque

from ...http.dates import seconds_of

_DRIFT = 0.0002
"""Assumed maximum drift between two clocks, in seconds per second."""
_STAMP_GRAIN_S = 0.001
"""Rails truncates timestamps to milliseconds."""


class UpstreamClock:
    """HOSP's wall clock relative to our monotonic clock, learned from Date (RFC 9110 §6.6.1), with its error.

    Each Date D says that HOSP's clock stood between D and D + 1 s at some moment between our sending and the receipt.

    :ivar steps: how often HOSP's clock was seen to have been set.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._low: float | None = None
        self._high = 0.0
        self._at = 0.0

    def learn(self, date: bytes | None, sent: float, received: float) -> None:
        """Learn HOSP's clock from one response.

        :param date: value of its Date field.
        :param sent: monotonic seconds at which its request began.
        :param received: monotonic seconds at which it arrived.
        """
        stamp = seconds_of(date)
        if stamp is None:
            return
        low, high = stamp - received, stamp + 1.0 - sent
        if self._low is not None:
            drift = (received - self._at) * _DRIFT
            narrowed = max(low, self._low - drift), min(high, self._high + drift)
            if narrowed[0] <= narrowed[1]:
                low, high = narrowed
            else:
                # HOSP's clock was set: what was learned before is void.
                self.steps += 1
        self._low, self._high, self._at = low, high, received

    def earliest(self, moment: float) -> float | None:
        """Earliest time that HOSP's clock can have shown at a monotonic moment, in epoch seconds; None: unknown."""
        if self._low is None:
            return None
        return moment + self._low - abs(moment - self._at) * _DRIFT - _STAMP_GRAIN_S


class WorkingTime:
    """For how long HOSP has been working since a moment. Time in which HOSP does not respond does not count.

    Such a pause starts at HOSP's last response before a failed connect or a timeout, and ends with its next response:
    a write may be waiting in a machine that was suspended.
    """

    def __init__(self, now: float, *, remembered: int = 256) -> None:
        self._last_answer = now
        self._still_since: float | None = None
        self._stills: deque[tuple[float, float]] = deque(maxlen=remembered)

    def answered(self, now: float) -> None:
        """HOSP sent a response of any kind."""
        if self._still_since is not None:
            self._stills.append((self._still_since, now))
            self._still_since = None
        self._last_answer = now

    def silent(self) -> None:
        """A connect failed, or a response did not arrive in time."""
        if self._still_since is None:
            self._still_since = self._last_answer

    def since(self, moment: float, now: float) -> float:
        """Seconds that HOSP has worked between a moment and now, both monotonic."""
        stills = [*self._stills, *([] if self._still_since is None else [(self._still_since, now)])]
        return now - moment - sum(max(0.0, min(end, now) - max(begin, moment)) for begin, end in stills)
