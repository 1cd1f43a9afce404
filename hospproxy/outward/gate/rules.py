"""Settings, constants and error texts of the gate."""

from __future__ import annotations

from attrs import frozen

from .breaker import Breaker
from .queue import Refusal

PROBE = "probe"
"""``Exchange.own`` of a probe. A probe takes a slot, and the breaker does not stop it."""
FEW = 2
"""How many attempts may be in flight while the breaker is half-open."""
MOST_REST_S = 30.0
"""The longest time for which a Retry-After from HOSP holds other requests back. One odd response must not become an
outage."""
OPINION_S = 30.0
"""How long after HOSP's last response this process's limit counts for other processes too. A process that has sent
nothing since then knows nothing about HOSP's load."""

WORDS = {
    Refusal.FULL: "Too many requests are waiting for the upstream server.",
    Refusal.PUSHED_OUT: "Too many requests are waiting for the upstream server.",
    Refusal.IN_VAIN: "Too many requests are waiting for the upstream server.",
    Refusal.DEADLINE: "The upstream server had no free slot for this request in time.",
}
"""Error text for the client, by reason of the refusal."""


@frozen(slots=True)
class Rules:
    """Settings of the gate, from the options ``gate`` and ``breaker``.

    :param concurrency: maximum number of slots at HOSP, which has one core. The gate finds out how many of them it can
        use.
    :param max_queue: maximum number of requests that wait for a slot.
    :param slow_s: seconds within which HOSP responds even on a bad day.
    :param finish_s: seconds after which HOSP must have finished a request, whether it responded or not.
    :param breaker: the circuit breaker; None: HOSP always counts as up.
    :param away_retry_after_s: Retry-After, in seconds, that clients get while the breaker is open.
    """

    concurrency: int
    max_queue: int
    slow_s: float = 20.0
    finish_s: float = 25.0
    breaker: Breaker | None = None
    away_retry_after_s: int = 5
