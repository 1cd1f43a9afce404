"""Remembers recently confirmed batches, to send them again if the receiver turns out to have died. Pure."""

from __future__ import annotations

from collections import deque

from attrs import define, field

from ..trail.follower import Batch


@define(slots=True)
class Overlap:
    """The newest confirmed batches, oldest first; bounded.

    Time alone drops nothing. A batch is dropped once a later one is confirmed more than ``seconds`` after it,
    since only that shows that the receiver was alive in between.

    :param seconds: how long a receiver may take from reading a record to storing it.
    :param max_bytes: of all records here; the oldest are dropped first.
    """

    seconds: float
    max_bytes: int
    _kept: deque[tuple[float, Batch]] = field(factory=deque, init=False)
    _bytes: int = field(default=0, init=False)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches to send again if the receiver may have died, oldest first."""
        return tuple(batch for _, batch in self._kept)

    def confirmed(self, batch: Batch, now: float) -> None:
        """Add a batch that was confirmed after all others here.

        :param now: seconds on the clock of waits.
        """
        self._kept.append((now, batch))
        self._bytes += _size(batch)
        while self._kept and (self._bytes > self.max_bytes or self._kept[0][0] < now - self.seconds):
            self._bytes -= _size(self._kept.popleft()[1])

    def renewed(self, now: float) -> None:
        """Restart all timers: another receiver process confirmed all batches again, and it may die as well."""
        self._kept = deque((now, batch) for _, batch in self._kept)


def _size(batch: Batch) -> int:
    return sum(len(line) for line in batch.lines)
