"""Circuit breaker: is HOSP up at all? Pure.

Closed: every request passes. Open: HOSP is down, and only probes are sent. Half-open: HOSP responded to a probe, and a
few requests pass first.
"""

from __future__ import annotations

import enum


class BreakerState(enum.Enum):
    """Closed: HOSP counts as up. Open: it counts as down. Half-open: a few requests try it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


SILENT_S = 2.0
"""Another process's report that HOSP is down counts only this many seconds after HOSP's last response to this process.
If only the other process's path to HOSP broke, the next response here comes before that."""


class Breaker:
    """Opens after a run of failed attempts with no response to anything in between.

    Any response, even an error, shows that HOSP is up. So the breaker counts failures in a row since the last
    response. A HOSP that responds to every second attempt is in bad shape, but not down.

    :param failures: number of failures in a row that open the breaker.
    :param span_s: minimum seconds between the first and the last of them. Five connections that break together are one
        event.
    :param slow_s: seconds without any response before an attempt that timed out counts.
    """

    def __init__(self, failures: int, slow_s: float, span_s: float = 1.0) -> None:
        self._failures = failures
        self._span_s = span_s
        self._slow_s = slow_s
        self.state = BreakerState.CLOSED
        self._changed = 0.0
        self._heard = False
        """Whether the state comes from another process."""
        self._answered: float | None = None
        self._run = 0
        self._run_began = 0.0
        self._under_way = 0
        self._since = 0.0
        self._waited_s = 0.0

    def reload(self, failures: int, slow_s: float) -> None:
        """Apply changed options; the state stays."""
        self._failures = failures
        self._slow_s = slow_s

    def asked(self, now: float) -> None:
        """An attempt begins: while any is in flight, time without a response counts."""
        if not self._under_way:
            self._since = now
        self._under_way += 1

    def ended(self, now: float) -> None:
        """An attempt has ended, with any outcome."""
        self._under_way -= 1
        if not self._under_way:
            self._waited_s += now - self._since

    def silence_s(self, now: float) -> float:
        """Seconds spent waiting for HOSP since its last response. Time with nothing in flight does not count."""
        return self._waited_s + (now - self._since if self._under_way else 0.0)

    def answered(self, now: float, *, probe: bool = False) -> None:
        """HOSP responded to something, perhaps with an error.

        :param probe: whether it responded to a probe. The breaker then becomes half-open if it was open, not closed.
        """
        self._run = 0
        self._answered = now
        self._waited_s, self._since = 0.0, now
        self._move(
            BreakerState.HALF_OPEN if probe and self.state is BreakerState.OPEN else BreakerState.CLOSED, now
        )

    def gone(self, began: float, now: float) -> None:
        """No connection, or one that broke before any byte of a response.

        :param began: monotonic seconds at which the attempt began.
        """
        self._failed(began, now, now)

    def silent(self, began: float, now: float) -> None:
        """An attempt timed out. It counts only if HOSP responded to nothing at all for ``slow_s``.

        Such a failure counts as half of the needed run, so two are enough: few attempts are in flight at one time, and
        each round of them takes as long as a client waits.
        """
        silence_s = self.silence_s(now)
        if silence_s >= self._slow_s:
            self._failed(began, now, now - silence_s, (self._failures + 1) // 2)

    def try_again(self, now: float) -> None:
        """Become half-open without a probe: the contract has none."""
        if self.state is BreakerState.OPEN:
            self._move(BreakerState.HALF_OPEN, now)

    @property
    def evidence(self) -> tuple[BreakerState, float] | None:
        """The state and when it was seen here, in monotonic seconds; None: this process has not seen it itself."""
        if self.state is BreakerState.CLOSED:
            return None if self._answered is None else (BreakerState.CLOSED, self._answered)
        return None if self._heard else (self.state, self._changed)

    def heard(self, state: BreakerState, at: float, now: float) -> None:
        """Another process has seen whether HOSP is up. The latest observation counts.

        :param at: when it saw that, in monotonic seconds of this process, as far as is known.
        """
        answered = -SILENT_S if self._answered is None else self._answered
        known = max(answered, self._changed)
        if state is self.state or at <= known or (state is BreakerState.OPEN and now - answered < SILENT_S):
            return
        if state is BreakerState.HALF_OPEN and self.state is BreakerState.CLOSED:
            return
        if state is not BreakerState.OPEN:
            self._run = 0
        self._move(state, at)
        self._heard = True

    def _failed(self, began: float, now: float, since: float, counts: int = 1) -> None:
        if not self._run:
            self._run_began = since
        self._run += counts
        if self.state is BreakerState.HALF_OPEN:
            # An attempt that began before the breaker became half-open adds nothing new.
            if began >= self._changed:
                self._move(BreakerState.OPEN, now)
        elif self._run >= self._failures and now - self._run_began >= self._span_s:
            self._move(BreakerState.OPEN, now)

    def _move(self, state: BreakerState, now: float) -> None:
        if state is not self.state:
            self.state = state
            self._changed = now
            self._heard = False
