"""Rules of docs/audit.md: no response without its record, and no record that is untrue."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ..history import Recorded
from .truth import Op, Truth, Violation


def no_record(truth: Truth) -> Iterator[Violation]:
    """Each response that a client got has its record, with the same status."""
    for op in truth.ops.values():
        end = op.end
        if end is None or end.status is None or not op.asked.request_id:
            continue
        records = truth.records.get(op.asked.request_id, [])
        statuses = [(line.record or {}).get("status") for line in records]
        what = f"{op.asked.method} {op.asked.target} of {op.asked.intent} was answered {end.status}"
        if not records:
            if not truth.troubled(op.asked.at, op.over, "disk full", "disk fail"):
                yield Violation("trail.no_record", op.over, f"{what} and has no record", (op.asked.op,))
        elif end.status not in statuses:
            yield Violation("trail.status", op.over, f"{what}, its record says {statuses}", (op.asked.op,))


def no_intent(truth: Truth) -> Iterator[Violation]:
    """Before a write is sent to HOSP, its intent is on disk, so the trail shows what a crash leaves open."""
    intents = {
        str(line.record.get("request_id"))
        for line in truth.history.of(Recorded)
        if line.record is not None and line.record.get("kind") == "intent"
    }
    for commit in truth.commits:
        op = truth.by_request.get(commit.request_id)
        if op is not None and commit.request_id not in intents:
            text = (
                f"{op.asked.method} {op.asked.target} of {op.asked.intent} was carried out without an intent"
            )
            yield Violation("trail.no_intent", commit.at, text, (op.asked.op,))


def untrue_who(truth: Truth) -> Iterator[Violation]:
    """A record names who sent the request: verified only if HOSP accepts the credentials, claimed if any came."""
    for op, record in _pairs(truth):
        problem = _who(truth, op, record.get("who") or {})
        if problem:
            text = f"record of {op.asked.intent} ({op.asked.method} {op.asked.target}) {problem}"
            yield Violation("trail.who", op.over, text, (op.asked.op,))


def _who(truth: Truth, op: Op, who: Mapping[str, Any]) -> str:
    certainty, asked = who.get("certainty"), op.asked
    if asked.name and certainty == "none":
        return "says that no credentials came"
    if not asked.name and certainty != "none":
        return f"says {certainty}, and no credentials came"
    if certainty == "verified":
        # The proxy trusts HOSP's verdict for a while, so it may apply one from an earlier time.
        ids = {
            state.staff for state in truth.good(asked.name, asked.password, 0.0, op.over) if state is not None
        }
        if who.get("id") not in ids and str(who.get("id")) not in {str(id_) for id_ in ids}:
            return f"says that it was verified as staff {who.get('id')}, the credentials are of {sorted(ids, key=str)}"
    return ""


def untrue_outcome(truth: Truth) -> Iterator[Violation]:
    """The outcome and the action in a record match the response."""
    for op, record in _pairs(truth):
        outcome, status = record.get("outcome"), record.get("status")
        problem = ""
        if isinstance(status, int):
            # A processor that knows better says ``found`` for a success.
            good = outcome in ("success", "found")
            if good != (200 <= status < 400):
                problem = f"has the outcome {outcome!r} with status {status}"
            if op.told is not None and (op.told.outcome == "unknown") != (outcome == "unknown"):
                problem = f"has the outcome {outcome!r}, its answer said {op.told.outcome!r}"
        if op.told is not None and record.get("client_gone") and op.end is op.told:
            problem = "says that its client had gone, and the client has the answer"
        if problem:
            text = f"record of {op.asked.intent} ({op.asked.method} {op.asked.target}) {problem}"
            yield Violation("trail.outcome", op.over, text, (op.asked.op,))


def untrue_about(truth: Truth) -> Iterator[Violation]:
    """A record names the record and the patient that its request is about."""
    for op, record in _pairs(truth):
        expected = _about(op)
        for name, value in expected.items():
            said = record.get(name)
            if value is not None and str(said) != str(value):
                what = f"record of {op.asked.intent} ({op.asked.method} {op.asked.target})"
                text = f"{what} has {name} {said}, not {value}"
                yield Violation("trail.about", op.over, text, (op.asked.op,))


def _about(op: Op) -> dict[str, Any]:
    pieces = op.asked.target.partition("?")[0].strip("/").split("/")
    # If the path does not allow the method there is no operation, but the patient is known.
    served = op.end is None or op.end.status != 405
    about: dict[str, Any] = {"method": op.asked.method, "route": _route(op)} if served else {}
    if op.record is not None and served:
        about["record_id"] = op.record[1]
    if len(pieces) >= 2 and pieces[0] == "patients" and pieces[1].isdigit():
        about["patient_id"] = pieces[1]
    body = op.told.body if op.success and op.told is not None else None
    if op.asked.method == "POST" and op.resource == "notes" and isinstance(body, dict):
        about["record_id"] = body.get("id")
        about["patient_id"] = body.get("patient_id")
    return about


def _route(op: Op) -> str | None:
    """The contract's path template; None if this checker does not know it."""
    path = op.asked.target.partition("?")[0]
    template = "/".join("{id}" if piece.isdigit() else piece for piece in path.split("/"))
    return template if path.split("/")[1] in ("hospitals", "staffs", "patients", "notes") else None


def _pairs(truth: Truth) -> Iterator[tuple[Op, Mapping[str, Any]]]:
    for op in truth.ops.values():
        for line in truth.records.get(op.asked.request_id, []):
            if line.record is not None:
                yield op, line.record


def broken_chain(truth: Truth) -> Iterator[Violation]:
    """In each journal `seq` rises by one over all files; only the last line of a file may be torn."""
    by_journal: dict[tuple[str, str], list[Recorded]] = defaultdict(list)
    for line in truth.history.of(Recorded):
        by_journal[line.machine, line.file.split("-")[1]].append(line)
    for (machine, journal), lines in sorted(by_journal.items()):
        previous = 0
        for line, following in zip(lines, [*lines[1:], None], strict=True):
            if line.record is None:
                if following is not None and following.file == line.file:
                    text = f"{machine}: line {line.number} of {line.file} cannot be read and is not its last"
                    yield Violation("trail.torn", line.at, text)
                continue
            seq = line.record.get("seq")
            if isinstance(seq, int):
                if seq != previous + 1:
                    text = f"{machine}: journal {journal} goes on from {previous} with {seq} in {line.file}"
                    yield Violation("trail.chain", line.at, text)
                previous = seq


def digest(line: bytes) -> str:
    """The value of `prev` in the record after this line."""
    return hashlib.sha256(line).hexdigest()


RULES = (no_record, no_intent, untrue_who, untrue_outcome, untrue_about, broken_chain)
