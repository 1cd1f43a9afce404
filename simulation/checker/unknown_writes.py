"""Rules of docs/clients.md on lost writes: no needless `unknown`, and no two writes that get the same record."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator

from ..history import Committed, Record, Trouble
from .truth import IMPORTED, Op, Truth, Violation

STAMP_ERROR_S = 0.0015
"""How far two of HOSP's stamps of the same moment may differ, because they are cut to milliseconds."""
JOINED_S = 5.0
"""After a cut a machine is among the others again within this time, and has told them of its writes."""
LOOKED_S = 20.0
"""A write that takes longer than this may end as unknown: there was no time for another look at HOSP."""


def needlessly_unknown(truth: Truth) -> Iterator[Violation]:
    """A lost write is found or sent again, if each failure of HOSP is final and no other write interferes."""
    premises = truth.history.premises
    simple = premises.shape == "one" and premises.visible == "all"
    if premises.fails != "definitely" or not simple or _anything_happened(truth):
        return
    for op in truth.writes:
        if op.told is None or op.told.outcome != "unknown" or op.asked.method == "DELETE":
            continue
        if op.over - op.asked.at > LOOKED_S:
            continue  # there was no time for another look
        if not _is_odd(op) and not _interfered(truth, op):
            text = f"{op.asked.method} {op.asked.target} of {op.asked.intent} was told unknown, and could be known"
            yield Violation("writes.needlessly_unknown", op.over, text, (op.asked.op,))


def _is_odd(op: Op) -> bool:
    """Whether the body has a value that HOSP may convert in an unknown way."""
    sent = op.asked.body if isinstance(op.asked.body, dict) else {}
    return any(isinstance(value, (bool, float, list, dict)) for value in sent.values())


def _anything_happened(truth: Truth) -> bool:
    troubled = any(trouble.kind != "asked to wait" for trouble in truth.history.of(Trouble))
    return troubled or any(id_ in IMPORTED for _, id_ in truth.timelines)


def _interfered(truth: Truth, op: Op) -> bool:
    """Whether another write changed the record meanwhile, or made or changed one that may be mistaken for it."""
    own_requests = {each.asked.request_id for each in truth.by_intent[op.asked.intent]}
    # HOSP's clock is known to a few seconds only.
    since = truth.first_asked(op) - (0.0 if op.record is not None else 5.0)
    for commit in truth.commits:
        if not since <= commit.at <= op.over or commit.request_id in own_requests:
            continue
        if op.record is not None:
            if (commit.resource, commit.id) == op.record:
                return True
        elif commit.staff in (None, truth.staff_of(op)) and _may_be_taken(truth, commit, op):
            return True
    return False


def _may_be_taken(truth: Truth, commit: Committed, op: Op) -> bool:
    """Whether a record of the same author may be mistaken for the lost one: it was changed, or has equal values."""
    maker = truth.by_request.get(commit.request_id)
    if (
        commit.kind == "stored"
        and maker is not None
        and maker.success
        and maker.over <= truth.first_asked(op)
    ):
        return False  # its author got the response before
    if commit.kind != "stored" or commit.after is None or _is_changed(commit.after):
        return True
    sent = op.asked.body if isinstance(op.asked.body, dict) else {}
    return all(commit.after.get(name) == value for name, value in sent.items() if name != "staff_id")


def _is_changed(record: Record) -> bool:
    created, updated = (
        datetime.datetime.fromisoformat(str(record[name])).timestamp()
        for name in ("created_at", "updated_at")
    )
    return abs(updated - created) > STAMP_ERROR_S


def merged(truth: Truth) -> Iterator[Violation]:
    """Equal POSTs without a key that all succeed get a record each, unless their machines could not know of them."""
    by_content: dict[tuple[object, ...], list[Op]] = defaultdict(list)
    for op in truth.writes:
        if op.asked.method == "POST" and op.asked.key is None:
            by_content[op.same].append(op)
    for ops in by_content.values():
        if not all(op.success for op in ops):
            continue  # one may be the retry of another
        told: dict[object, Op] = {}
        for op in ops:
            id_ = op.told.body.get("id") if op.told is not None and isinstance(op.told.body, dict) else None
            other = told.setdefault(id_, op)
            if id_ is not None and other is not op and not _cut_off(truth, other, op):
                text = (
                    f"{op.asked.intent} and {other.asked.intent} were both told that they made record {id_}"
                )
                yield Violation("writes.merged", op.over, text, (other.asked.op, op.asked.op))


def _cut_off(truth: Truth, first: Op, op: Op) -> bool:
    """Whether another machine's write could not be seen when this one was told (docs/clients.md, "Asking again")."""
    if truth.history.premises.shape != "machines" or first.asked.house == op.asked.house:
        return False
    return truth.troubled(op.over, op.over, "redis", "split redis", before_s=JOINED_S)


RULES = (needlessly_unknown, merged)
