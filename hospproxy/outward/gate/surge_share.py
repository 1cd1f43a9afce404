"""Who gets a smaller share of the queue while a surge fills it. Pure.

A surge is told by this process alone: requests for a slot come much faster than usual, and they have to wait. Users
whom HOSP has accepted before it began then keep their share, as long as each asks at a usual rate. All others are the
surplus: credentials that are new or wrong, none at all, and what one user asks beyond that rate. docs/adr/0055 has the
reasons.
"""

from __future__ import annotations

from collections import OrderedDict
from math import exp, inf
from typing import Final

from attrs import define, field

QUICK_S: Final = 5.0
"""Time constant of the present rate."""
USUAL_S: Final = 300.0
"""Time constant of the usual rate."""
WARM_UP_S: Final = 60.0
"""Seconds after the first request in which nothing is known of what is usual."""
FLOOR_PER_S: Final = 1.0
"""Smallest rate that counts as usual: five requests in a quiet night are no surge."""
TIMES: Final = 3.0
CALM_TIMES: Final = 1.5
"""A surge begins at this many times the usual rate, and ends below that many."""
CALM_S: Final = 10.0
"""Seconds without a request that had to wait, after which a surge is over."""
NEW_USUAL_S: Final = 900.0
"""A surge that lasts this long is the new usual."""
KNOWN_S: Final = 60.0
"""Seconds before a surge was noticed at which HOSP must have accepted a user: by then it has been going on for a while,
and its own credentials were accepted too."""
PER_S: Final = 2.0
BURST: Final = 20
"""Attempts a second, and at once, that one user may make during a surge before the rest is surplus: a page of a client
sends up to ten requests."""
MOST_USERS: Final = 10_000


@define(slots=True, eq=False)
class SurgeShare:
    """Tells usual requests from the surplus, while a surge goes on."""

    since: float | None = field(default=None, init=False)
    _quick: float = field(default=0.0, init=False)
    _usual: float = field(default=0.0, init=False)
    _seen_s: float = field(default=0.0, init=False)
    _last: float | None = field(default=None, init=False)
    _waited: float = field(default=-inf, init=False)
    _known: OrderedDict[bytes, float] = field(factory=OrderedDict, init=False, repr=False)
    _full_at: dict[bytes, float] = field(factory=dict, init=False, repr=False)

    def accepted(self, whose: bytes | None, now: float) -> None:
        """HOSP has answered a request with these credentials. Remember since when, for the most recent users."""
        if whose is None:
            return
        self._known[whose] = self._known.get(whose, now)
        self._known.move_to_end(whose)
        if len(self._known) > MOST_USERS:
            self._known.popitem(last=False)

    def going_on(self, now: float) -> bool:
        """Whether a surge goes on; also ends one that is over."""
        if self.since is None:
            return False
        self._pass(now)
        calm = now - self._waited >= CALM_S or self._quick < CALM_TIMES * self._usual_per_s
        if now - self.since >= NEW_USUAL_S:
            self._usual = self._quick * self._weight
        elif not calm:
            return True
        self.since = None
        self._full_at.clear()
        return False

    def is_surplus(self, whose: bytes | None, now: float, *, waits: bool) -> bool:
        """Count a request for a slot, and tell whether it is surplus.

        :param waits: it cannot have a slot at once.
        """
        self._pass(now)
        self._quick += 1.0 / QUICK_S
        if self.since is None:
            self._usual += 1.0 / USUAL_S
        if waits:
            self._waited = now
            if self.since is None and self._is_surge():
                self.since = now
        return self.going_on(now) and self.is_beyond(whose, now)

    @property
    def _usual_per_s(self) -> float:
        return max(FLOOR_PER_S, self._usual / self._weight)

    @property
    def _weight(self) -> float:
        """How much of the usual rate has been seen since the start: else it would count as zero before."""
        return 1.0 - exp(-max(self._seen_s, 1.0) / USUAL_S)

    def _is_surge(self) -> bool:
        return self._seen_s >= WARM_UP_S and self._quick >= TIMES * self._usual_per_s

    def _pass(self, now: float) -> None:
        """Let both rates fade. During a surge the usual rate stays: otherwise the surge would become usual."""
        last = now if self._last is None else self._last
        elapsed_s, self._last = max(0.0, now - last), max(now, last)
        self._quick *= exp(-elapsed_s / QUICK_S)
        if self.since is None:
            self._usual *= exp(-elapsed_s / USUAL_S)
            self._seen_s += elapsed_s

    def is_beyond(self, whose: bytes | None, now: float) -> bool:
        """Count a request during a surge; whether its user was unknown at the begin, or asks faster than usual."""
        if whose is None or self.since is None or self._known.get(whose, inf) > self.since - KNOWN_S:
            return True
        full_at = max(now, self._full_at.get(whose, now)) + 1.0 / PER_S
        if full_at - now > BURST / PER_S:
            return True
        self._full_at[whose] = full_at
        return False
