"""Whether HOSP is there at all: a circuit breaker. Pure.

Closed: everything goes. Open: HOSP is gone, nothing is sent but probes. Half-open: a probe was answered, and a few go
first.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


SILENT_S = 2.0
"""What others say of a HOSP that is gone is believed so many seconds after its last answer to this process: where it is
only their way to it that broke, the next answer comes before that."""


class Breaker:
    """Opens when attempt after attempt found nobody there, with no answer to anything in between.

    One answer, whatever it says, shows that HOSP is there: so what counts is the run of failures since the last. A HOSP
    that answers every second attempt is bad, and is not gone.

    :param failures: as many in a row.
    :param span_s: seconds over which they have to lie: five connections that break together are one event.
    :param slow_s: seconds of waiting without any answer before an attempt that ran out of time counts.
    """

    def __init__(self, failures: int = 5, span_s: float = 1.0, slow_s: float = 20.0) -> None:
        self._failures = failures
        self._span_s = span_s
        self._slow_s = slow_s
        self.state = State.CLOSED
        self._changed = 0.0
        self._heard = False
        """It is there because others said so."""
        self._answered: float | None = None
        self._run = 0
        self._run_began = 0.0
        self._under_way = 0
        self._since = 0.0
        self._waited_s = 0.0

    def asked(self, now: float) -> None:
        """An attempt begins."""
        if not self._under_way:
            self._since = now
        self._under_way += 1

    def ended(self, now: float) -> None:
        """An attempt is over, whatever came of it."""
        self._under_way -= 1
        if not self._under_way:
            self._waited_s += now - self._since

    def silence_s(self, now: float) -> float:
        """For how long HOSP was waited for since its last answer; nobody waits while nothing is under way."""
        return self._waited_s + (now - self._since if self._under_way else 0.0)

    def answered(self, now: float, *, probe: bool = False) -> None:
        """HOSP answered something, be it with an error.

        :param probe: to a probe: then a few of the others go first, unless they are under way already.
        """
        self._run = 0
        self._answered = now
        self._waited_s, self._since = 0.0, now
        self._move(State.HALF_OPEN if probe and self.state is State.OPEN else State.CLOSED, now)

    def gone(self, began: float, now: float) -> None:
        """No connection, or one that broke before a word came.

        :param began: when the attempt began.
        """
        self._failed(began, now, now)

    def silent(self, began: float, now: float) -> None:
        """An attempt ran out of time. It counts only if nothing at all was answered for long enough.

        Then two are enough: few are under way at one time, and each round of them takes as long as a client waits.
        """
        silence_s = self.silence_s(now)
        if silence_s >= self._slow_s:
            self._failed(began, now, now - silence_s, (self._failures + 1) // 2)

    def try_again(self, now: float) -> None:
        """Let a few through without a probe: there is none in the contract."""
        if self.state is State.OPEN:
            self._move(State.HALF_OPEN, now)

    @property
    def evidence(self) -> tuple[State, float] | None:
        """Where it stands and when that was seen here; None: it was not."""
        if self.state is State.CLOSED:
            return None if self._answered is None else (State.CLOSED, self._answered)
        return None if self._heard else (self.state, self._changed)

    def heard(self, state: State, at: float, now: float) -> None:
        """Another process has seen whether HOSP is there; what was seen last counts.

        :param at: when it saw that, as far as is known here.
        """
        answered = -SILENT_S if self._answered is None else self._answered
        known = max(answered, self._changed)
        if state is self.state or at <= known or (state is State.OPEN and now - answered < SILENT_S):
            return
        if state is State.HALF_OPEN and self.state is State.CLOSED:
            return
        if state is not State.OPEN:
            self._run = 0
        self._move(state, at)
        self._heard = True

    def _failed(self, began: float, now: float, since: float, counts: int = 1) -> None:
        if not self._run:
            self._run_began = since
        self._run += counts
        if self.state is State.HALF_OPEN:
            # Of one that was on its way before, it is known already.
            if began >= self._changed:
                self._move(State.OPEN, now)
        elif self._run >= self._failures and now - self._run_began >= self._span_s:
            self._move(State.OPEN, now)

    def _move(self, state: State, now: float) -> None:
        if state is not self.state:
            self.state = state
            self._changed = now
            self._heard = False
