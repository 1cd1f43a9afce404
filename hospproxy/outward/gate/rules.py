"""What the gate goes by: its settings, its constants and what it tells those whom it refuses."""

from __future__ import annotations

from attrs import frozen

from .breaker import Breaker
from .queue import Refusal

PROBE = "probe"
"""Exchange.own of a probe: it takes a place, and no breaker keeps it back."""
FEW = 2
"""How many go at one time while it is not sure yet that HOSP is back."""
MOST_REST_S = 30.0
"""The longest that a Retry-After of HOSP's holds others back: one odd answer must not be an outage."""
OPINION_S = 30.0
"""How long after HOSP's last word a limit counts for others too: who has sent nothing since knows nothing."""

WORDS = {
    Refusal.FULL: "Too many requests are waiting for the upstream server.",
    Refusal.PUSHED_OUT: "Too many requests are waiting for the upstream server.",
    Refusal.IN_VAIN: "Too many requests are waiting for the upstream server.",
    Refusal.DEADLINE: "The upstream server had no place for this request in time.",
}
"""What a client is told, by why there is no place."""


@frozen(slots=True)
class Rules:
    """What the gate goes by.

    :param concurrency: the most places at HOSP, which has one core; how many of them are used, it finds out.
    :param max_queue: the most that may wait for one.
    :param slow_s: seconds within which HOSP answers even on a bad day.
    :param finish_s: seconds after which it must have finished with what it was sent, answered or not.
    :param breaker: whether HOSP is there; None: it is always taken to be.
    :param away_retry_after_s: when a client should ask again while it is not.
    """

    concurrency: int
    max_queue: int
    slow_s: float = 20.0
    finish_s: float = 25.0
    breaker: Breaker | None = None
    away_retry_after_s: int = 5
