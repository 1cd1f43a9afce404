"""Settled writes that may still be carried out: each keeps its turn until HOSP has carried it out or never will."""

from __future__ import annotations

from twisted.internet import task
from twisted.internet.interfaces import IReactorTime

from .claims import Claims
from .entries import Entries, Entry, State
from .fate import Fate
from .going_on import GoingOn
from .keeping import Keeping

_SAID_AGAIN_S = 30.0
"""Seconds after which other workers are told again that a settled write keeps its turn."""


class Turns:
    """Settles writes, and gives their turns to the next.

    A PATCH that HOSP carries out late would undo whatever was written to the same record in between.
    """

    def __init__(
        self,
        clock: IReactorTime,
        entries: Entries,
        keeping: Keeping,
        fate: Fate,
        claims: Claims,
        going_on: GoingOn,
    ) -> None:
        self._clock = clock
        self._entries = entries
        self._keeping = keeping
        self._fate = fate
        self._claims = claims
        self._going_on = going_on

    async def settle(self, entry: Entry, state: State) -> None:
        """Settle a write, on disk before its answer may leave.

        The next of its turn goes now; or, if HOSP may be at this one yet, when nothing of it can come any more.
        """
        pending = not entry.exchange.own and self._fate.left(entry) > 0
        await self._keeping.close(entry, state, pending=pending)
        await self._claims.settle(entry, state, keeps_turn=pending)
        self._entries.leave(entry, state, keeps_turn=pending)
        if pending:
            self._going_on.begin(self._wait(entry, state))

    async def recover(self) -> None:
        """Keep the turns of settled writes whose process ended too early to know that nothing of them was to come."""
        for entry, state in await self._keeping.pending():
            self._entries.keep_turn(entry)
            self._going_on.begin(self._wait(entry, state))

    async def _wait(self, entry: Entry, state: State) -> None:
        while (left := self._fate.left(entry)) > 0:
            await task.deferLater(self._clock, min(left + 0.001, _SAID_AGAIN_S), lambda: None)
            if left > _SAID_AGAIN_S:
                await self._claims.settle(entry, state, keeps_turn=True)
        await self._claims.settle(entry, state)
        self._entries.give_turn(entry)
        await self._keeping.end_pending(entry)
