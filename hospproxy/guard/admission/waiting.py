"""Guesses that wait: few at a time for each address and each account, and the innocent before the guilty."""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...errors import TooMany

MAX_WAITING = 2000
"""Guesses that wait at one time, in all."""

WORDS = "Too many log-ins have failed here; try again later."


@frozen(slots=True)
class Claim:
    """Why somebody must wait at one place.

    :param place: an address, or an account.
    :param room: how many may wait there.
    :param guilt: failures at the *other* place: of the account, where the place is an address, and the other way
        round. Whoever has the least stays when there is no room: at an address under suspicion a name with no
        failures is somebody else than the attacker, and so is, for an account under attack, an address with none.
    """

    place: bytes
    room: int
    guilt: int


@define(slots=True, eq=False)
class _Waiter:
    claims: tuple[Claim, ...]
    delay_s: float
    over: Deferred[None] = field(factory=Deferred)

    def guilt_at(self, place: bytes) -> int:
        return next(claim.guilt for claim in self.claims if claim.place == place)


class Waiting:
    """:param clock: monotonic time."""

    def __init__(self, clock: IReactorTime, most: int = MAX_WAITING) -> None:
        self._clock = clock
        self._most = most
        self._number = 0
        self._at: dict[bytes, list[_Waiter]] = {}

    def __len__(self) -> int:
        return self._number

    async def wait(self, claims: Iterable[Claim], delay_s: float) -> None:
        """Wait so many seconds, if there is room for it.

        :param claims: the places where a delay is due.
        :raise TooMany: there is none, or somebody less guilty has taken it.
        """
        waiter = _Waiter(tuple(claims), delay_s)
        self._make_room(waiter)
        self._enter(waiter)
        timer = self._clock.callLater(delay_s, waiter.over.callback, None)
        try:
            await waiter.over
        finally:
            if timer.active():
                timer.cancel()
            self._leave(waiter)

    def _make_room(self, waiter: _Waiter) -> None:
        """Nobody is sent away before it is sure that the newcomer may stay."""
        if self._number >= self._most:
            raise too_many(waiter.delay_s)
        going = []
        for claim in waiter.claims:
            there = self._at.get(claim.place, [])
            if len(there) < claim.room:
                continue
            worst = max(there, key=lambda one: one.guilt_at(claim.place), default=None)
            if worst is None or worst.guilt_at(claim.place) <= claim.guilt:
                raise too_many(waiter.delay_s)
            going.append(worst)
        for one in going:
            if not one.over.called:
                one.over.errback(too_many(one.delay_s))

    def _enter(self, waiter: _Waiter) -> None:
        self._number += 1
        for claim in waiter.claims:
            self._at.setdefault(claim.place, []).append(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        self._number -= 1
        for claim in waiter.claims:
            there = self._at[claim.place]
            there.remove(waiter)
            if not there:
                del self._at[claim.place]


def too_many(after_s: float, words: str = WORDS) -> TooMany:
    """A 429 that says after how many whole seconds another try is worth while."""
    return TooMany(words, retry_after_s=max(1, math.ceil(after_s)))
