"""One budget in bytes for all that the process holds for its clients."""

from __future__ import annotations

from typing import Final

from ..errors import OverCapacity

PRESSED: Final = 0.9
"""Of the budget: from here on those who hold memory for long are sent away, so that there is room for others."""


def spent() -> OverCapacity:
    """The refusal of whoever comes, or stays, when there is no memory left."""
    error = OverCapacity("There is no memory left for this request just now.")
    error.limit = "body_memory_bytes"
    return error


class BodyBudget:
    """Counts what clients have sent and is not answered yet, and the answers that slow clients have not taken yet.

    Bodies are counted as they come, not by the length that they announce: a few clients that announce much and send
    nothing would otherwise lock out all others.

    :param limit: bytes.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def pressed(self) -> bool:
        """Whether the slowest must go."""
        return self.used >= self.limit * PRESSED

    @property
    def full(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.limit

    def reserve(self, count: int) -> None:
        """Count in bytes of a request's body.

        :raise OverCapacity: there is no room; nothing was counted.
        """
        if self.used + count > self.limit:
            raise spent()
        self.used += count

    def hold(self, count: int) -> None:
        """Count in what is here already, whether there is room or not; a negative count lets go."""
        self.used += count

    def admit(self) -> None:
        """Take another request only while there is room.

        :raise OverCapacity: there is none.
        """
        if self.full:
            raise spent()


class Held:
    """What one connection's requests take of the budget.

    :param budget: of the process.
    """

    __slots__ = ("_body", "_budget", "_read")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._body = 0
        self._read = 0

    def body(self, size: int) -> None:
        """The body has so many bytes by now.

        :raise OverCapacity: there is no room for that.
        """
        if size > self._body:
            self._budget.reserve(size - self._body)
        else:
            self._budget.hold(size - self._body)
        self._body = size

    def read(self, size: int) -> None:
        """So many bytes are read and not understood yet."""
        self._budget.hold(size - self._read)
        self._read = size
