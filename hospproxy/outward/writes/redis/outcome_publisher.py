"""Publishes the outcomes of writes in Redis: repeats each until Redis has it, and all of them after Redis lost them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from attrs import evolve
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ....http.errors import ProxyError
from ....interfaces import IMeter
from ....process.background import Background
from ....sharing.kinds import Away
from ..entry import WriteEntry
from ..seen_ids import SeenIds
from .claim_scripts import ClaimScripts
from .outcome_notes import OutcomeNote, OutcomeNotes

_log = Logger()
COMPLETE_S = 10.5
"""A little more than the seconds after a loss for which claims.lua waits for workers that have not published yet."""


class LedgerKeys(Protocol):
    """The part of the ledger that other workers must know."""

    def keyed(self, kept_s: float) -> AsyncIterator[WriteEntry]:
        """Iterate over the settled writes with a key of the last ``kept_s`` seconds.

        Those that are pending keep their turn, at this process or at a sibling.
        """

    async def is_handed_over(self, reference: str) -> bool:
        """Whether a client of this machine has the response to a write."""


class OutcomePublisher:
    """Publishes the writes of one worker.

    :param under_way: returns the notes of this process's open writes.
    :param of: builds the note of a settled write.
    :param window_s: seconds for which an equal write counts as a retry.
    :param kept_s: age in seconds up to which settled writes with a key are published again after a loss.
    """

    def __init__(
        self,
        scripts: ClaimScripts,
        under_way: Callable[[], Iterable[OutcomeNote]],
        of: Callable[[WriteEntry, str], OutcomeNote],
        sightings: SeenIds,
        keys: LedgerKeys,
        clock: IReactorTime,
        random: Callable[[], float],
        meter: IMeter,
        *,
        window_s: float,
        kept_s: float,
    ) -> None:
        self._scripts = scripts
        self._under_way = under_way
        self._of = of
        self._sightings = sightings
        self._keys = keys
        self._clock = clock
        self._random = random
        self._meter = meter
        self._window_s = window_s
        self._kept_s = kept_s
        self._notes = OutcomeNotes()
        self._background = Background(
            _log, "writes could not be published to the other workers (a bug)", meter
        )
        self._busy = False
        self._timer: IDelayedCall | None = None
        self._all = False
        self._stopped = False
        self._complete: IDelayedCall | None = None
        meter.gauge("claims_unsaid", lambda: float(len(self._notes)))

    async def say(self, note: OutcomeNote) -> None:
        """Publish a note now; if Redis is away, later."""
        self._notes.add(note)
        merged = self._notes.get(note.reference)
        assert merged is not None
        try:
            await self._say(merged)
        except Away:
            self._soon()

    async def _say(self, note: OutcomeNote) -> None:
        await self._scripts.settle(note, self._window_s)
        self._notes.said(note)

    def again(self) -> None:
        """Publish everything again, soon."""
        self._all = True
        self._soon(0.0)

    def _soon(self, seconds: float | None = None) -> None:
        """Schedule ``_go_on``, unless it runs already or is scheduled; ``seconds`` replaces a scheduled time."""
        if self._stopped or self._busy:
            return
        if self._timer is not None and self._timer.active():
            if seconds is None:
                return
            self._timer.cancel()
        pause = 0.5 + 0.5 * self._random() if seconds is None else seconds
        self._timer = self._clock.callLater(pause, self._go_on)

    def _go_on(self) -> None:
        self._busy = True
        self._background.run(self._everything(), self._over)

    def _over(self, _: object) -> None:
        self._busy = False
        if self._all or len(self._notes):
            self._soon()

    async def _everything(self) -> None:
        try:
            if self._all:
                self._all = False
                try:
                    await self._say_all()
                except BaseException:
                    self._all = True
                    raise
            while (note := self._notes.oldest(self._clock.seconds())) is not None:
                await self._say(note)
        except Away:
            pass
        except ProxyError as error:
            _log.error(
                "idempotency keys could not be read from the ledger for the other workers: {why}; will try again",
                why=error.detail,
            )

    async def _say_all(self) -> None:
        for note in self._under_way():
            await self._scripts.settle(note, self._window_s)
        async for entry in self._keys.keyed(self._kept_s):
            note = self._of(entry, entry.state.value)
            if entry.pending:
                note = evolve(note, keeps_turn=2)
            await self._scripts.settle(note, self._window_s)
        highest = [one for pair in self._sightings.all_highest().items() for one in map(str, pair)]
        waits = self._complete is not None and self._complete.active()
        if not await self._scripts.said(highest) and not self._stopped and not waits:
            # By then claims.lua stops waiting for silent workers; publish again so that it notes so without a write.
            self._complete = self._clock.callLater(COMPLETE_S, self.again)

    def stop(self) -> None:
        """Stop publishing: cancel the timers and the work in progress."""
        self._stopped = True
        for timer in (self._timer, self._complete):
            if timer is not None and timer.active():
                timer.cancel()
        self._background.stop()
