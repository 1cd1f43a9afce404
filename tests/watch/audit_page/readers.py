"""A trail in memory, read by the same rule as the database, and records to fill it with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import succeed
from zope.interface import implementer

from hospproxy.interfaces import ITrailReader
from hospproxy.record.describe import timestamp
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.match import is_login_failure, matches, time_of
from hospproxy.record.search.rows import IndexRow, RowKey, RowName, RowPage, Summary

NOW = 1_764_000_000.0
SET = "5e" * 32


def record(seconds_ago: float = 60.0, **more: Any) -> dict[str, Any]:
    """A record as the journal has it: staff1 reads patient 7."""
    base: dict[str, Any] = {
        "v": 1,
        "kind": "request",
        "time": timestamp(NOW - seconds_ago),
        "duration_ms": 41.5,
        "request_id": f"req-{seconds_ago:g}",
        "who": {"id": 1, "name": "staff1", "certainty": "verified"},
        "own": None,
        "on_behalf_of": None,
        "client": {"address": "192.0.2.7", "peer": "192.0.2.7", "chain": [], "scheme": "https"},
        "method": "GET",
        "route": "/patients/{id}",
        "action": "read",
        "resource": "patients",
        "record_id": "7",
        "patient_id": "7",
        "outcome": "success",
        "status": 200,
        "answered_by": "upstream",
        "cache": "miss",
        "attempts": 1,
        "looks": 0,
        "rule_hits": [],
        "reference": None,
        "client_gone": False,
        "disclosed": None,
    }
    return base | more


def listed(seconds_ago: float, name: str = "staff2") -> dict[str, Any]:
    """A list that showed the patients of SET."""
    return record(
        seconds_ago,
        who={"id": 2, "name": name, "certainty": "verified"},
        action="search",
        route="/patients",
        record_id=None,
        patient_id=None,
        disclosed={"set": SET, "count": 3},
    )


def failed_login(seconds_ago: float, address: str = "198.51.100.9") -> dict[str, Any]:
    return record(
        seconds_ago,
        who={"id": None, "name": None, "certainty": "claimed", "name_hmac": "ab" * 32},
        client={"address": address, "peer": address, "chain": [], "scheme": "https"},
        status=401,
        outcome="client error",
        patient_id=None,
        record_id=None,
    )


def alert(seconds_ago: float) -> dict[str, Any]:
    return {
        "v": 1,
        "kind": "alert",
        "time": timestamp(NOW - seconds_ago),
        "rule": "failed-logins-address",
        "text": "20 failed log-ins from 198.51.100.9 within 60 s",
        "who": None,
        "client": {"address": "198.51.100.9"},
        "patient_id": None,
        "count": 20,
        "window_s": 60,
        "request_id": "req-x",
    }


@implementer(ITrailReader)
class FakeReader:
    """Reads a trail in memory.

    :param records: in the order in which they were made; each gets its place in the chain.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]] = ()) -> None:
        self.closed = False
        self.members_of: dict[str, frozenset[str]] = {SET: frozenset({"7", "8", "9"})}
        self.kept: list[IndexRow] = []
        self.asked: list[Filters] = []
        for each in records:
            self.add(each)

    def add(self, given: Mapping[str, Any]) -> None:
        seq = len(self.kept) + 1
        whole = {**given, "seq": seq, "prev": "0" * 64}
        key = RowKey(time_of(whole) or 0, RowName("t1", "w0", seq))
        self.kept.append(IndexRow(key, whole, json.dumps(whole).encode()))

    def found(self, filters: Filters) -> list[IndexRow]:
        self.asked.append(filters)
        rows = [row for row in self.kept if matches(row.record, filters, self.members_of)]
        return [
            IndexRow(row.key, row.record, row.line, self._by_list(row, filters))
            for row in sorted(rows, key=lambda row: row.key, reverse=True)
        ]

    def _by_list(self, row: IndexRow, filters: Filters) -> bool:
        return filters.patient is not None and row.record.get("patient_id") != filters.patient

    async def page(self, filters: Filters, after: RowKey | None, limit: int) -> RowPage:
        rows = [row for row in self.found(filters) if after is None or row.key < after]
        more = rows[limit - 1].key if len(rows) > limit else None
        return RowPage(tuple(rows[:limit]), more)

    async def row(self, name: RowName) -> IndexRow | None:
        return next((row for row in self.kept if row.key.name == name), None)

    async def members(self, disclosed: str, most: int) -> Sequence[str] | None:
        found = sorted(self.members_of.get(disclosed, ()))
        return found if 0 < len(found) <= most else None

    async def close(self) -> None:
        self.closed = True

    async def rows(self, filters: Filters) -> AsyncIterator[IndexRow]:
        for row in self.found(filters):
            await succeed(None)
            yield row

    async def summary(self, since: float) -> Summary:
        recent = [row for row in self.kept if row.key.time_ms >= since * 1000]
        failures: dict[str, int] = {}
        refusals: dict[str, int] = {}
        for row in recent:
            if is_login_failure(row.record):
                place = row.record["client"]["address"]
                failures[place] = failures.get(place, 0) + 1
            if row.record.get("outcome") == "refused":
                route = str(row.record.get("route"))
                refusals[route] = refusals.get(route, 0) + 1
        return Summary(
            requests=sum(row.record["kind"] == "request" for row in recent),
            login_failures=tuple(sorted(failures.items(), key=lambda each: -each[1])),
            refusals=tuple(refusals.items()),
            alerts=tuple(row for row in reversed(recent) if row.record["kind"] == "alert"),
            newest=max((row.key.time_ms / 1000 for row in self.kept), default=None),
        )
