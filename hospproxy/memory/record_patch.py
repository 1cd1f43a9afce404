"""Puts a record that was just stored into cached responses. Pure; in doubt the result is None.

While HOSP is down, a member of staff reads cached responses, and these must not contradict a write that they were told
succeeded. Most of them can be corrected from the response to the write, which is the whole record.
"""

from __future__ import annotations

from types import NoneType
from typing import Any

import msgspec

from ..contract.contract import Resource
from ..exchange.exchange import Call
from ..http.messages import Headers, Json, Response
from .storable import media_type
from .store import CacheEntry, EntryRequest

_OF_THE_OLD_BODY = (b"ETag", b"Last-Modified", b"Content-MD5", b"Digest", b"Content-Digest", b"Repr-Digest")


def patched(
    entry: CacheEntry, call: Call, stored: Response, origin: str, resource: Resource, filters: frozenset[str]
) -> CacheEntry | None:
    """A cached response as it must be after a successful write; None if that cannot be known.

    :param entry: a response about the same kind of record.
    :param call: the write.
    :param stored: the response to the write, a 2xx.
    :param origin: scheme and host that the write's client used: addresses in its response begin with it.
    :param resource: the kind of record.
    :param filters: parameters by which the upstream certainly filters the entry's list.
    """
    before = _json(entry.response)
    if before is None:
        return None
    record = None
    if call.operation.method != "DELETE":
        record = _whole(call, stored, resource)
        if record is None or origin != entry.asked.origin:
            return None
    number = call.record_id if record is None else str(record[resource.id])
    if isinstance(before, dict):
        after = _in_place(before, str(number), record, resource)
    else:
        after = _in_list(before, str(number), record, entry.asked, resource, filters)
    return None if after is None else entry.saying(_saying(entry.response, after))


def _json(response: Response) -> Json:
    if not media_type(response.headers).endswith("json"):
        return None
    try:
        document = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, (dict, list)) else None


def _whole(call: Call, stored: Response, resource: Resource) -> dict[str, Any] | None:
    """The record that was stored, from HOSP's response; None if it is not the whole record."""
    record = _json(stored)
    if not isinstance(record, dict) or resource.id not in record:
        return None
    if call.record_id is not None and str(record[resource.id]) != call.record_id:
        return None
    return record


def _in_place(before: dict[str, Any], number: str, record: dict[str, Any] | None, resource: Resource) -> Json:
    """A single record: replace it with the new one. Another record (the one that "me" is) stays as it is."""
    if resource.id not in before:
        return None
    if str(before[resource.id]) != number:
        return before
    return record if record is not None and before.keys() == record.keys() else None


def _in_list(
    before: list[Any],
    number: str,
    record: dict[str, Any] | None,
    asked: EntryRequest,
    resource: Resource,
    filters: frozenset[str],
) -> Json:
    """A list with the record added or removed, newest id first; None if it is not surely such a list."""
    if not resource.ascending or any(not isinstance(one, dict) for one in before):
        return None
    ids = [one.get(resource.id) for one in before]
    if any(isinstance(one, bool) or not isinstance(one, int) for one in ids) or ids != sorted(
        set(ids), reverse=True
    ):
        return None
    others = [one for one in before if str(one[resource.id]) != number]
    if record is None:
        return others
    new = record[resource.id]
    if (
        isinstance(new, bool)
        or not isinstance(new, int)
        or any(one.keys() != record.keys() for one in before)
    ):
        return None
    belongs = _belongs(record, asked, resource, filters)
    if belongs is None:
        return None
    if belongs:
        others.append(record)
        others.sort(key=lambda one: int(one[resource.id]), reverse=True)
    return others


def _belongs(
    record: dict[str, Any], asked: EntryRequest, resource: Resource, filters: frozenset[str]
) -> bool | None:
    """Whether a filtered list contains the record; None if that cannot be known.

    A record that matches every filter is in the list, whether or not the upstream applies all of them. One that does
    not match is missing only if the upstream certainly filters by that parameter.
    """
    certain = True
    for name, wanted in asked.query:
        value = record.get(name, True)
        if name in (resource.created_at, resource.updated_at):
            return None  # a timestamp loses precision when it is written out
        if isinstance(value, bool) or not isinstance(value, (int, str, NoneType)) or not wanted:
            return None
        if value is None or str(value) != wanted:
            if name in filters:
                return False
            certain = False
    return True if certain else None


def _saying(response: Response, document: Json) -> Response:
    headers: Headers = response.headers.without(*_OF_THE_OLD_BODY)
    return Response(response.status, headers, msgspec.json.encode(document), response.origin)
