"""Remember fields of records from upstream responses, as far as permission rules compare them. Bounded.

It holds who wrote a record or what it belongs to, nothing else of a response, and no client is shown it.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

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


_Known = tuple[float, Mapping[str, Value]]
"""Monotonic seconds at which a record was seen, and its fields."""


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
            before = known.get(key)
            if before is None or before[1] != values:
                self.version += 1
            known[key] = (now, values)
            known.move_to_end(key)
        while len(known) > self._most:
            known.popitem(last=False)

    def read(self, resource: str, body: bytes) -> Mapping[str, Value] | None:
        """Return the watched fields of the one record in a response body; None if it is not a single record."""
        reader = self._readers.get(resource)
        if reader is None or body.lstrip()[:1] != b"{":
            return None
        found = reader.records(body)
        return found[0][1] if found else None

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
        return values.get(name, MissingField.UNKNOWN)

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
    """Decodes the watched fields and skips all others."""

    def __init__(self, id_field: str, fields: frozenset[str]) -> None:
        self._names = {"id": id_field, **{f"field{n}": name for n, name in enumerate(sorted(fields))}}
        self._id_field = id_field
        self._fields = tuple(self._names.values())
        members = [(name, Any, msgspec.UNSET) for name in self._names]
        shape: Any = msgspec.defstruct("Record", members, rename=self._names)
        self._one = msgspec.json.Decoder(shape)
        self._many = msgspec.json.Decoder(list[shape])

    def records(self, body: bytes) -> list[tuple[str, dict[str, Value]]]:
        """Return ids and fields of the records in a JSON object or list; nothing for any other content."""
        try:
            if body.lstrip()[:1] == b"[":
                found = self._many.decode(body)
            else:
                found = [self._one.decode(body)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []
        return [(str(one.id), self._values(one)) for one in found if _short(one.id) and one.id is not None]

    def rows(self, document: Json) -> list[tuple[str, dict[str, Value]]]:
        """``records``, of a document that is decoded already."""
        found = []
        for row in document if isinstance(document, list) else (document,):
            if not isinstance(row, dict):
                return []
            number = row.get(self._id_field)
            if type(number) is int or (number is not None and _short(number)):
                values = {}
                for name in self._fields:
                    value = row.get(name, msgspec.UNSET)
                    if type(value) is int or _short(value):
                        values[name] = value
                found.append((str(number), values))
        return found

    def _values(self, record: Any) -> dict[str, Value]:
        given = {name: getattr(record, member) for member, name in self._names.items()}
        return {name: value for name, value in given.items() if _short(value)}


def _short(value: object) -> bool:
    if type(value) is int:
        return True
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return True
    return isinstance(value, str) and len(value) <= _LONGEST
