"""The link between two hosts: delays, pieces, and cuts."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import define, field

from .interfaces import ConnectionEnd


@define(eq=False)
class Link:
    """The link between two addresses, in both directions.

    :ivar delay: seconds that bytes travel, at least and at most. The order within a connection is kept.
    :ivar split: between 0 and 1, how often bytes arrive in small pieces.
    :ivar is_cut: nothing arrives until it is healed; nothing is lost either, because the sender's kernel sends again,
        unless its machine has lost power.
    :ivar held: what waits for that, with the address of its sender.
    """

    random: random.Random = field(repr=False)
    delay: tuple[float, float] = (0.0002, 0.002)
    split: float = 0.0
    is_cut: bool = False
    slowed: list[float] = field(factory=list, repr=False)
    ends: dict[ConnectionEnd, None] = field(factory=dict, repr=False)
    held: list[tuple[str, Callable[[], None]]] = field(factory=list, repr=False)

    def takes(self) -> float:
        """Seconds that the next piece travels."""
        least, most = self.delay
        most = max([most, *self.slowed])
        return least if least == most else self.random.uniform(least, most)

    def piece(self, size: int) -> int:
        """How many of so many bytes go together."""
        if size > 1 and self.split and self.random.random() < self.split:
            return self.random.randint(1, min(size, 1 + int(self.random.expovariate(1 / 64))))
        return size

    def carry(self, arrive: Callable[[], None], sender: str = "") -> None:
        """Deliver something, now or when the link is healed."""
        if self.is_cut:
            self.held.append((sender, arrive))
        else:
            arrive()

    def slow_down(self, most_s: float) -> None:
        """Let pieces travel for up to so many seconds, until `speed_up`. Several such faults may overlap."""
        self.slowed.append(most_s)

    def speed_up(self, most_s: float) -> None:
        """One of these faults is over."""
        self.slowed.remove(most_s)

    def cut(self) -> None:
        """Let nothing through."""
        self.is_cut = True

    def heal(self) -> None:
        """Deliver everything that waits, in order, and everything that follows."""
        self.is_cut = False
        held, self.held = self.held, []
        for _, arrive in held:
            arrive()

    def forget(self, sender: str) -> None:
        """Nobody sends again what this machine has sent: it has lost power."""
        self.held = [each for each in self.held if each[0] != sender]

    def reset_all(self) -> None:
        """Break every connection that uses it; both sides notice."""
        for end in list(self.ends):
            end.broken()
