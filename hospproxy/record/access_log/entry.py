"""One request as the access log tells it: read from an audit record, without staff and patients. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec
from attrs import field, frozen

GONE: Final = 460
"""The status of a request whose client left before the response, as a load balancer of AWS writes it."""

UNKNOWN_PATH: Final = "/unknown"
"""Stands for a path that is in no contract: it may hold a secret."""

_REQUEST: Final = b'"kind":"request"'
_NEAR: Final = 64
"""Bytes at the start of a record in which its kind stands."""


class _Client(msgspec.Struct):
    address: str | None = None
    scheme: str = ""


class _Http(msgspec.Struct):
    version: str = ""
    host: str | None = None
    user_agent: str | None = None
    query: str | None = None
    received: int | None = None
    sent: int | None = None
    waited_ms: float | None = None


class _Record(msgspec.Struct):
    kind: str
    time: str
    client: _Client
    duration_ms: float = 0.0
    request_id: str | None = None
    method: str | None = None
    route: str | None = None
    record_id: str | None = None
    outcome: str = ""
    status: int | None = None
    answered_by: str | None = None
    cache: str | None = None
    attempts: int = 0
    client_gone: bool = False
    http: _Http = msgspec.field(default_factory=_Http)


class UnreadableRecord(Exception):
    """A record is not in the form that the access log knows."""


@frozen(slots=True, kw_only=True)
class Entry:
    """What a line says of one request of a client.

    :param arrived: when it arrived, UTC.
    :param duration_ms: from then until its response was ready.
    :param waited_ms: from its arrival until it was last sent to HOSP; None: it was not sent.
    :param path: the contract's template, or with the id of the record in it; ``UNKNOWN_PATH``.
    :param query: parameters that the contract knows; their values may be hidden.
    :param status: that the client got; 460 if it left; None: it got no response.
    :param received, sent: bytes of content; None: not known.
    :param attempts: times that it was sent to HOSP.
    """

    arrived: datetime
    duration_ms: float
    waited_ms: float | None
    request_id: str | None
    client: str | None
    scheme: str
    version: str
    host: str | None
    method: str | None
    path: str
    query: str | None
    status: int | None
    received: int | None
    sent: int | None
    user_agent: str | None = field(repr=False)
    answered_by: str | None
    cache: str | None
    attempts: int
    outcome: str

    @property
    def answered(self) -> datetime:
        """When the response was ready, UTC."""
        return self.arrived + timedelta(milliseconds=self.duration_ms)


def entry_of(line: bytes, *, record_ids: bool = False) -> Entry | None:
    """Read a line of the journal; None if it is not about a request of a client.

    :param record_ids: put the id of the record into the path. It may be a patient's.
    :raise UnreadableRecord: it cannot be read.
    """
    if _REQUEST not in line[:_NEAR]:
        return None
    try:
        record = msgspec.json.decode(line, type=_Record)
        arrived = datetime.fromisoformat(record.time)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise UnreadableRecord(str(error)) from error
    http = record.http
    return Entry(
        arrived=arrived,
        duration_ms=record.duration_ms,
        waited_ms=http.waited_ms if record.attempts else None,
        request_id=record.request_id,
        client=record.client.address,
        scheme=record.client.scheme or "https",
        version=http.version,
        host=http.host,
        method=record.method,
        path=_path(record, record_ids=record_ids),
        query=http.query,
        status=GONE if record.client_gone else record.status,
        received=http.received,
        sent=http.sent,
        user_agent=http.user_agent,
        answered_by=record.answered_by,
        cache=record.cache,
        attempts=record.attempts,
        outcome=record.outcome,
    )


def _path(record: _Record, *, record_ids: bool) -> str:
    route = record.route or ""
    if not route.startswith("/"):
        return UNKNOWN_PATH
    before, brace, rest = route.rpartition("{")
    if not (record_ids and brace and record.record_id):
        return route
    return before + record.record_id + rest.partition("}")[2]
