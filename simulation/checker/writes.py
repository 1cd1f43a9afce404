"""Rules of docs/clients.md on writes: none lost, doubled, invented, in another's name, or reported wrongly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..history import Committed, Record
from .truth import IMPORTED, Op, Truth, Version, Violation, holds, shows

RESUBMIT_S = 120.0
"""The resubmit window: how long an equal write counts as a retry."""


def doubled(truth: Truth) -> Iterator[Violation]:
    """A POST is stored no more often than its user intended."""
    by_content: dict[tuple[object, ...], list[Op]] = defaultdict(list)
    for op in truth.writes:
        if op.asked.method == "POST":
            by_content[op.same].append(op)
    for ops in by_content.values():
        commits = [commit for op in ops for commit in truth.commits_of.get(op.asked.request_id, [])]
        allowed = _wanted(truth, ops)
        if len(commits) > allowed and not _evidence_faked(truth, ops, commits):
            numbers = tuple(op.asked.op for op in ops)
            ids = ", ".join(f"{commit.id} at {commit.at:.3f}" for commit in commits)
            text = f"{ops[0].asked.method} {ops[0].asked.target} of {ops[0].asked.intent} was stored as {ids}"
            yield Violation("writes.doubled", commits[-1].at, f"{text}; wanted {allowed} times", numbers)


def _evidence_faked(truth: Truth, ops: list[Op], commits: list[Committed]) -> bool:
    """Whether an imported id and a step of HOSP's clock came together: ADR 27 promises to survive only one of them."""
    since, until = ops[0].asked.at, commits[-1].at
    imported = any(resource == ops[0].resource and id_ in IMPORTED for resource, id_ in truth.timelines)
    return imported and truth.troubled(since, until, "clock hosp", before_s=60.0)


def _wanted(truth: Truth, ops: list[Op]) -> int:
    """How often equal POSTs may be stored: once a key; without a key once an intent, and again after a response."""
    keys = {op.asked.key for op in ops if op.asked.key is not None}
    times = len(keys)
    without = sorted((op for op in ops if op.asked.key is None), key=lambda op: op.asked.at)
    for number, op in enumerate(without):
        before = [other for other in without[:number] if other.asked.intent == op.asked.intent]
        if not before or all(_is_answered(truth, other, op) for other in before):
            times += 1
    return times


def _is_answered(truth: Truth, earlier: Op, op: Op) -> bool:
    """Whether `op` may be a record of its own beside an earlier, equal request without a key."""
    if earlier.success:
        return True
    if op.asked.at - earlier.over > RESUBMIT_S:
        return True
    told = earlier.told
    if told is not None:
        # Its client was told "not carried out" or "unknown", so the next one is a retry.
        return _nobody_knew(truth, earlier, op)
    # Its client left. If the response was already written, the proxy cannot know that it never arrived.
    written = [line.record or {} for line in truth.records.get(earlier.asked.request_id, [])]
    left = any(not record.get("client_gone") and record.get("status") is not None for record in written)
    died = any(True for _ in truth.deaths(earlier.asked.at, earlier.over + 0.001))
    return (left and not died) or _nobody_knew(truth, earlier, op)


def _nobody_knew(truth: Truth, earlier: Op, op: Op) -> bool:
    """Whether the machines may not know of each other's writes: without Redis (docs/clients.md, "Asking again")."""
    if truth.history.premises.shape != "machines" or earlier.asked.house == op.asked.house:
        # The workers of one machine have one ledger.
        return False
    return truth.troubled(earlier.asked.at - 30, op.over, "redis", "split")


def lost(truth: Truth) -> Iterator[Violation]:
    """A write that was reported as carried out was carried out."""
    for op in truth.writes:
        if not op.success:
            continue
        problem = _created(truth, op) if op.asked.method == "POST" else _changed(truth, op)
        if problem:
            what = f"{op.asked.method} {op.asked.target} of {op.asked.intent} was told {op.told and op.told.status}"
            yield Violation("writes.lost", op.over, f"{what}, but {problem}", (op.asked.op,))


def _created(truth: Truth, op: Op) -> str:
    told = op.told
    if told is None or not isinstance(told.body, dict):
        return "the answer names no record"
    commit = truth.commit_of(op)
    if commit is None:
        return f"no equal request of this client stored record {told.body.get('id')}"
    versions = truth.versions((commit.resource, commit.id), commit.at, op.over)
    if not _as_wished(op.asked.body, commit.after, truth.history.premises.refuses):
        return f"record {commit.id} was stored with other values"
    if not any(version.state is not None and shows(told.body, version.state) for version in versions):
        return f"record {commit.id} never was what the answer shows"
    return ""


def _as_wished(sent: object, state: Record | None, refuses: bool) -> bool:
    """Whether a new record has the strings that were sent.

    :param refuses: whether the proxy refuses what is no date, which HOSP would store as null.
    """
    if not isinstance(sent, dict) or state is None:
        return True
    texts = {
        name: value for name, value in sent.items() if isinstance(value, str) and value and name in state
    }
    return all(
        (_is_day(state[name], value, refuses) if name == "birthdate" else str(state[name]) == value)
        for name, value in texts.items()
        if not name.endswith("_id")
    )


def _is_day(stored: object, sent: str, refuses: bool) -> bool:
    """HOSP stores the day of a date, and null for any other text. It gets other text in report mode only."""
    if not sent[:4].isdigit():
        return stored is None and not refuses
    return str(stored) == sent[:10]


def _changed(truth: Truth, op: Op) -> str:
    if op.record is None:
        return ""
    versions = truth.versions(op.record, truth.first_asked(op), op.over)
    if op.asked.method == "DELETE":
        staff = truth.staff_of(op)
        was_there = any(
            version.state is not None
            and truth.may_see(staff, op.record[0], version.state, max(version.since, op.asked.at))
            for version in versions
        )
        if not was_there:
            return "the record was not there for this person"
        return "" if any(version.state is None for version in versions) else "the record is still there"
    if not any(holds(version.state, op.asked.body) for version in versions):
        versions = versions + _repeated(truth, op)
    if not any(holds(version.state, op.asked.body) for version in versions):
        return "the record never had these values"
    body = op.told.body if op.told is not None else None
    if isinstance(body, dict) and not any(
        version.state and shows(body, version.state) for version in versions
    ):
        return "the record never was what the answer shows"
    return ""


def _repeated(truth: Truth, op: Op) -> list[Version]:
    """Versions that an earlier, equal change left, if this one counts as its retry (docs/clients.md, "Asking again").

    It does within the resubmit window if nobody has the first one's response, and if nobody has changed the record
    since. A proxy that is one process may miss a change that bypassed it, until HOSP has shown it; several workers or
    machines ask HOSP.
    """
    assert op.record is not None
    found: list[Version] = []
    for first in truth.earlier_equals(op)[1:] if op.asked.key is None else []:
        lost = first.told is None or first.told.outcome == "unknown"
        if first.asked.key is not None or not lost or first.over > op.asked.at:
            continue
        for commit in truth.commits_of.get(first.asked.request_id, []):
            later = [v for v in truth.versions(op.record, commit.at, op.asked.at) if v.since > commit.at]
            bypassed = all(v.commit is not None and v.commit.staff is None for v in later)
            recent = op.asked.at - max(first.over, commit.at) <= RESUBMIT_S
            alone = truth.history.premises.shape == "one"
            unseen = not later or (alone and not any(_was_shown(truth, op, v) for v in later))
            if bypassed and recent and unseen:
                found.append(Version(commit.at, commit.at, commit.after, commit))
    return found


def _was_shown(truth: Truth, op: Op, version: Version) -> bool:
    """Whether a read returned this version of the record before the request was sent."""
    assert op.record is not None
    resource, id_ = op.record
    for read in truth.ops.values():
        told = read.told
        if read.asked.method != "GET" or read.resource != resource or told is None or told.status != 200:
            continue
        if not version.since <= told.at <= op.asked.at:
            continue
        rows = told.body if isinstance(told.body, list) else [told.body]
        if any(
            isinstance(row, dict) and row.get("id") == id_ and shows(row, version.state or {}) for row in rows
        ):
            return True
    return False


def told_otherwise(truth: Truth) -> Iterator[Violation]:
    """A write that was reported as not carried out is never carried out, not even later."""
    for op in truth.writes:
        commits = truth.commits_of.get(op.asked.request_id, [])
        if op.refused and commits:
            status = op.told.status if op.told is not None else 0
            what = (
                f"{op.asked.method} {op.asked.target} of {op.asked.intent} was told {status} at {op.over:.3f}"
            )
            text = f"{what}, which means not carried out, and HOSP carried it out at {commits[0].at:.3f}"
            yield Violation("writes.told_otherwise", max(op.over, commits[0].at), text, (op.asked.op,))


def outcome_untrue(truth: Truth) -> Iterator[Violation]:
    """An outcome that a client asks for by reference is true, and stays true."""
    references = {
        str(op.told.body.get("reference")): op
        for op in truth.ops.values()
        if op.told is not None and isinstance(op.told.body, dict) and op.told.outcome == "unknown"
    }
    for op in truth.ops.values():
        if op.told is None or op.told.status != 200 or "/.hospproxy/outcomes/" not in op.asked.target:
            continue
        write = references.get(op.asked.target.rpartition("/")[2])
        if write is None or not isinstance(op.told.body, dict):
            continue
        commits = [
            c for each in truth.earlier_equals(write) for c in truth.commits_of.get(each.asked.request_id, [])
        ]
        own = truth.commits_of.get(write.asked.request_id, [])
        said = op.told.body.get("outcome")
        numbers = (write.asked.op, op.asked.op)
        if said == "absent" and own:
            text = f"outcome of {write.asked.intent} was said to be absent, and HOSP carried it out at {own[0].at:.3f}"
            yield Violation("writes.outcome_untrue", op.over, text, numbers)
        if said == "found" and not commits and write.asked.method == "POST":
            text = f"outcome of {write.asked.intent} was said to be found, and HOSP never stored it"
            yield Violation("writes.outcome_untrue", op.over, text, numbers)


def wrong_author(truth: Truth) -> Iterator[Violation]:
    """A note names its author, and a write is sent with the credentials of its client."""
    for commit in truth.commits:
        if commit.staff is None or commit.after is None:
            continue
        numbers = _numbers(truth, commit)
        if commit.resource == "notes":
            author = commit.staff if commit.kind == "stored" else (commit.before or {}).get("staff_id")
            if commit.after.get("staff_id") != author:
                text = f"note {commit.id} has staff_id {commit.after.get('staff_id')}, not {author}"
                yield Violation("writes.wrong_author", commit.at, text, numbers)
        op = truth.by_request.get(commit.request_id)
        if op is not None and not any(
            state is not None and state.staff == commit.staff
            for state in truth.good(op.asked.name, op.asked.password, op.asked.at, commit.at)
        ):
            text = f"{op.asked.name} asked, and HOSP did it for staff {commit.staff}"
            yield Violation("writes.wrong_author", commit.at, text, numbers)


def invented(truth: Truth) -> Iterator[Violation]:
    """HOSP gets no write that no client requested."""
    for commit in truth.commits:
        if commit.staff is None or (commit.resource == "notes" and _is_screening_note(commit)):
            continue
        op = truth.by_request.get(commit.request_id)
        wanted = op is not None and op.writes and (op.asked.method == "DELETE" or _asked_for(commit, op))
        if not wanted:
            text = f"{commit.resource} {commit.id} was {commit.kind} by request {commit.request_id!r}"
            yield Violation(
                "writes.invented", commit.at, f"{text}, which nobody asked for", _numbers(truth, commit)
            )


def _asked_for(commit: Committed, op: Op) -> bool:
    if not isinstance(op.asked.body, dict) or not isinstance(commit.sent, dict):
        return True
    added = {"staff_id", "password"}
    return all(op.asked.body.get(name) == value for name, value in commit.sent.items() if name not in added)


def _is_screening_note(commit: Committed) -> bool:
    return str((commit.after or commit.before or {}).get("title", "")).startswith("Screening result")


def _numbers(truth: Truth, commit: Committed) -> tuple[int, ...]:
    op = truth.by_request.get(commit.request_id)
    return () if op is None else (op.asked.op,)


def key_misused(truth: Truth) -> Iterator[Violation]:
    """A request with a key of an earlier, different request gets 422 and is not carried out."""
    by_key: dict[tuple[str, str], list[Op]] = defaultdict(list)
    for op in truth.writes:
        if op.asked.key is not None:
            by_key[op.asked.person, op.asked.key].append(op)
    for ops in by_key.values():
        ordered = sorted(ops, key=lambda op: op.asked.at)
        first = ordered[0]
        for op in ordered[1:]:
            if op.same[1:] == first.same[1:] or not first.success or op.asked.at < first.over:
                continue
            if op.success or truth.commits_of.get(op.asked.request_id):
                text = f"the key of {first.asked.intent} was used for another request, which was not refused"
                yield Violation("writes.key_misused", op.over, text, (first.asked.op, op.asked.op))


RULES = (
    doubled,
    lost,
    told_otherwise,
    outcome_untrue,
    wrong_author,
    invented,
    key_misused,
)
