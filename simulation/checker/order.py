"""Rules on the order of writes: an earlier write does not undo one that was acknowledged later."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..history import Committed
from .truth import FOREVER, Op, Truth, Violation


def undone(truth: Truth) -> Iterator[Violation]:
    """
    No write lands at HOSP after a later write to the same field has been acknowledged.

    A write is later than another if it was sent after the other's client had got a response or lost its connection. A
    write that may still be in flight at HOSP keeps its turn, even after its client got a response. If a client leaves
    while its write still waits inside the proxy, that write need not come first.
    """
    changes = [(op, commit) for op, commit in truth.acknowledged if commit.kind == "updated"]
    for op, commit in changes:
        for early, other in _landed_after(truth, op, commit):
            text = (
                f"{op.asked.intent} was told {op.told.status if op.told else 0} at {op.over:.3f}; "
                f"{early.asked.intent}, asked earlier (at {early.asked.at:.3f}), landed on top of it at {other.at:.3f}"
            )
            yield Violation("order.undone", other.at, text, (early.asked.op, op.asked.op))


def _landed_after(truth: Truth, op: Op, commit: Committed) -> Iterator[tuple[Op, Committed]]:
    # A retry can get the outcome of its first request, so the write is as old as that request.
    made = truth.by_request.get(commit.request_id)
    since = op.asked.at if made is None else min(op.asked.at, made.asked.at)
    for version in truth.versions((commit.resource, commit.id), op.over, FOREVER):
        other = version.commit
        if other is None or other.at <= op.over or other.kind != "updated":
            continue
        early = truth.by_request.get(other.request_id)
        if early is None or early.asked.op == op.asked.op or early.over >= since:
            continue
        if early.told is None and other.received > op.over:
            # Its client got no response, and HOSP had not received it yet: it came after the other one.
            continue
        if not _touches(other, commit) or _unseen(truth, early, made or op, op.over):
            continue
        yield early, other


def _touches(other: Committed, commit: Committed) -> bool:
    sent, own = other.sent or {}, commit.sent or {}
    return any(name in own and own[name] != value for name, value in sent.items())


def _unseen(truth: Truth, early: Op, op: Op, until: float) -> bool:
    """Whether two machines may not know of each other's writes: without Redis each knows only its own.

    The workers of one machine have one ledger.
    """
    if truth.history.premises.shape != "machines" or early.asked.house == op.asked.house:
        return False
    return truth.troubled(early.asked.at - 30, until, "redis", "split")


def repeated(truth: Truth) -> Iterator[Violation]:
    """A change that HOSP has carried out is not sent again: it would undo what others have written in between."""
    for request_id, commits in truth.commits_of.items():
        changes = [commit for commit in commits if commit.kind == "updated"]
        for first, second in pairwise(changes):
            between = [
                version.commit
                for version in truth.versions((first.resource, first.id), first.at, second.at)
                if version.commit is not None and first.at < version.commit.at < second.at
            ]
            if (first.resource, first.id) == (second.resource, second.id) and between:
                op = truth.by_request.get(request_id)
                text = (
                    f"{first.resource} {first.id} was changed by {request_id} at {first.at:.3f} and again at "
                    f"{second.at:.3f}, on top of another change at {between[0].at:.3f}"
                )
                yield Violation("order.repeated", second.at, text, () if op is None else (op.asked.op,))


RULES = (undone, repeated)
