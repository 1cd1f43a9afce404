"""One memory budget, in bytes, for everything that the process holds for its clients."""

from __future__ import annotations

from typing import Final

from ..http.errors import OverCapacity

PRESSED: Final = 0.9
"""Fraction of the budget from which the slowest clients are disconnected to free memory."""


def spent() -> OverCapacity:
    """The 503 for a request that cannot be taken, or kept, because the memory budget is used up."""
    error = OverCapacity("The proxy has no memory left for this request; try again later.")
    error.limit = "body_memory_bytes"
    return error


class BodyBudget:
    """Counts request data without a response yet, and response data that slow clients have not read yet.

    Bodies are counted as they arrive, not by their announced length. Otherwise a few clients that announce much and
    send nothing would lock out all others.

    :param limit: bytes.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def pressed(self) -> bool:
        """Whether the slowest clients must be disconnected."""
        return self.used >= self.limit * PRESSED

    @property
    def full(self) -> bool:
        """Whether the budget is used up."""
        return self.used >= self.limit

    def reserve(self, count: int) -> None:
        """Count bytes of a request's body.

        :raise OverCapacity: they do not fit; nothing was counted.
        """
        if self.used + count > self.limit:
            raise spent()
        self.used += count

    def hold(self, count: int) -> None:
        """Count bytes that are held already, even beyond the limit; a negative count releases them."""
        self.used += count

    def admit(self) -> None:
        """Accept another request only while the budget is not used up.

        :raise OverCapacity: it is used up.
        """
        if self.full:
            raise spent()


class BudgetShare:
    """The share of the budget that one connection's requests use.

    :param budget: the budget of the process.
    """

    __slots__ = ("_body", "_budget", "_read")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._body = 0
        self._read = 0

    def body(self, size: int) -> None:
        """Set the size of the body received so far.

        :raise OverCapacity: it does not fit into the budget.
        """
        if size > self._body:
            self._budget.reserve(size - self._body)
        else:
            self._budget.hold(size - self._body)
        self._body = size

    def read(self, size: int) -> None:
        """Set the number of bytes that were read from the socket but not parsed yet."""
        self._budget.hold(size - self._read)
        self._read = size
