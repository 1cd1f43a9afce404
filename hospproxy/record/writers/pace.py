"""How fast records are carried on: requests go first. Pure."""

from __future__ import annotations

from attrs import define, field

TICK_S = 0.25
"""Seconds between two looks at whether there is more to carry on."""
REST_S = 1.0
"""The same, and between two parcels too, while many requests come."""
BUSY = 300.0
"""So many records a second are many: what carrying them on costs is then missed elsewhere."""
LATE_S = 60.0
"""Records that are older than this are carried on a little faster all the same."""


@define
class Pace:
    """Watches how fast the journal grows.

    What carries records on shares the interpreter with what answers requests. A load that lasts is therefore followed
    slowly, and caught up with once it is over.
    """

    _seq: int | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)
    _busy: bool = field(default=False, init=False)

    def rest_s(self, seq: int, now: float, behind_s: float, *, more: bool) -> float:
        """Seconds until the next parcel.

        :param seq: the journal's last record.
        :param now: seconds, of a clock that is never set.
        :param behind_s: the age of the oldest record that is still to be carried on.
        :param more: whether there is more at once.
        """
        passed = now - self._at
        if self._seq is None or passed >= TICK_S:
            self._busy = self._seq is not None and (seq - self._seq) / passed > BUSY
            self._seq, self._at = seq, now
        if self._busy:
            return TICK_S if behind_s > LATE_S else REST_S
        return 0.0 if more else TICK_S
