"""Rules of docs/cache.md: no read shows the state before an acknowledged write, or data of other credentials."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import Any

from .truth import Op, Truth, Violation, shows

FRESH_S: Mapping[str, float] = {"hospitals": 600.0}
OTHERS_FRESH_S = 90.0
HOSP_TAKES_S = 30.0
"""A response's age counts from HOSP's response: it may be older by as long as HOSP took."""
VANISHED_S = 300.0


def stale(truth: Truth) -> Iterator[Violation]:
    """A read shows each write acknowledged before it was sent; one marked as stale, at least the reader's own."""
    for op in truth.ops.values():
        if op.asked.method == "GET" and op.told is not None and op.told.status in (200, 404):
            yield from _judge(truth, op)


def _judge(truth: Truth, op: Op) -> Iterator[Violation]:
    if op.resource not in ("hospitals", "staffs", "patients", "notes") or op.told is None:
        return
    staff = truth.staff_of(op)
    for record, shown in _shown(truth, op, staff):
        problem = _problem(truth, op, staff, record, shown)
        if problem:
            name, why = problem
            what = "is not shown" if shown is None else "is shown as it was"
            text = f"{op.asked.target} of {op.asked.intent} ({op.told.cache}): {record[0]} {record[1]} {what}, {why}"
            yield Violation(f"reads.{name}", op.over, text, (op.asked.op,))


def _shown(
    truth: Truth, op: Op, staff: int | None
) -> Iterator[tuple[tuple[str, int], Mapping[str, Any] | None]]:
    """Each record that this read shows, with its content (None: it shows that the record does not exist)."""
    body = op.told.body if op.told is not None else None
    if op.asked.target.startswith("/staffs/me"):
        if isinstance(body, dict) and staff is not None:
            yield ("staffs", staff), body
        return
    if op.record is not None:
        yield op.record, body if isinstance(body, dict) and op.told and op.told.status == 200 else None
        return
    if not isinstance(body, list):
        return
    rows = {row.get("id"): row for row in body if isinstance(row, dict)}
    for resource, id_ in truth.timelines:
        if resource == op.resource:
            yield (resource, id_), rows.get(id_)


def _problem(
    truth: Truth, op: Op, staff: int | None, record: tuple[str, int], shown: Mapping[str, Any] | None
) -> tuple[str, str] | None:
    """What is wrong with a read's view of one record: the rule and the reason."""
    told = op.told
    assert told is not None
    earliest = max(_oldest(op), _floor(truth, op, staff, record, own="invalidated" in told.cache))
    # What ended at the very moment of the commit came before it.
    fitting = [each for each in truth.versions(record, earliest, op.over) if each.until > earliest]
    moved = truth.moves(earliest, op.over)
    if any(
        _fits(truth, op, staff, record, each.state, shown, at)
        for each in fitting
        for at in (each.since, *moved)
    ):
        return None
    ever, moved = truth.versions(record, float("-inf"), op.over), truth.moves(0.0, op.over)
    if any(
        _fits(truth, op, staff, record, each.state, shown, at) for each in ever for at in (each.since, *moved)
    ):
        if _cut_off_for_long(truth, op):
            return None
        return "stale", f"before what was answered or became true at {earliest:.3f}"
    return "never_true", "which never was so for this person"


def _fits(
    truth: Truth, op: Op, staff: int | None, record: tuple[str, int], state: Any, shown: Any, since: float
) -> bool:
    visible = (
        state is not None
        and truth.may_see(staff, record[0], state, max(since, 0.0))
        and all(
            str(state.get(name)) == value
            for name, value in truth.filters(op).items()
            if value and name in state
        )
    )
    if shown is None:
        return not visible
    return visible and shows(shown, state)


def _oldest(op: Op) -> float:
    """The earliest moment whose state this read may show, for changes that bypassed the proxy."""
    assert op.told is not None
    cache = op.told.cache
    if "stale-if-error" in cache:
        return op.asked.at - 7 * 86400.0
    if "hit" in cache:
        return op.asked.at - FRESH_S.get(op.resource, OTHERS_FRESH_S) - HOSP_TAKES_S
    return op.asked.at - (HOSP_TAKES_S if "collapsed" in cache else 0.0)


def too_old(truth: Truth) -> Iterator[Violation]:
    """A cached response is not older than its lifetime and the time in which it is revalidated, unless HOSP fails."""
    for op in truth.ops.values():
        told = op.told
        if op.asked.method != "GET" or told is None or "; hit" not in told.cache:
            continue
        age, most = int(told.headers.get("age", "0") or 0), FRESH_S.get(op.resource, OTHERS_FRESH_S)
        # An entry that was read back from disk was dated by the machine's clock.
        dated = truth.troubled(0.0, op.over, "clock proxy", "power")
        failing = "stale-if-error" in told.cache or "stale-while-stalled" in told.cache
        if age > most + HOSP_TAKES_S and not failing and not dated:
            text = f"{op.asked.target} of {op.asked.intent} ({told.cache}) is {age} s old, its lifetime is {most:.0f} s"
            yield Violation("reads.too_old", op.over, text, (op.asked.op,))


def _floor(truth: Truth, op: Op, staff: int | None, record: tuple[str, int], *, own: bool) -> float:
    """When the newest write to this record was committed that this read must show."""
    floor = float("-inf")
    for over, at, author in _acknowledged(truth).get(record, []):
        if over >= op.asked.at:
            break
        if not own or author == staff:
            floor = max(floor, at)
    return floor


_Rows = dict[tuple[str, int], list[tuple[float, float, int | None]]]


def _acknowledged(truth: Truth) -> _Rows:
    """By record: when a write was acknowledged, when it was committed, and whose it was."""
    found: _Rows | None = truth.__dict__.get("_reads_acknowledged")
    if found is None:
        found = {}
        for op, commit in truth.acknowledged:
            rows = found.setdefault((commit.resource, commit.id), [])
            bisect.insort(rows, (op.over, commit.at, commit.staff), key=lambda row: row[0])
        truth.__dict__["_reads_acknowledged"] = found
    return found


def _cut_off_for_long(truth: Truth, op: Op) -> bool:
    """docs/scale.md, "Where never stale ends": a worker that is cut off from Redis for longer than `vanished_s`."""
    if truth.history.premises.shape == "one":
        return False
    return truth.troubled(op.asked.at, op.over, "split redis long")


def out_of_order(truth: Truth) -> Iterator[Violation]:
    """Lists are sorted by falling id, with each record once, and URLs that name the host that the client used."""
    for op in truth.ops.values():
        body = op.told.body if op.told is not None and op.told.status == 200 else None
        if op.asked.method != "GET" or not isinstance(body, list):
            continue
        ids = [int(row.get("id") or 0) for row in body if isinstance(row, dict)]
        if ids != sorted(set(ids), reverse=True):
            yield Violation(
                "reads.out_of_order", op.over, f"{op.asked.target} lists ids {ids[:20]}", (op.asked.op,)
            )
        urls = [row.get("url") for row in body if isinstance(row, dict)]
        wrong = [url for url in urls if not str(url).startswith("http://hosp.example/")]
        if wrong:
            text = f"{op.asked.target} shows the address {wrong[0]}"
            yield Violation("reads.address", op.over, text, (op.asked.op,))


def anothers(truth: Truth) -> Iterator[Violation]:
    """No client gets a response that HOSP made for other credentials, including its own old ones."""
    if not truth.history.premises.marked:
        return
    for op in truth.ops.values():
        if op.told is None or not 200 <= op.told.status < 300 or op.writes:
            continue
        rows = op.told.body if isinstance(op.told.body, list) else [op.told.body]
        marks = {row["made_for"] for row in rows if isinstance(row, dict) and "made_for" in row}
        states = truth.good(op.asked.name, op.asked.password, 0.0, op.over)
        mine = {state.mark for state in states if state is not None}
        if marks - mine:
            text = f"{op.asked.target} for {op.asked.name} holds what was made for {sorted(marks - mine)}"
            yield Violation("reads.anothers", op.over, text, (op.asked.op,))


def revoked(truth: Truth) -> Iterator[Violation]:
    """Credentials that were revoked through the proxy before a request, or never valid, get no data."""
    for op in truth.ops.values():
        if op.told is None or op.asked.target == "/" or not 200 <= op.told.status < 300:
            continue
        name, password = op.asked.name, op.asked.password
        changes = [change for change in truth.credentials.get((name, password), []) if change.at <= op.over]
        if not changes:
            text = f"{op.asked.target} was answered {op.told.status} to {name} with a password that never was good"
            yield Violation("reads.revoked", op.over, text, (op.asked.op,))
            continue
        last = changes[-1]
        known_s = 0.0 if not last.behind else 330.0
        if last.staff is None and not _outage_for(truth, op, last.behind) and last.at < op.asked.at - known_s:
            text = f"{op.asked.target} was answered {op.told.status} to {name} with a password revoked at {last.at:.3f}"
            yield Violation("reads.revoked", op.over, text, (op.asked.op,))


def refused_before(truth: Truth) -> Iterator[Violation]:
    """Credentials that HOSP has refused read nothing from the cache until HOSP accepts them again.

    Of several workers, each drops its entries only when it hears of the refusal.
    """
    if truth.history.premises.shape != "one":
        return
    refused: dict[tuple[str, str], float] = {}
    for op in sorted(truth.ops.values(), key=lambda op: op.over):
        credentials = op.asked.name, op.asked.password
        if op.told is None:
            continue
        states = truth.good(*credentials, op.asked.at, op.over)
        if op.told.status == 401 and states == [None]:
            refused.setdefault(credentials, op.over)
        elif any(state is not None for state in states):
            refused.pop(credentials, None)
        elif (
            op.told.status == 200
            and refused.get(credentials, op.over) < op.asked.at
            and op.asked.target != "/"
        ):
            text = f"{op.asked.target} was answered ({op.told.cache}) to {op.asked.name} with a password refused before"
            yield Violation("reads.refused_before", op.over, text, (op.asked.op,))


def _outage_for(truth: Truth, op: Op, behind: bool) -> bool:
    """While HOSP is away, an account that was ended at HOSP itself may keep reading (`identity.offline_grace_s`)."""
    if behind and op.told is not None and "stale-if-error" in op.told.cache:
        return True
    return _cut_off_for_long(truth, op)


def refused_though_good(truth: Truth) -> Iterator[Violation]:
    """Credentials that have been valid throughout are not refused with a 401."""
    for op in truth.ops.values():
        if op.told is None or op.told.status != 401:
            continue
        states = truth.good(op.asked.name, op.asked.password, op.asked.at - 6.0, op.over)
        if all(state is not None for state in states):
            text = f"{op.asked.target} was answered 401 to {op.asked.name} with the right password"
            yield Violation("reads.refused_though_good", op.over, text, (op.asked.op,))


RULES = (stale, too_old, out_of_order, anothers, revoked, refused_before, refused_though_good)
