"""The requests of a day, as the audit journal recorded them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from ..collection import trail

DAY_S = 86400.0


class NoVisits(Exception):
    """The journal holds no request of that time."""


@frozen
class Visit:
    """One audit record of a request.

    :param at: arrival, seconds since 1970.
    :param own: why the proxy itself sent it; empty for a client's request.
    :param who: identifies its sender: the staff id, or the HMAC of a claimed name; empty without credentials.
    :param certainty: of the sender: ``verified``, ``claimed``, ``none`` or ``proxy``.
    :param route: the contract's path template.
    :param disclosed: identifies the set of patients that a list showed.
    :param answered_by: ``upstream``, ``memory`` or ``proxy``.
    :param asked: how often HOSP was asked for it: attempts and looks.
    :param seconds: from its arrival to its record.
    """

    at: float
    own: str
    who: str
    certainty: str
    address: str
    method: str
    route: str
    record_id: str
    patient_id: str
    disclosed: str
    status: int
    outcome: str
    answered_by: str
    cache: str
    attempts: int
    asked: int
    seconds: float

    @property
    def is_write(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD", "OPTIONS")


def read_visits(folder: Path, since: float, until: float) -> list[Visit]:
    """Read a trail.

    :param folder: the journal's folder.
    :param since, until: of the arrivals, seconds since 1970.
    :return: by arrival.
    :raise NoVisits: none arrived in this time.
    """
    records = (line.record for line in trail(folder, "", 0.0) if line.record is not None)
    found = sorted(visits_of(records, since, until), key=lambda visit: visit.at)
    if not found:
        raise NoVisits(f"{folder}: no request arrived between {shown(since)} and {shown(until)}")
    return found


def visits_of(records: Iterable[Mapping[str, Any]], since: float, until: float) -> Iterator[Visit]:
    """The requests among audit records, in their order."""
    for record in records:
        if record.get("kind") in ("request", "own"):
            visit = _visit(record)
            if since <= visit.at < until:
                yield visit


def day_of(text: str) -> tuple[float, float]:
    """The bounds of a day, ``2026-11-28``, or of a part of it, ``2026-11-28T10:00/2026-11-28T12:00``; UTC.

    :raise ValueError: it is neither.
    """
    since, slash, until = text.partition("/")
    begin = _moment(since)
    return (begin, _moment(until)) if slash else (begin, begin + DAY_S)


def shown(moment: float) -> str:
    """A moment, as people read it."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _moment(text: str) -> float:
    moment = datetime.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _visit(record: Mapping[str, Any]) -> Visit:
    who, client = record.get("who") or {}, record.get("client") or {}
    attempts = record.get("attempts") or 0
    return Visit(
        at=_moment(record["time"]),
        own=record.get("own") or "",
        who=str(who.get("id") or who.get("name_hmac") or who.get("name") or ""),
        certainty=who.get("certainty") or "none",
        address=client.get("address") or "",
        method=record.get("method") or "",
        route=record.get("route") or "unknown",
        record_id=_text(record.get("record_id")),
        patient_id=_text(record.get("patient_id")),
        disclosed=(record.get("disclosed") or {}).get("set") or "",
        status=record.get("status") or 0,
        outcome=record.get("outcome") or "",
        answered_by=record.get("answered_by") or "",
        cache=record.get("cache") or "",
        attempts=attempts,
        asked=attempts + (record.get("looks") or 0),
        seconds=(record.get("duration_ms") or 0) / 1000,
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)
