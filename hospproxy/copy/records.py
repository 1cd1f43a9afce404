"""Finds the records in HOSP's responses that the copy may keep: complete, and as the contract says. Pure."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import field, frozen

from ..contract.contract import Check, Contract, Operation, Resource, SchemaError
from ..http.messages import Json
from ..outward.writes.verdict import moment

MOST_ID = 100
"""Characters of the longest id that is kept."""


@frozen(slots=True)
class CopiedRecord:
    """A record as the copy keeps it.

    :param id: as text.
    :param content: JSON, without addresses and write-only fields, its fields in HOSP's order.
    :param updated: seconds of its ``updated_at``, by HOSP's clock; None if it has none.
    """

    resource: str
    id: str
    content: bytes = field(repr=False)
    updated: float | None = None

    def digest(self, key: bytes) -> bytes:
        """Return a keyed hash by which the same content is recognised; the order of its fields does not count."""
        document = msgspec.json.decode(self.content)
        return hmac.digest(key, msgspec.json.encode(document, order="deterministic"), hashlib.sha256)[:16]


class NotWhole(Exception):
    """A response holds a record that is incomplete, or not as the contract says."""


@frozen(slots=True)
class ResourceShape:
    """What the contract says about the records of one resource.

    :param fields: that a complete record has, in the contract's order.
    :param dropped: that are never kept: write-only ones and addresses.
    :param check: of one record.
    """

    resource: Resource
    fields: tuple[str, ...]
    dropped: frozenset[str]
    check: Check

    def read(self, document: Json) -> CopiedRecord:
        """Return a record of this resource.

        :raise NotWhole: it cannot be kept.
        """
        return self._read(document, self.check)

    def _read(self, document: Json, check: Check) -> CopiedRecord:
        if not isinstance(document, Mapping):
            raise NotWhole("is no object")
        number = as_id(document.get(self.resource.id))
        if number is None or any(name not in document for name in self.fields) or check(document):
            raise NotWhole("is incomplete, or not as the contract says")
        kept = {name: value for name, value in document.items() if name not in self.dropped}
        name = self.resource.updated_at
        updated = None if name is None else moment_of(document.get(name))
        try:
            return CopiedRecord(self.resource.name, number, msgspec.json.encode(kept), updated)
        except (UnicodeEncodeError, ValueError, OverflowError, RecursionError) as error:
            raise NotWhole(str(error)) from None

    def read_kept(self, content: bytes) -> CopiedRecord:
        """Return a record from what the copy keeps of it.

        :raise NotWhole: it is not as the contract says now.
        """
        try:
            document: Any = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NotWhole("is no JSON") from None
        if not isinstance(document, dict):
            raise NotWhole("is no object")
        return self._read(document, self._wrong_in_kept)

    def _wrong_in_kept(self, document: Any) -> Sequence[SchemaError]:
        """What is wrong with a kept record. What the contract asks of dropped fields does not count."""
        wrong: list[SchemaError] = []
        for whole in (document, {**dict.fromkeys(self.dropped, ""), **document}):  # they may be required
            wrong = [one for one in self.check(whole) if one.field.partition(".")[0] not in self.dropped]
            if not wrong:
                break
        return wrong


@frozen(slots=True)
class Shapes:
    """The resources that the copy keeps, and what their records look like."""

    by_name: Mapping[str, ResourceShape]

    @classmethod
    def of(cls, contract: Contract) -> Shapes:
        """The resources that the contract marks, if one of its operations reads a single record of them."""
        found = {}
        for name, resource in contract.resources.items():
            reading = next((one for one in contract.operations.values() if _reads_one(one, name)), None)
            if resource.copy and reading is not None:
                found[name] = _shape(contract, resource, reading)
        return cls(found)

    def records(self, resource: str, body: bytes) -> Iterator[CopiedRecord | None]:
        """Yield each record in a body; None for one that cannot be kept.

        :param body: JSON: an object, or a list of objects. Of anything else nothing is yielded.
        """
        shape = self.by_name[resource]
        try:
            document: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        for one in document if isinstance(document, list) else [document]:
            try:
                yield shape.read(one)
            except NotWhole:
                yield None


def as_id(value: Json) -> str | None:
    """Return an id as text; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value) if isinstance(value, str) or abs(value) < 10**MOST_ID else ""
    return text if 0 < len(text) <= MOST_ID and text.isprintable() else None


def moment_of(stamp: Json) -> float | None:
    """Return a timestamp in seconds since the epoch; None if it is none."""
    try:
        found = moment(stamp)
    except (OverflowError, ValueError):
        return None
    return found if found is not None and math.isfinite(found) else None


def _reads_one(operation: Operation, resource: str) -> bool:
    return operation.action == "read" and operation.resource == resource and bool(operation.parameters)


def _shape(contract: Contract, resource: Resource, reading: Operation) -> ResourceShape:
    expected = reading.answers.get("200")
    hidden = {
        name
        for one in contract.operations.values()
        if one.resource == resource.name
        for name in one.write_only
    }
    dropped = frozenset({*hidden, *contract.addresses})
    check = None if expected is None else expected.check
    names = () if expected is None else expected.fields
    return ResourceShape(
        resource, tuple(_without(names, dropped)), dropped, check if check is not None else _any
    )


def _without(names: Iterable[str], dropped: frozenset[str]) -> Iterator[str]:
    return (name for name in names if name not in dropped)


def _any(_value: Json) -> tuple[()]:
    return ()
