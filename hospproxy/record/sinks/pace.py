"""How fast a carrier delivers records, so that requests go first. Pure."""

from __future__ import annotations

from attrs import define, field

TICK_S = 0.25
"""Seconds between two checks for more records."""
REST_S = 1.0
"""Seconds between two checks, and also between two parcels, while many requests arrive."""
BUSY = 300.0
"""Records per second that count as many: delivering them then takes time from requests."""
FULL = 500
"""Records of a full parcel."""
LATE_S = 60.0
"""Records older than this, in seconds, are delivered a little faster even under load."""


@define
class JournalPace:
    """Watches how fast the journals grow.

    Where carriers share the interpreter with the code that serves requests, they follow slowly under a lasting load,
    and catch up once it is over. In a process of their own they follow in larger parcels, which cost less for each
    record.

    :param apart: carriers have a process of their own.
    """

    apart: bool = False
    _seq: int | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)
    _busy: bool = field(default=False, init=False)

    def rest_s(self, seq: int, now: float, behind_s: float, *, more: bool, behind: int = 0) -> float:
        """Seconds to wait before the next parcel.

        :param seq: number of records in the journals.
        :param now: seconds on a monotonic clock.
        :param behind_s: age of the oldest undelivered record, in seconds.
        :param more: whether more records are ready at once.
        :param behind: how many.
        """
        passed = now - self._at
        if self._seq is None or passed >= TICK_S:
            self._busy = self._seq is not None and (seq - self._seq) / passed > BUSY
            self._seq, self._at = seq, now
        if self._busy and not (self.apart and behind >= FULL):
            return TICK_S if behind_s > LATE_S else REST_S
        return 0.0 if more else TICK_S
