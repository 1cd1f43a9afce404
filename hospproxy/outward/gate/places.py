"""How many of the places at HOSP a gate may fill: all of them, or those that its process owns (sharing.places)."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from .breaker import State


@frozen(slots=True)
class Using:
    """What a gate makes of its places.

    :param in_flight: places that are taken.
    :param waiting: requests that wait for one.
    :param opinion: how many HOSP bears at one time, as far as is known here.
    :param breaker: where the breaker stands and since when this gate knows by itself (monotonic seconds); None: it has
        nothing to say.
    :param gone: HOSP is taken to be gone.
    """

    in_flight: int
    waiting: int
    opinion: int
    breaker: tuple[State, float] | None = None
    gone: bool = False


class User(Protocol):
    """What whoever hands out places needs of the gate."""

    def using(self) -> Using:
        """What it makes of them now."""

    def told(self) -> None:
        """Something about the places has changed: use them."""

    def heard(self, state: State, at: float) -> None:
        """Somebody else has seen whether HOSP is there.

        :param at: when, in monotonic seconds of this process.
        """


class Places(Protocol):
    """Places at HOSP."""

    @property
    def owned(self) -> int:
        """How many may be taken at one time, whoever needs them."""

    @property
    def usable(self) -> int:
        """How many of them clients may take: others may be waiting for the rest."""

    @property
    def expected(self) -> int:
        """How many there will be when it matters, at least one: for estimates of a wait."""

    @property
    def hopeless(self) -> bool:
        """There is none, and nobody who could give one."""

    @property
    def wait_s(self) -> float:
        """Seconds before which there will be none, as far as is known; 0: there may be one at any moment."""

    @property
    def workers(self) -> int:
        """How many processes share them, at least one."""

    @property
    def turn(self) -> int:
        """The position of this process among them, from 0; it moves on with time. 0 asks whether HOSP is back."""

    def attach(self, user: User) -> None:
        """Name the gate that uses them."""

    def changed(self) -> None:
        """The gate has begun to wait, or has a place free, or has found out whether HOSP is there."""

    def start(self) -> None:
        """Begin to share them."""

    def woken(self) -> None:
        """Others have given some back, or need some, or know better whether HOSP is there."""

    async def stop(self) -> None:
        """Give back what is owned, after the last request. It never fails."""


class AllMine:
    """Nobody else sends anything to HOSP.

    :param ceiling: the most at one time.
    """

    hopeless = False
    wait_s = 0.0
    workers = 1
    turn = 0

    def __init__(self, ceiling: int) -> None:
        self.owned = self.usable = self.expected = ceiling

    def attach(self, user: User) -> None:
        pass

    def changed(self) -> None:
        pass

    def start(self) -> None:
        pass

    def woken(self) -> None:
        pass

    async def stop(self) -> None:
        pass
