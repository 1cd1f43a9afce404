"""Shows the journal's records to the alert rules, in order. A carrier reads them, and saves how far it has come."""

from __future__ import annotations

from datetime import datetime

from zope.interface import implementer

from ...interfaces import IAuditWriter
from ..trail import alike
from ..trail.follower import Batch
from ..trail.scan import record_of
from .noticer import Noticer, SeenRecord

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
        self._alike = alike.AlikeLines(self._seen)

    async def open(self) -> None:
        """Do nothing: there is nothing to prepare."""

    async def write(self, batch: Batch) -> None:
        """Show the batch's records to the rules, and wait until their alerts are on disk."""
        observe_seen, known = self._noticer.observe_seen, self._alike.of
        for line in batch.lines:
            found = known(line)
            if found is not None:
                time_ms, request_id, seen = found
                observe_seen(seen, None if time_ms is None else time_ms / 1000, request_id.decode())
            elif any(kind in line for kind in _PLAIN):
                record = record_of(line)
                if "kind" in record:  # not so for a damaged line, which must not block the others
                    self._noticer.observe(record, _made_at(record.get("time")))
        await self._noticer.kept()

    def _seen(self, line: bytes) -> SeenRecord | None:
        """What the rules need of all lines like a sample; None if time and id are not at their places."""
        record = record_of(line)
        if record.get("time") != alike.TIME or record.get("request_id") != alike.REQUEST_ID:
            return None
        try:
            return self._noticer.seen(record)
        except Exception:  # ``observe`` says so for each such record
            return None

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _made_at(time: object) -> float | None:
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return None
