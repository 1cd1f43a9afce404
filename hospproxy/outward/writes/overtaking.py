"""Which writes are overtaken: their record was changed since, so the same write again is a new wish and no retry.

A title is set to A and the answer is lost; then it is set to B; then to A again. The third write must be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ...contract import Contract
from ...messages import Call, Response
from .equality import record_name
from .stored import same

if TYPE_CHECKING:
    from .entries import Entry


class ByRecord:
    """Entries by the record that they change, or that they made. Bounded by those that ``Entries`` remembers."""

    def __init__(self) -> None:
        self._entries: dict[bytes, list[Entry]] = {}

    def add(self, entry: Entry) -> None:
        """Remember an entry, if it is known what its record is."""
        if entry.record_name is not None:
            self._entries.setdefault(entry.record_name, []).append(entry)

    def remove(self, entry: Entry) -> None:
        """Forget it."""
        entries = self._entries.get(entry.record_name or b"", [])
        if entry in entries:
            entries.remove(entry)
            if not entries:
                del self._entries[entry.record_name or b""]

    def is_overtaken(self, entry: Entry) -> bool:
        """Whether a later write to its record is under way or waits for its turn."""
        others = self._entries.get(entry.record_name or b"", ())
        return any(
            other.is_open and other.number > entry.number and _overtakes(other, entry) for other in others
        )

    def overtaken_by(self, entry: Entry) -> list[Entry]:
        """Settled entries whose record this one has changed since, or may have."""
        others = self._entries.get(entry.record_name or b"", ())
        return [other for other in others if not other.is_open and _overtakes(entry, other)]

    def settled_changes(self) -> list[Entry]:
        """Changes whose answer has not been handed over, as far as it is known what they left."""
        return [
            entry
            for entries in self._entries.values()
            for entry in entries
            if not entry.is_open and not entry.made and entry.answer is not None
        ]


def _overtakes(later: Entry, first: Entry) -> bool:
    if later is first or later.equal == first.equal or later.made:
        return False
    # Who made a record and lost the answer has made it, whatever was written into it since.
    return not first.made or later.call.operation.action == "delete"


class Outside:
    """Watches HOSP's answers for records that are not as a change left them: somebody who does not come by here wrote.

    :param settled: changes whose answer has not been handed over.
    :param forget: forgets one.
    """

    def __init__(
        self, contract: Contract, settled: Callable[[], list[Entry]], forget: Callable[[Entry], None]
    ) -> None:
        self._contract = contract
        self._settled = settled
        self._forget = forget

    def saw(self, call: Call, response: Response, sent: float) -> None:
        """Take in an answer.

        :param sent: monotonic seconds at which HOSP was asked.
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
                self._forget(entry)

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
