"""Five times the usual load for a whole minute while HOSP fails: requests that cannot be served are refused at once."""

from __future__ import annotations

from pathlib import Path

from .judging import times
from .people import Answer
from .storm import RATE, SURGE, day, tell_valid
from .table import Table

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
    table.none("not served, and no 503 with Retry-After", sum(not _honest(each) for each in unserved))
    slow = sum(each.seconds > AT_ONCE_S for each in unserved)
    table.in_time("not served, and told after more than 1 s", slow, "0", slow == 0)
    return table


def _honest(answer: Answer) -> bool:
    return answer.status == 503 and "retry-after" in answer.headers
