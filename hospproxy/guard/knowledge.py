"""Remember fields of records from upstream responses, as far as permission rules compare them. Bounded.

It holds who wrote a record or what it belongs to, nothing else of a response, and no client is shown it.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IReactorTime

from ..contract.contract import Contract
from ..contract.permissions import Permission
from ..exchange.exchange import Call
from ..http.messages import ABSENT, Json, Response

_LONGEST = 64
"""Longest value in characters that is kept: ids are short."""

Value = int | str | None


class MissingField(enum.Enum):
    """Why a field has no value: it is not known, or HOSP says that the record does not exist."""

    UNKNOWN = "unknown"
    GONE = "gone"


_UNKNOWN: Final = MissingField.UNKNOWN
_Values = tuple[Value | MissingField, ...]
_Known = tuple[float, _Values]
"""Monotonic seconds at which a record was seen, and its fields."""

_SHORT_TYPES = frozenset({int, type(None)})
"""Types whose values are kept without a look at their length."""


def watched(contract: Contract, rules: tuple[Permission, ...]) -> dict[str, frozenset[str]]:
    """Return the fields that rules compare, by resource."""
    found: dict[str, set[str]] = {}

    def add(resource: str | None, name: str | None) -> None:
        if resource is not None and name:
            found.setdefault(resource, set()).add(name)

    for rule in rules:
        operations = [contract.operation(name) for name in rule.operations]
        for operation in operations if rule.allow in ("author", "unchanged") else ():
            add(operation.resource, rule.field)
        if rule.allow != "same" or rule.record is None or contract.identity is None:
            continue
        add(contract.operation(rule.record).resource, rule.field)
        add(contract.identity.resource, rule.field)
        for operation in operations:
            if operation.patient is not None and operation.patient.where == "answer":
                add(operation.resource, operation.patient.name)
    return {name: frozenset(fields) for name, fields in found.items()}


class Knowledge:
    """Fields of records, by resource and id.

    :param watch: the fields that are kept, by resource.
    :param clock: monotonic.
    :param most: number of records; beyond it the one learned longest ago is dropped.
    """

    def __init__(
        self, contract: Contract, watch: Mapping[str, frozenset[str]], clock: IReactorTime, most: int = 20_000
    ) -> None:
        self._clock = clock
        self._most = most
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._changed: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._all_changed = -math.inf
        self.version = 0
        """Differs whenever ``recall`` may return another value to a caller that accepts any age."""
        self._readers = {
            name: _ResponseReader(contract.resources[name].id, fields) for name, fields in watch.items()
        }

    def __len__(self) -> int:
        return len(self._known)

    def saw(
        self, call: Call, response: Response, began: float | None = None, document: Json = ABSENT
    ) -> None:
        """Learn from an upstream response.

        :param began: monotonic seconds at which its request began: a read does not overwrite what was changed since.
        :param document: its JSON; ABSENT: decode it here.
        """
        operation, resource = call.operation, call.operation.resource
        reader = None if resource is None else self._readers.get(resource)
        if resource is None or reader is None:
            return
        if not 200 <= response.status < 300 or operation.becomes_note is not None:
            return
        if operation.action == "delete" and call.record_id is not None:
            self.forget(resource, call.record_id)
            return
        found = reader.records(response.body) if document is ABSENT else reader.rows(document)
        now, changed, known = self._clock.seconds(), self._changed, self._known
        if not operation.is_write and began is not None and began <= self._all_changed:
            return
        for number, values in found:
            key = (resource, number)
            if operation.is_write:
                self._note_change(key)
            elif changed and began is not None and began <= changed.get(key, -math.inf):
                continue
            before = known.pop(key, None)
            if before is None or before[1] != values:
                self.version += 1
            known[key] = (now, values)
        while len(known) > self._most:
            known.popitem(last=False)

    def read(self, resource: str, body: bytes) -> Mapping[str, Value] | None:
        """Return the watched fields of the one record in a response body; None if it is not a single record."""
        reader = self._readers.get(resource)
        if reader is None or body.lstrip()[:1] != b"{":
            return None
        found = reader.records(body)
        if not found:
            return None
        values = zip(reader.names, found[0][1], strict=True)
        return {name: value for name, value in values if not isinstance(value, MissingField)}

    def recall(
        self, resource: str, record_id: str, name: str, max_age_s: float | None = None
    ) -> Value | MissingField:
        """Return a field's last known value.

        :param max_age_s: seconds; None: accept any age.
        """
        known = self._known.get((resource, record_id))
        if known is None:
            return MissingField.UNKNOWN
        at, values = known
        too_old = max_age_s is not None and self._clock.seconds() - at > max_age_s
        if too_old or (max_age_s is not None and at <= self._all_changed):
            return MissingField.UNKNOWN
        names = self._readers[resource].names
        return values[names.index(name)] if name in names else MissingField.UNKNOWN

    def forget(self, resource: str | None, record_id: str | None) -> None:
        """Forget a record that is being changed."""
        if resource is not None and record_id is not None:
            self._known.pop((resource, record_id), None)
            self.version += 1
            self._note_change((resource, record_id))

    def doubt_all(self) -> None:
        """Any record may have changed: from now on older knowledge counts only for a caller that accepts any age."""
        self._all_changed = self._clock.seconds()

    def _note_change(self, key: tuple[str, str]) -> None:
        self._changed[key] = self._clock.seconds()
        self._changed.move_to_end(key)
        if len(self._changed) > self._most:
            self._changed.popitem(last=False)


class _ResponseReader:
    """Takes the watched fields of records, and skips all others.

    :ivar names: the fields in the order of the values; the id comes first.
    """

    def __init__(self, id_field: str, fields: frozenset[str]) -> None:
        self.names = (id_field, *sorted(fields - {id_field}))
        take = itemgetter(*self.names)
        self._usual: Callable[[Any], tuple[Any, ...]] = (
            take if fields - {id_field} else lambda row: (take(row),)
        )
        members = {f"field{place}": name for place, name in enumerate(self.names)}
        shape: Any = msgspec.defstruct(
            "Record", [(member, Any, _UNKNOWN) for member in members], rename=members
        )
        self._members = tuple(members)
        self._one = msgspec.json.Decoder(shape)
        self._many = msgspec.json.Decoder(list[shape])

    def records(self, body: bytes) -> list[tuple[str, _Values]]:
        """Return ids and fields of the records in a JSON object or list; nothing for any other content."""
        try:
            if body.lstrip()[:1] == b"[":
                found = self._many.decode(body)
            else:
                found = [self._one.decode(body)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []
        return _kept([tuple([getattr(one, member) for member in self._members]) for one in found])

    def rows(self, document: Json) -> list[tuple[str, _Values]]:
        """``records``, of a document that is decoded already."""
        rows = document if isinstance(document, list) else [document]
        try:
            taken = [self._usual(row) for row in rows]
        except (KeyError, TypeError):  # an element that is no record, or one that lacks a field
            if not all(isinstance(row, dict) for row in rows):
                return []
            taken = [tuple([row.get(name, _UNKNOWN) for name in self.names]) for row in rows]
        if {type(value) for values in taken for value in values} <= _SHORT_TYPES:
            return [(str(values[0]), values) for values in taken if values[0] is not None]
        return _kept(taken)


def _kept(taken: list[tuple[Any, ...]]) -> list[tuple[str, _Values]]:
    """The ids of records, and their values; those that are too long count as unknown."""
    return [
        (str(values[0]), tuple([value if _short(value) else _UNKNOWN for value in values]))
        for values in taken
        if values[0] is not None and _short(values[0])
    ]


def _short(value: object) -> bool:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return True
    return isinstance(value, str) and len(value) <= _LONGEST
