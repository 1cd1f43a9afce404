"""Shows the journal's records to the alert rules, in order. A carrier reads them, and saves how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from zope.interface import implementer

from ...interfaces import IAuditWriter
from ..trail.follower import Batch
from ..trail.scan import record_of
from .noticer import Noticer

_PLAIN = (b'"kind":"request"', b'"kind":"look"')
"""In the lines of records that a rule may need."""


@implementer(IAuditWriter)
class AlertRules:
    """A sink for the rules. A record is shown again only if the process dies before the carrier has saved its position.

    :ivar from_now: rules need no records from before the first start with alerts.
    """

    name = "alert-rules"
    from_now = True

    def __init__(self, noticer: Noticer) -> None:
        self._noticer = noticer

    async def open(self) -> None:
        """Do nothing: there is nothing to prepare."""

    async def write(self, batch: Batch) -> None:
        """Show the batch's records to the rules, and wait until their alerts are on disk."""
        for line in batch.lines:
            if any(kind in line for kind in _PLAIN):
                record = record_of(line)
                if "kind" in record:  # not so for a damaged line, which must not block the others
                    self._noticer.observe(record, _made_at(record))
        await self._noticer.kept()

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _made_at(record: Mapping[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(record.get("time"))).timestamp()
    except ValueError:
        return None
