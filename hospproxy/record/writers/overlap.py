"""What a receiver has confirmed a short while ago, to be sent again if it turns out that it died. Pure."""

from __future__ import annotations

from collections import deque

from attrs import define, field

from ..trail.following import Batch


@define(slots=True)
class Overlap:
    """The newest batches that were confirmed, oldest first; bounded.

    Time alone lets nothing go: a batch goes once a later one is confirmed long enough after it, since only that shows
    that the receiver was alive in between.

    :param seconds: how long a receiver may take from reading a record until it has it for good.
    :param max_bytes: of all records here; the oldest go first.
    """

    seconds: float
    max_bytes: int
    _kept: deque[tuple[float, Batch]] = field(factory=deque, init=False)
    _bytes: int = field(default=0, init=False)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """What to send again."""
        return tuple(batch for _, batch in self._kept)

    def confirmed(self, batch: Batch, now: float) -> None:
        """A batch is confirmed, after all that are here.

        :param now: seconds on the clock of waits.
        """
        self._kept.append((now, batch))
        self._bytes += _size(batch)
        while self._kept and (self._bytes > self.max_bytes or self._kept[0][0] < now - self.seconds):
            self._bytes -= _size(self._kept.popleft()[1])

    def renewed(self, now: float) -> None:
        """All of it was sent again and confirmed by another process, which may die as well."""
        self._kept = deque((now, batch) for _, batch in self._kept)


def _size(batch: Batch) -> int:
    return sum(len(line) for line in batch.lines)
