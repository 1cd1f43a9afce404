"""Turns of settled writes that HOSP may still carry out: each is kept until HOSP has carried it out or never will."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet import task
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..ledger.store import TurnKeeper
from .background import LateWork
from .claims import Claims
from .entries import WriteEntries
from .entry import WriteEntry, WriteState
from .fate import WriteSender
from .ledger_entries import LedgerEntries

_log = Logger()
_ASKED_AGAIN_S = 2.0
"""Seconds between two questions whether a sibling still keeps a turn."""
_SAID_AGAIN_S = 30.0
"""Seconds after which other workers are told again that a settled write keeps its turn."""


class WriteTurns:
    """Settles writes, and passes their turns on.

    If the turn were passed on too early, a PATCH that HOSP carries out late would undo what was written to the record
    in between.

    :param over: called when a settled write can no longer be in flight, before its turn is passed on.
    """

    def __init__(
        self,
        clock: IReactorTime,
        entries: WriteEntries,
        keeping: LedgerEntries,
        fate: WriteSender,
        claims: Claims,
        late_work: LateWork,
        over: Callable[[WriteEntry], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._entries = entries
        self._keeping = keeping
        self._fate = fate
        self._claims = claims
        self._late_work = late_work
        self._over = over

    async def settle(self, entry: WriteEntry, state: WriteState) -> None:
        """Settle a write, on disk before its response may leave.

        Its turn is passed on now, or, if HOSP may still carry the write out, once that is no longer possible.
        """
        pending = not entry.exchange.own and self._fate.left(entry) > 0
        await self._keeping.close(entry, state, pending=pending)
        await self._claims.settle(entry, state, keeps_turn=pending)
        self._entries.leave(entry, state, keeps_turn=pending)
        if pending:
            self._late_work.begin(self._wait(entry, state))

    async def recover(self) -> None:
        """Keep the turns of this machine's settled writes that HOSP may still carry out.

        Those of a dead process are this one's from now on. Those of a live sibling are kept as long as it keeps them:
        it knows since when HOSP has been working on them, and this process does not.
        """
        for entry in await self._keeping.pending():
            self._entries.keep_turn(entry)
            self._late_work.begin(self._follow(entry))

    async def _follow(self, entry: WriteEntry) -> None:
        """Keep a turn that another process kept, and say that it is over only if that process is dead."""
        while (keeper := await self._keeping.keep_turn(entry)) is TurnKeeper.SIBLING:
            await task.deferLater(self._clock, _ASKED_AGAIN_S, lambda: None)
        if keeper is TurnKeeper.NOBODY:
            # The sibling has told everybody.
            self._entries.give_turn(entry)
            return
        # Its process is dead, so HOSP has received it by now or never will.
        entry.sent = self._clock.seconds()
        await self._settle(entry, entry.state, keeps_turn=True)
        await self._wait(entry, entry.state)

    async def _wait(self, entry: WriteEntry, state: WriteState) -> None:
        said = self._clock.seconds()
        while (left := self._fate.left(entry)) > 0:
            await task.deferLater(self._clock, min(left + 0.001, _SAID_AGAIN_S), lambda: None)
            # Count real time: while HOSP is suspended, what is left does not become less.
            if self._clock.seconds() >= said + _SAID_AGAIN_S:
                said = self._clock.seconds()
                await self._settle(entry, state, keeps_turn=True)
        try:
            if entry.is_readable:
                await self._over(entry)
        except CancelledError:
            raise
        except Exception:
            # This failure must not keep the record locked.
            _log.failure(
                "cache entries that write {name} made stale could not be invalidated; "
                "this is a bug: report the traceback",
                name=entry.reference,
            )
        await self._settle(entry, state)
        self._entries.give_turn(entry)
        await self._keeping.end_pending(entry)

    async def _settle(self, entry: WriteEntry, state: WriteState, *, keeps_turn: bool = False) -> None:
        if not entry.handed_over:
            # Another entry or another worker may have handed over the response of an earlier process's write meanwhile.
            entry.handed_over = await self._keeping.is_handed_over(entry.reference)
        await self._claims.settle(entry, state, keeps_turn=keeps_turn)
