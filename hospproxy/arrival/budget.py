"""One budget in bytes for all bodies that the process holds for its clients."""

from __future__ import annotations

from ..errors import OverCapacity


class BodyBudget:
    """Counts the bodies that are being received and the answers that slow clients have not taken yet.

    Bodies are counted as they come, not by the length that they announce: a few clients that announce much and send
    nothing would otherwise lock out all others.

    :param limit: bytes.
    """

    __slots__ = ("_answers", "_bodies", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._bodies = 0
        self._answers = 0

    @property
    def used(self) -> int:
        """Bytes held at present."""
        return self._bodies + self._answers

    def reserve(self, count: int) -> None:
        """Count in bytes of a request's body.

        :raise OverCapacity: there is no room; nothing was counted.
        """
        if self.used + count > self.limit:
            raise OverCapacity("There is no memory left for this body just now.")
        self._bodies += count

    def release(self, count: int) -> None:
        """A request is over and its body gone."""
        self._bodies -= count

    def hold_answer(self, count: int) -> None:
        """An answer waits for its client. It is there already, so it is counted whether there is room or not."""
        self._answers += count

    def let_go(self, count: int) -> None:
        """The client has taken the answer, or is gone."""
        self._answers -= count

    def admit(self) -> None:
        """Take another request only while the answers that wait leave room.

        :raise OverCapacity: they fill the budget.
        """
        if self._answers >= self.limit:
            raise OverCapacity("There is no memory left for another answer just now.")
