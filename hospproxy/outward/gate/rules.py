"""Constants and error texts of the gate."""

from __future__ import annotations

from .queue import SlotRefusal

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
    SlotRefusal.FULL: "Too many requests are waiting for the upstream server.",
    SlotRefusal.PUSHED_OUT: "Too many requests are waiting for the upstream server.",
    SlotRefusal.IN_VAIN: "Too many requests are waiting for the upstream server.",
    SlotRefusal.DEADLINE: "The upstream server had no free slot for this request in time.",
}
"""Error text for the client, by reason of the refusal."""
