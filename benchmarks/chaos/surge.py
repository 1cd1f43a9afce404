"""Five times the usual load for a whole minute while HOSP fails: requests that cannot be served are refused at once.

A request that HOSP fails as often as the proxy may send it ends with HOSP's failure. The trail has to show that its
attempts, its time or the retry budget were used up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .clients import Answer
from .exhausted import Record, exhausted, records_of
from .storm import RATE, SURGE, day, tell_valid
from .table import Table
from .verdict import times

AT_ONCE_S = 1.0


async def run(folder: Path, seed: int, *, short: bool) -> Table:
    """60 s (short: 15)."""
    table = Table("surge", timed=not short)
    going = await day(table, folder, seed, lambda _: RATE * SURGE, 15.0 if short else 60.0)
    valid = [answer for planned, answer in going.told if planned.valid]
    tell_valid(table, valid)
    unserved = [answer for answer in valid if not answer.succeeded and not answer.unknown]
    table.tell("served", f"{sum(answer.succeeded for answer in valid) / max(1, len(valid)):.1%}")
    table.tell("503: p50 / p95 / p99 / longest, s", times([answer.seconds for answer in unserved]))
    why = _failed_by(unserved, records_of(folder / "state"))
    given_up = why.pop(None, 0)
    table.tell(
        "failed by HOSP: what was used up", ", ".join(f"{what} × {n}" for what, n in why.items()) or "–"
    )
    table.none("not served, no 503 with Retry-After, and nothing used up", given_up)
    slow = sum(each.seconds > AT_ONCE_S for each in unserved)
    table.in_time("not served, and told after more than 1 s", slow, "0", slow == 0)
    return table


def _failed_by(unserved: Sequence[Answer], records: Sequence[Record]) -> Counter[str | None]:
    """How many requests ended without a 503, by what the proxy had used up for them."""
    by_id = {record["request_id"]: record for record in records}
    found: Counter[str | None] = Counter()
    for answer in unserved:
        if not _honest(answer):
            record = by_id.get(answer.headers.get("x-request-id", ""))
            found[None if record is None else exhausted(record, records)] += 1
    return found


def _honest(answer: Answer) -> bool:
    return answer.status == 503 and "retry-after" in answer.headers
