"""Slots at HOSP that a gate may fill: all of them (``AllSlots``), or its process's share (``sharing.places``).

The code calls a slot a *place*.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from .breaker import BreakerState


@frozen(slots=True)
class SlotUse:
    """How a gate uses its slots, as reported to their owner.

    :param in_flight: number of slots that are taken.
    :param waiting: number of requests that wait for one.
    :param opinion: how many attempts HOSP can take at one time, as far as this gate knows.
    :param breaker: the breaker's state, and since when this gate knows it by itself (monotonic seconds); None: it has
        seen nothing itself.
    :param gone: whether HOSP counts as down.
    """

    in_flight: int
    waiting: int
    opinion: int
    breaker: tuple[BreakerState, float] | None = None
    gone: bool = False


class SlotUser(Protocol):
    """What the owner of the slots (``Slots``) needs from the gate."""

    def using(self) -> SlotUse:
        """How the gate uses its slots now."""

    def told(self) -> None:
        """The number of slots has changed: use them."""

    def heard(self, state: BreakerState, at: float) -> None:
        """Another process has seen whether HOSP is up.

        :param at: when it saw that, in monotonic seconds of this process.
        """


class Slots(Protocol):
    """The slots at HOSP that belong to this process."""

    @property
    def owned(self) -> int:
        """How many slots may be taken at one time, including those of probes."""

    @property
    def usable(self) -> int:
        """How many of the owned slots clients may take; other processes may be waiting for the rest."""

    @property
    def expected(self) -> int:
        """How many slots this process can count on, at least one. For estimates of a wait."""

    @property
    def hopeless(self) -> bool:
        """Whether there is no slot and no process that could give one."""

    @property
    def wait_s(self) -> float:
        """Seconds until a slot can exist, as far as is known; 0: one may become free at any moment."""

    @property
    def workers(self) -> int:
        """How many processes share the slots, at least one."""

    @property
    def turn(self) -> int:
        """The position of this process among them, from 0. It rotates with time; the process at 0 sends the probes."""

    def attach(self, user: SlotUser) -> None:
        """Set the gate that uses these slots."""

    def changed(self) -> None:
        """The gate started to wait, freed a slot, or learned whether HOSP is up."""

    def start(self) -> None:
        """Start to share the slots with other processes."""

    def woken(self) -> None:
        """Other processes gave slots back, need some, or know better whether HOSP is up."""

    async def stop(self) -> None:
        """Give back the owned slots, after the last request. Never fails."""


class AllSlots:
    """All slots belong to this process: no other process sends anything to HOSP.

    :param ceiling: number of slots.
    """

    hopeless = False
    wait_s = 0.0
    workers = 1
    turn = 0

    def __init__(self, ceiling: int) -> None:
        self.reload(ceiling)

    def reload(self, ceiling: int) -> None:
        """Apply a changed number of slots."""
        self.owned = self.usable = self.expected = ceiling

    def attach(self, user: SlotUser) -> None:
        pass

    def changed(self) -> None:
        pass

    def start(self) -> None:
        pass

    def woken(self) -> None:
        pass

    async def stop(self) -> None:
        pass
