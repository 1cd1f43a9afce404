"""Which record ids HOSP has shown, and which belong to a write or were changed by others. Bounded.

This tells a write's own record from others'.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain
from typing import Any, TypeGuard

import msgspec

from ...contract.contract import Contract, Operation
from ...exchange.exchange import Call
from ...http.messages import ABSENT, Json, Response
from ..ledger.store import HIGHEST_ID
from .versions import RecordVersions

Id = int | str
MOST_DIGITS = 100
"""Maximum digits of an id that is parsed as a number: int() refuses very long ones."""
LATELY = 1_000
"""Maximum number of settled writes' records to remember for one resource."""


class SeenIds:
    """Watches every response of HOSP.

    Claims and touches are stored only while an open write could mistake such a record for its own. The last certain
    claims are stored for longer.

    :param most: maximum number of claims, and of touches, for one resource. Beyond it, outcomes there are unknowable.
    """

    def __init__(self, contract: Contract, *, most: int = 50_000) -> None:
        self._contract = contract
        self._most = most
        self._highest: dict[str, int] = {}
        self._made: dict[str, int] = {}
        self._claimed: dict[str, dict[Id, str]] = {}
        self._lately: dict[str, OrderedDict[Id, str]] = {}
        self._touched: dict[str, set[Id]] = {}
        self._floors: dict[str, dict[str, int | None]] = {}
        self.overflowed: set[str] = set()
        self.versions = RecordVersions(frozenset(contract.addresses))

    def saw(self, call: Call, response: Response, document: Json = ABSENT) -> None:
        """Process a response: remember the highest id in it.

        :param document: its JSON; ABSENT: decode it here.
        """
        name = call.operation.resource
        if name is None or not 200 <= response.status < 300 or call.operation.becomes_note is not None:
            return
        if document is ABSENT:
            document = _decoded(response.body)
        numbers = _ids(document, self._contract.resources[name].id)
        highest = _highest(numbers)
        if highest > self._highest.get(name, 0):
            self._highest[name] = highest
        if isinstance(document, dict) and len(numbers) == 1:
            self.versions.keep(name, str(numbers[0]), document)
            if call.operation.action == "create":
                self.made(name, numbers[0])

    def made(self, resource: str, number: Id) -> None:
        """The upstream gave this id to a new record. So its sequence is at least here, whatever ids were imported."""
        if is_in_order(number):
            self._made[resource] = max(number, self._made.get(resource, 0))

    def sequence(self, resource: str) -> int | None:
        """The highest id that a new record was seen to get, or None."""
        return self._made.get(resource)

    def highest(self, resource: str) -> int | None:
        """The highest id seen so far, or None."""
        return self._highest.get(resource)

    def all_highest(self) -> dict[str, int]:
        """The highest id seen so far, for each resource."""
        return dict(self._highest)

    def open(self, resource: str, reference: str) -> int | None:
        """A write begins. Returns the highest id seen so far, or None."""
        self.resume(resource, reference, self._made.get(resource))
        return self._highest.get(resource)

    def resume(self, resource: str, reference: str, sequence: int | None) -> None:
        """Watch for a write of an earlier process, knowing only what was known when the write began.

        :param sequence: the highest id that a new record had been seen to get by then.
        """
        self._floors.setdefault(resource, {})[reference] = sequence

    def close(self, resource: str, reference: str) -> None:
        """A write is settled: forget what only this write needed."""
        floors = self._floors.get(resource, {})
        floors.pop(reference, None)
        if not floors:
            self._floors.pop(resource, None)
            self._claimed.pop(resource, None)
            self._touched.pop(resource, None)
            self.overflowed.discard(resource)
            return
        known = [floor for floor in floors.values() if floor is not None]
        if len(known) < len(floors):
            return
        lowest = min(known)
        claims, touched = self._claimed.get(resource, {}), self._touched.get(resource, set())
        for number in [number for number in claims if isinstance(number, int) and number <= lowest]:
            del claims[number]
        touched.difference_update(
            [number for number in touched if isinstance(number, int) and number <= lowest]
        )

    def claim(self, resource: str, number: Id, reference: str, *, lasting: bool = False) -> bool:
        """Assign a record to a write. Returns False if the record belongs to another write already.

        :param lasting: the assignment is certain. It is remembered for a while even if no write is open: by its date,
            such a record may look newer than a write that begins after it.
        """
        if lasting:
            made = self._lately.setdefault(resource, OrderedDict())
            made.setdefault(number, reference)
            while len(made) > LATELY:
                made.popitem(last=False)
        if resource not in self._floors:
            return True
        claims = self._claimed.setdefault(resource, {})
        if len(claims) >= self._most:
            self.overflowed.add(resource)
            return True
        return claims.setdefault(number, reference) == reference

    def touch(self, operation: Operation, record_id: str | None) -> None:
        """A record is changed or deleted through the proxy."""
        if operation.resource is not None and record_id is not None:
            self.touch_record(operation.resource, record_id)

    def touch_record(self, name: str, record_id: str) -> None:
        """A record is changed or deleted, here or by another worker."""
        if name not in self._floors:
            return
        touched = self._touched.setdefault(name, set())
        if len(touched) >= self._most:
            self.overflowed.add(name)
            return
        touched.add(id_of(record_id))

    def claimed_by_others(self, resource: str, reference: str) -> frozenset[Id]:
        """Ids that belong to other writes."""
        claims = chain(self._lately.get(resource, {}).items(), self._claimed.get(resource, {}).items())
        return frozenset(number for number, owner in claims if owner != reference)

    def touched(self, resource: str) -> frozenset[Id]:
        """Ids that were changed or deleted through the proxy while a write was open."""
        return frozenset(self._touched.get(resource, ()))


def id_of(text: str) -> Id:
    """Convert an id from a path, the ledger or Redis to its form in a record."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else text


def is_in_order(number: Id) -> TypeGuard[int]:
    """Whether an id belongs to a sequence that can be compared everywhere."""
    return isinstance(number, int) and 0 < number <= HIGHEST_ID


def ids_in(body: bytes, field: str) -> list[Id]:
    """The ids of the record or records in a response; empty if there are none."""
    return _ids(_decoded(body), field)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _highest(numbers: list[Id]) -> int:
    """The highest of the ids that can be compared everywhere; 0 if there is none."""
    if numbers and set(map(type, numbers)) == {int}:
        highest: Any = max(numbers)
        if is_in_order(highest):
            return highest
    return max(filter(is_in_order, numbers), default=0)


def _ids(document: Any, field: str) -> list[Id]:
    rows = document if isinstance(document, list) else [document]
    found: list[Any]
    try:
        found = [row[field] for row in rows]
    except (KeyError, TypeError):  # an element that is no record, or one without an id
        found = [row.get(field) for row in rows if isinstance(row, dict)]
    if set(map(type, found)) == {int}:
        return found
    return [number for number in found if isinstance(number, (int, str)) and not isinstance(number, bool)]
