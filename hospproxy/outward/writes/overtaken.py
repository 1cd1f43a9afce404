"""Which writes are overtaken: their record was changed since, so an equal write is a new request, not a retry.

Example: a client sets a title to A and the response is lost; then it sets B; then A again. The third write must be
sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import msgspec
from twisted.logger import Logger

from ...contract.contract import Contract
from ...exchange.exchange import Call
from ...http.messages import Response
from ...interfaces import IMeter
from ...process.background import Background
from .entry import WriteEntry
from .equality import record_name
from .stored_values import same

_log = Logger()


class EntriesByRecord:
    """Index of entries by the record that they change or made. Bounded by what ``WriteEntries`` remembers."""

    def __init__(self) -> None:
        self._entries: dict[bytes, list[WriteEntry]] = {}

    def add(self, entry: WriteEntry) -> None:
        """Add an entry, if its record is known."""
        if entry.record_name is not None:
            self._entries.setdefault(entry.record_name, []).append(entry)

    def remove(self, entry: WriteEntry) -> None:
        """Remove an entry from the index."""
        entries = self._entries.get(entry.record_name or b"", [])
        if entry in entries:
            entries.remove(entry)
            if not entries:
                del self._entries[entry.record_name or b""]

    def is_overtaken(self, entry: WriteEntry) -> bool:
        """Whether a later write to its record is in flight or waits for its turn."""
        others = self._entries.get(entry.record_name or b"", ())
        return any(
            other.is_open and other.number > entry.number and _overtakes(other, entry) for other in others
        )

    def overtaken_by(self, entry: WriteEntry) -> list[WriteEntry]:
        """Settled entries whose record this one has changed since, or may have."""
        others = self._entries.get(entry.record_name or b"", ())
        return [other for other in others if not other.is_open and _overtakes(entry, other)]

    def settled_changes(self) -> list[WriteEntry]:
        """Settled changes whose response has not been handed over, if the state they left is known."""
        return [
            entry
            for entries in self._entries.values()
            for entry in entries
            if not entry.is_open and not entry.made and entry.answer is not None
        ]


def _overtakes(later: WriteEntry, first: WriteEntry) -> bool:
    if later is first or later.equal == first.equal or later.made:
        return False
    # A client that created a record and lost the response has created it, whatever was written into it since.
    return not first.made or later.call.operation.action == "delete"


class OutsideChanges:
    """Watches HOSP's responses for records that differ from what a change left: they were written without the proxy.

    :param settled: returns the changes whose response has not been handed over.
    :param forget: forgets one of them, so that an equal write is no longer its retry; ends once that is on disk.
    """

    def __init__(
        self,
        contract: Contract,
        settled: Callable[[], list[WriteEntry]],
        forget: Callable[[WriteEntry], Coroutine[Any, Any, None]],
        meter: IMeter,
    ) -> None:
        self._contract = contract
        self._settled = settled
        self._forget = forget
        self._notes = Background(
            _log, "a change that bypassed the proxy was not noted; this is a bug: report the traceback", meter
        )

    def noting(self, call: Call) -> Awaitable[None] | None:
        """What a read's response has to wait for: changes that it may show are being noted on disk.

        If its client saw the change, and a crash undid the note, its next equal write would be taken for a retry.
        """
        return self._notes.idle() if len(self._notes) and call.operation.is_read else None

    def saw(self, call: Call, response: Response, sent: float) -> None:
        """Process a response of HOSP: forget the changes that it contradicts.

        :param sent: monotonic seconds at which the request was sent to HOSP.
        """
        name = call.operation.resource
        if name is None or not call.operation.is_read or response.status != 200:
            return
        earlier = [entry for entry in self._settled() if entry.ended is not None and entry.ended <= sent]
        if not earlier:
            return
        rows = self._rows(name, response)
        for entry in earlier:
            row, left = rows.get(entry.record_name or b""), _object(entry.answer)
            if row is not None and left is not None and self._differs(left, row):
                self._notes.run(self._forget(entry))

    def _rows(self, name: str, response: Response) -> dict[bytes, Mapping[str, Any]]:
        document = _document(response)
        rows = document if isinstance(document, list) else [document]
        rule = self._contract.resources[name]
        return {record_name(name, str(row.get(rule.id))): row for row in rows if isinstance(row, dict)}

    def _differs(self, left: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
        fields = (left.keys() & row.keys()) - set(self._contract.addresses)
        return any(not same(left[field], row[field]) for field in fields)


def _object(response: Response | None) -> dict[str, Any] | None:
    document = None if response is None else _document(response)
    return document if isinstance(document, dict) else None


def _document(response: Response) -> Any:
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
