"""Rules on the service as a whole: deadlines, errors, bounds, goodput, and that no work stays open at the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from ..history import Broke, Credentials, Life, Measured, Trouble, Unhandled
from .truth import FOREVER, Op, Truth, Violation

SLACK_S = 3.0
"""Seconds that the network and the disk may add to the proxy's own deadline."""
LEASES_S = 4.0
"""Seconds that a write may wait in addition while Redis is away: until other workers' leases end (docs/scale.md)."""
_NO_START = "the audit journal cannot be started"
"""Error of a process that exits at its start because the disk fails. The supervisor starts another."""
_ALONE = "kill worker"
"""The fault that one worker dies, and its siblings do not."""
_ENDS_ALL = ("kill", "kill seam", "power cut", "restart", "disk full", "disk fail", "disk slow")
BOUNDS = {"gate_waiting": 512.0, "screening_pending": 1000.0, "ledger_open": 1000.0}


def unhandled(truth: Truth) -> Iterator[Violation]:
    """The proxy handles every error. A process that cannot begin its journal on a failing disk is expected to exit."""
    for error in truth.history.of(Unhandled):
        lines = error.text.strip().splitlines() or [""]
        if _NO_START in lines[-1] and truth.troubled(error.at - 1.0, error.at, "disk"):
            continue
        yield Violation("service.unhandled", error.at, f"{error.process}: {lines[-1][:300]}")


def mistake(truth: Truth) -> Iterator[Violation]:
    """No request ends with an error of the proxy itself."""
    for op in truth.ops.values():
        for line in truth.records.get(op.asked.request_id, []):
            if (line.record or {}).get("outcome") == "error":
                text = f"{op.asked.method} {op.asked.target} of {op.asked.intent} met a mistake in the proxy"
                yield Violation("service.mistake", op.over, text, (op.asked.op,))


def gave_up(truth: Truth) -> Iterator[Violation]:
    """A process exits with status 0, unless its disk failed in the minute before."""
    for life in truth.history.of(Life):
        if life.what == "ended" and life.exit and not truth.troubled(life.at - 60.0, life.at, "disk"):
            yield Violation(
                "service.gave_up", life.at, f"a process of {life.machine} ended with status {life.exit}"
            )


def sibling_ended(truth: Truth) -> Iterator[Violation]:
    """A worker that dies alone takes no sibling with it: on each machine as many die as are killed, or fewer."""
    troubles = list(truth.history.of(Trouble))
    killed = Counter(trouble.where for trouble in troubles if trouble.kind == _ALONE)
    if not killed or any(trouble.kind in _ENDS_ALL for trouble in troubles):
        return
    ended: Counter[str] = Counter()
    for life in truth.deaths(0.0, FOREVER):
        ended[life.machine] += 1
        if ended[life.machine] > killed[life.machine]:
            text = f"process {life.pid} of {life.machine} was {life.what}, though only siblings were killed"
            yield Violation("service.sibling_ended", life.at, text)


LISTENS_WITHIN_S = 20.0
"""A worker that starts takes over first what a dead one has left; then it accepts connections."""


def turned_away(truth: Truth) -> Iterator[Violation]:
    """As long as one worker of the machine serves, no connection is refused."""
    if truth.history.premises.shape != "workers":
        return
    began = {life.pid: life.at for life in truth.history.of(Life) if life.what == "started"}
    ended = {life.pid: life.at for life in truth.deaths(0.0, FOREVER)}
    for broke in truth.history.of(Broke):
        op = truth.ops.get(broke.op)
        if broke.why != "refused" or op is None:
            continue
        since = op.asked.at
        served = any(
            at + LISTENS_WITHIN_S < since and ended.get(pid, FOREVER) > broke.at for pid, at in began.items()
        )
        # A worker that stops accepts nothing more, and one with a failing disk may not have begun.
        others = truth.troubled(since - 60.0, broke.at, "restart", "disk", "split", "delay")
        if served and not others:
            text = f"{op.asked.intent} was refused a connection, though a worker served"
            yield Violation("service.turned_away", broke.at, text, (broke.op,))


def too_late(truth: Truth) -> Iterator[Violation]:
    """Every waiting client gets a response by the deadline."""
    limit = truth.history.premises.deadline_s + SLACK_S
    for op in truth.ops.values():
        if op.end is None or op.over - op.asked.at <= limit or _excused(truth, op):
            continue
        if op.over - op.asked.at <= limit + LEASES_S and _waited_for_leases(truth, op):
            continue
        text = f"{op.asked.method} {op.asked.target} of {op.asked.intent} took {op.over - op.asked.at:.1f} s"
        yield Violation("service.too_late", op.over, text, (op.asked.op,))


def _waited_for_leases(truth: Truth, op: Op) -> bool:
    kinds = ("redis", "split redis", "delay redis")
    return op.writes and truth.troubled(op.asked.at, op.over, *kinds, before_s=LEASES_S)


def _excused(truth: Truth, op: Op) -> bool:
    """Whether the network or the disk delayed it, or its process was dead (a split network hides that)."""
    late = op.end is not None and getattr(op.end, "why", "") in ("refused",)
    troubles = truth.troubled(
        op.asked.at - 1.0, op.over, "delay", "split", "disk", "power", "kill", "restart"
    )
    return late or troubles


def goodput(truth: Truth) -> Iterator[Violation]:
    """Long after the last fault every request succeeds: those that users send at the very end (``last/…``)."""
    ops = [op for op in truth.ops.values() if op.asked.intent.startswith("last/")]
    over = [op for op in ops if op.end is not None or truth.history.end - op.asked.at > 60.0]
    failed = [op for op in over if op.told is None or op.told.status >= 500]
    if failed:
        first = failed[0]
        said = first.told.status if first.told is not None else "nothing"
        text = (
            f"{len(failed)} of {len(ops)} requests at the end failed, though nothing was wrong for long: "
            f"{first.asked.method} {first.asked.target} was told {said}"
        )
        yield Violation("service.goodput", first.over, text, (first.asked.op,))


def unsettled(truth: Truth) -> Iterator[Violation]:
    """Long after the last fault no write is open and nothing waits; no gauge ever exceeds its bound."""
    for measured in truth.history.of(Measured):
        waits = measured.name.startswith("end:screening") and any(
            _screened(op) and op.asked.target.endswith("/screen") and _locked_out(truth, op)
            for op in truth.ops.values()
        )
        if measured.name.startswith("end:") and measured.value and not waits:
            text = (
                f"{measured.machine}: {measured.name.removeprefix('end:')} is {measured.value:g} at the end"
            )
            yield Violation("service.unsettled", measured.at, text)
        bound = BOUNDS.get(measured.name)
        if bound is not None and measured.value > bound:
            text = f"{measured.machine}: {measured.name} is {measured.value:g}, more than {bound:g}"
            yield Violation("service.unbounded", measured.at, text)


def unanswered(truth: Truth) -> Iterator[Violation]:
    """At the end each request that is older than a minute has ended."""
    for op in truth.ops.values():
        if op.end is None and truth.history.end - op.asked.at > 60.0:
            text = f"{op.asked.method} {op.asked.target} of {op.asked.intent} never ended"
            yield Violation("service.unanswered", op.asked.at, text, (op.asked.op,))


def _screened(op: Op) -> bool:
    return op.told is not None and op.told.status == 200


def _locked_out(truth: Truth, op: Op) -> bool:
    """Whether its author got a new password and has not used it at this machine. The note waits there until then."""
    changes = [
        each.at
        for each in truth.history.of(Credentials)
        if each.name == op.asked.name and each.staff is not None and each.at > op.asked.at
    ]
    back = any(
        other.asked.name == op.asked.name
        and other.asked.house == op.asked.house
        and other.asked.at > changes[-1]
        and other.told is not None
        and other.told.status < 400
        for other in (truth.ops.values() if changes else ())
    )
    return bool(changes) and not back


def screenings(truth: Truth) -> Iterator[Violation]:
    """Each screening with a 200 is stored in notes on its patient: each result once for each such screening."""
    notes: dict[int, list[str]] = defaultdict(list)
    for commit in truth.commits:
        if commit.kind == "stored" and str((commit.after or {}).get("title", "")).startswith(
            "Screening result"
        ):
            notes[int((commit.after or {}).get("patient_id") or 0)].append(
                str((commit.after or {}).get("body"))
            )
    uploads: dict[int, list[Op]] = defaultdict(list)
    for op in truth.ops.values():
        if op.asked.target.endswith("/screen"):
            uploads[int(op.asked.target.split("/")[2])].append(op)
    for patient, op in ((patient, op) for patient, ops in uploads.items() for op in ops if _screened(op)):
        # Equal images give equal results; a screening that was requested twice is stored twice.
        same = [other for other in uploads[patient] if other.asked.body == op.asked.body]
        least = sum(1 for other in same if _screened(other))
        for result in op.told.body.get("results", []) if op.told and isinstance(op.told.body, dict) else []:
            times = sum(body.count(f"{result}\n") for body in notes[patient])
            if not least <= times <= len(same) and not (times < least and _locked_out(truth, op)):
                what = f"result {str(result)[:60]!r} of {op.asked.intent}"
                text = f"{what} stands {times} times in notes of patient {patient}"
                yield Violation("service.screening", op.over, text, (op.asked.op,))
                break


RULES = (
    unhandled, mistake, gave_up, sibling_ended, turned_away, too_late, goodput, unsettled, unanswered, screenings
)  # fmt: skip
