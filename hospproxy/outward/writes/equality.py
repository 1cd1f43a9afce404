"""Which writes are equal, and which writes share a turn. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from ...exchange.exchange import Identified
from ...http.messages import ABSENT, Json
from .stored_values import DoubtfulValue, as_stored


def what(exchange: Identified) -> bytes:
    """What a write does and for whom, as bytes: method, path, author, query and document.

    In a new record, a field that is null equals one that is left out. In a change, null clears the field, so it
    counts.
    """
    call = exchange.call
    document = call.document
    if call.operation.lookup is not None and isinstance(document, dict):
        document = _without_nulls(document)
    return _packed(exchange, document)


def turn_of(exchange: Identified) -> bytes:
    """The write's turn, as bytes: the record that it changes, or the content of a new record.

    Writes with the same turn go one at a time. A text column stores a number as its digits, so 5 and "5" make records
    that no look can tell apart.
    """
    record, call = record_of(exchange), exchange.call
    if record is not None:
        return record
    document = call.document
    if call.operation.lookup is not None and isinstance(document, dict):
        stored = {
            name: value
            for name, value in as_stored(document, call.operation).items()
            if not isinstance(value, DoubtfulValue)
        }
        document = _without_nulls({**document, **stored})
    return _packed(exchange, document)


def record_of(exchange: Identified) -> bytes | None:
    """Name of the record that a write changes; None for a write that makes a new one."""
    call = exchange.call
    if call.operation.lookup is None and call.operation.resource is not None and call.path:
        return record_name(call.operation.resource, call.path[-1])
    return None


def record_name(resource: str, record_id: str) -> bytes:
    """Name of a record among writes, as bytes: the turn of every write that changes it."""
    return f"{resource}/{record_id}".encode()


def digest(data: bytes) -> bytes:
    """A hash without a key, for names that others may see only under a key of their own."""
    return hashlib.sha256(data).digest()


def _without_nulls(document: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in document.items() if value is not None}


def _packed(exchange: Identified, document: Json) -> bytes:
    call = exchange.call
    # If identity is switched off, only the credentials tell two callers apart.
    author = call.authorization if exchange.identity is None else exchange.identity.id
    said = [
        call.operation.method,
        call.operation.path(call.path),
        author,
        call.query,
        None if document is ABSENT else document,
    ]
    return msgspec.json.encode(said, order="sorted")
