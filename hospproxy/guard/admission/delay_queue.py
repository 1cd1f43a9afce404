"""Requests that wait for their delay: few per address and account, and those with fewer failures take precedence."""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...http.errors import TooMany

MAX_WAITING = 2000
"""Maximum requests that wait at one time, in all."""

WORDS = "Too many failed log-ins; try again later."


@frozen(slots=True)
class DelayReason:
    """A reason why a request must wait, and how many may wait for it.

    :param place: an address or an account.
    :param room: how many requests may wait at this place.
    :param guilt: failures at the *other* place: of the account if the place is an address, and the other way round.
        When the place is full, the least guilty stay. At a suspected address, an account without failures is probably
        not the attacker's; for an attacked account, neither is an address without failures.
    """

    place: bytes
    room: int
    guilt: int


@define(slots=True, eq=False)
class _WaitingGuess:
    claims: tuple[DelayReason, ...]
    delay_s: float
    over: Deferred[None] = field(factory=Deferred)

    def guilt_at(self, place: bytes) -> int:
        return next(claim.guilt for claim in self.claims if claim.place == place)


class WaitingGuesses:
    """Holds the requests that must wait; picks who stays when too many wait for one address or account.

    :param clock: monotonic.
    :param most: most requests that wait at one time, in all.
    """

    def __init__(self, clock: IReactorTime, most: int = MAX_WAITING) -> None:
        self._clock = clock
        self._most = most
        self._number = 0
        self._at: dict[bytes, list[_WaitingGuess]] = {}

    def __len__(self) -> int:
        return self._number

    async def wait(self, claims: Iterable[DelayReason], delay_s: float) -> None:
        """Wait for the delay, if there is room.

        :param claims: the places where a delay is due.
        :raise TooMany: there is no room, or a less guilty request took it.
        """
        waiter = _WaitingGuess(tuple(claims), delay_s)
        self._make_room(waiter)
        self._enter(waiter)
        timer = self._clock.callLater(delay_s, waiter.over.callback, None)
        try:
            await waiter.over
        finally:
            if timer.active():
                timer.cancel()
            self._leave(waiter)

    def _make_room(self, waiter: _WaitingGuess) -> None:
        """Evict no waiter before it is certain that the new one may stay."""
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

    def _enter(self, waiter: _WaitingGuess) -> None:
        self._number += 1
        for claim in waiter.claims:
            self._at.setdefault(claim.place, []).append(waiter)

    def _leave(self, waiter: _WaitingGuess) -> None:
        self._number -= 1
        for claim in waiter.claims:
            there = self._at[claim.place]
            there.remove(waiter)
            if not there:
                del self._at[claim.place]


def too_many(after_s: float, words: str = WORDS, fields: tuple[tuple[bytes, bytes], ...] = ()) -> TooMany:
    """Return a 429 with Retry-After in whole seconds, at least 1.

    :param fields: further fields of the response.
    """
    return TooMany(words, retry_after_s=max(1, math.ceil(after_s)), headers=fields)
