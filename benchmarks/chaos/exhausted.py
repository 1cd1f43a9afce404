"""Whether the proxy had used up what it may do for a request when it passed on HOSP's own failure. Pure.

The proxy repeats a failed request up to ``retry.max_attempts`` times, sends a write that HOSP has not carried out up to
three times, stops at the request's deadline, and keeps to the retry budget. The audit trail shows which of these ended
a request; if it shows none of them, the proxy gave up too soon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hospproxy.options.sections import RetrySettings
from integration.journal_files import content, journal_files

Record = Mapping[str, Any]

DEADLINE_S = 28.0
"""The default of ``deadline_s``; these scenarios do not change it."""
MOST_SENDS = 3
"""How often one write is sent if HOSP has surely not carried it out in between."""
WRITE_MARGIN_S = 0.8
"""A write is not sent again when less than this is left before its deadline."""
WINDOW_S = 60.0
"""The retry budget counts what reached HOSP within this time."""
_SAME_S = 0.25
_RETRY = RetrySettings()
_WRITES = ("create", "update", "delete")


def records_of(folder: Path) -> list[Record]:
    """Every record of requests in the journal of a proxy.

    :param folder: the proxy's state folder.
    """
    return [record for record in _lines(folder / "audit") if record.get("kind") == "request"]


def exhausted(record: Record, records: Sequence[Record]) -> str | None:
    """What was used up when a request ended: "attempts", "deadline" or "budget"; None if nothing was.

    :param record: of the request that failed.
    :param records: all records of requests.
    """
    own = [each for each in records if _caused_by(each) == record["request_id"]]
    for each in (record, *own):
        if each["attempts"] >= (MOST_SENDS if each["action"] in _WRITES else _RETRY.max_attempts):
            return "attempts"
        if each["duration_ms"] / 1000 + _longest_pause_s(each) >= DEADLINE_S:
            return "deadline"
    if record["cache"] == "collapsed":
        # Another request fetched the response for both, and its record has the attempts.
        for each in records:
            if each["cache"] != "collapsed" and _shared(record, each):
                return exhausted(each, records)
    return "budget" if _no_budget(_ended(record), records) else None


def _longest_pause_s(record: Record) -> float:
    if record["action"] in _WRITES:
        return WRITE_MARGIN_S
    return min(_RETRY.cap_s, _RETRY.base_s * 2.0 ** record["attempts"])


def _caused_by(record: Record) -> str | None:
    caused: str | None = (record["on_behalf_of"] or {}).get("request_id")
    return caused


def _shared(one: Record, other: Record) -> bool:
    same = all(one[name] == other[name] for name in ("route", "record_id", "patient_id", "status"))
    return same and abs(_ended(one) - _ended(other)) <= _SAME_S


def _no_budget(now: float, records: Sequence[Record]) -> bool:
    """Whether no retry can have been left: the records do not say when within a request its retries were made."""
    near = [
        each for each in records if _began(each) <= now and _ended(each) > now - WINDOW_S and each["attempts"]
    ]
    retries = sum(each["attempts"] - 1 for each in near)
    whole = [each for each in near if _began(each) > now - WINDOW_S and _ended(each) <= now]
    return retries + 1 > max(_RETRY.budget_min, _RETRY.budget_ratio * len(whole))


def _began(record: Record) -> float:
    return datetime.fromisoformat(record["time"]).timestamp()


def _ended(record: Record) -> float:
    return _began(record) + float(record["duration_ms"]) / 1000


def _lines(folder: Path) -> Iterator[Record]:
    for file in journal_files(folder):
        for line in content(file).splitlines():
            if line.endswith(b"}"):
                yield json.loads(line)
