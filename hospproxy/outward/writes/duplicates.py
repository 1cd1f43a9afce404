"""Reports a write that HOSP carried out twice after all, so that an operator can delete the duplicate."""

from __future__ import annotations

from twisted.logger import Logger

from ...interfaces import IMeter
from .background import LateOutcomes
from .entry import WriteEntry
from .fate import WriteSender
from .seen_ids import SeenIds

_log = Logger()


class Duplicates:
    """Looks for a second record of a write that was sent again after a look had called it absent.

    :param later: gets the report for the audit trail.
    """

    def __init__(self, fate: WriteSender, sightings: SeenIds, later: LateOutcomes, meter: IMeter) -> None:
        self._fate = fate
        self._sightings = sightings
        self._later = later
        self._meter = meter

    async def report(self, entry: WriteEntry) -> None:
        """Wait until HOSP can no longer carry out the first attempt, then report any duplicate."""
        resource, watch = entry.call.operation.resource, f"{entry.reference}/again"
        if resource is None:
            return
        # Until then, the sightings must know which records belong to others.
        self._sightings.resume(resource, watch, entry.sequence)
        try:
            ids = await self._fate.all_of(entry)
        finally:
            self._sightings.close(resource, watch)
        if len(ids) < 2:
            return
        told = ", ".join(ids)
        _log.critical(
            "write {reference} was carried out twice: records {ids}. Delete the duplicate at HOSP",
            reference=entry.reference,
            ids=told,
        )
        self._meter.count("writes_total", outcome="twice")
        await self._later.record(entry.exchange, entry.reference, f"carried out twice: {told}")
