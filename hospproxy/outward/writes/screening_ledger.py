"""Screening results in the ledger, from before the user gets the response until the note is stored."""

from __future__ import annotations

from collections.abc import Sequence

from ...exchange.exchange import Identified
from .entry import WriteEntry, WriteState
from .ledger_entries import LedgerEntries


class ScreeningLedger:
    """Stores the notes of screenings among the entries of other writes."""

    def __init__(self, keeping: LedgerEntries) -> None:
        self._keeping = keeping

    async def keep(self, notes: Sequence[Identified]) -> None:
        """Store the notes of one result: all of them or none.

        :param notes: the notes' own exchanges, each with its own reference.
        :raise LedgerFailed: they are not on disk.
        """
        await self._keeping.enter_results([_result(note) for note in notes])

    async def stored(self, note: Identified) -> None:
        """HOSP has stored the note: close its row."""
        await self._keeping.close(_result(note), WriteState.ANSWERED, "screening")

    async def refused(self, note: Identified) -> None:
        """HOSP refuses the note: keep it here, so that its author can fetch it."""
        await self._keeping.keep_refused(_result(note))


def _result(note: Identified) -> WriteEntry:
    return WriteEntry(note.trace.reference or "", b"", note, 0.0)
