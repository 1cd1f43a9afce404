"""The truth at each moment, from HOSP's journal: versions of records, credentials, and the commit of each write."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from attrs import define, field, frozen

from ..history import Asked, Broke, Committed, Credentials, History, Life, Record, Recorded, Told, Trouble

FOREVER = float("inf")
IMPORTED = range(10_000, 2**63)
"""Ids of records that were not made in the order of the sequence."""
WRITES = frozenset({"POST", "PATCH", "DELETE"})
NOT_OF_THE_RECORD = frozenset({"url", "made_for"})


@frozen
class Violation:
    """A broken promise.

    :param rule: family and name, such as ``writes.doubled``.
    :param at: when it showed, in virtual seconds.
    :param text: one sentence for people.
    :param ops: the clients' requests that it is about.
    """

    rule: str
    at: float
    text: str
    ops: tuple[int, ...] = ()


@frozen
class Version:
    """A record's state (None: it does not exist) from one commit to the next."""

    since: float
    until: float
    state: Record | None
    commit: Committed | None = None


@frozen
class Op:
    """One request of a client, and its result."""

    asked: Asked
    end: Told | Broke | None = None

    @property
    def told(self) -> Told | None:
        """The whole response, if one came."""
        return self.end if isinstance(self.end, Told) else None

    @property
    def over(self) -> float:
        """When the client knew that nothing more would come."""
        return FOREVER if self.end is None else self.end.at

    @property
    def writes(self) -> bool:
        """Whether it changes a record (a screening does not)."""
        return self.asked.method in WRITES and not self.asked.target.endswith("/screen")

    @property
    def success(self) -> bool:
        """Whether the client was told that it was carried out."""
        return self.told is not None and 200 <= self.told.status < 300

    @property
    def refused(self) -> bool:
        """Whether the client was told that it was not carried out."""
        return self.told is not None and self.told.status >= 400 and self.told.outcome is None

    @property
    def same(self) -> tuple[Any, ...]:
        """Equal for two requests of one user that ask the same. A user with a new password is the same user."""
        asked = self.asked
        return asked.name, asked.method, asked.target, json.dumps(asked.body, sort_keys=True)

    @property
    def record(self) -> tuple[str, int] | None:
        """The record that the path names."""
        pieces = self.asked.target.partition("?")[0].strip("/").split("/")
        if len(pieces) == 2 and pieces[1].isdigit():
            return pieces[0], int(pieces[1])
        return None

    @property
    def resource(self) -> str:
        """The kind of record."""
        return self.asked.target.partition("?")[0].strip("/").split("/")[0]

    @property
    def filters(self) -> dict[str, str]:
        """The query's parameters, the last of each."""
        return dict(parse_qsl(self.asked.target.partition("?")[2]))


@define(slots=False)
class Truth:
    """The whole history, arranged for the rules.

    :param history: of one world.
    """

    history: History
    _versions: dict[tuple[str, int], list[Version]] = field(factory=dict)

    @cached_property
    def ops(self) -> dict[int, Op]:
        """Clients' requests by number."""
        found = {asked.op: Op(asked) for asked in self.history.of(Asked)}
        ends: list[Told | Broke] = [*self.history.of(Told), *self.history.of(Broke)]
        for event in ends:
            if event.op in found:
                found[event.op] = Op(found[event.op].asked, event)
        return found

    def filters(self, op: Op) -> dict[str, str]:
        """The filters of a read that HOSP applies."""
        applied = {"patients": ("hospital_id",), "notes": ("patient_id",)}.get(op.resource, ())
        everything = self.history.premises.filters == "all"
        return {name: value for name, value in op.filters.items() if everything or name in applied}

    @cached_property
    def writes(self) -> list[Op]:
        """Requests that change records, in the order of sending."""
        return [op for op in self.ops.values() if op.writes]

    @cached_property
    def by_request(self) -> dict[str, Op]:
        """Clients' requests by request id."""
        return {op.asked.request_id: op for op in self.ops.values() if op.asked.request_id}

    @cached_property
    def by_intent(self) -> dict[str, list[Op]]:
        """Requests by their user's intent."""
        found: dict[str, list[Op]] = defaultdict(list)
        for op in self.ops.values():
            found[op.asked.intent].append(op)
        return found

    @cached_property
    def commits(self) -> list[Committed]:
        """Everything that HOSP changed, in order."""
        return [commit for commit in self.history.of(Committed) if commit.kind != "screened"]

    @cached_property
    def commits_of(self) -> dict[str, list[Committed]]:
        """Commits by request id."""
        found: dict[str, list[Committed]] = defaultdict(list)
        for commit in self.commits:
            if commit.request_id:
                found[commit.request_id].append(commit)
        return found

    @cached_property
    def timelines(self) -> dict[tuple[str, int], list[Version]]:
        """Versions of each record, oldest first; before its first commit it did not exist."""
        by_record: dict[tuple[str, int], list[Committed]] = defaultdict(list)
        for commit in self.commits:
            by_record[commit.resource, commit.id].append(commit)
        return {key: _timeline(commits) for key, commits in by_record.items()}

    def versions(self, record: tuple[str, int], since: float, until: float) -> list[Version]:
        """Versions of a record that were current at some time between two moments (both included)."""
        nothing = [Version(-FOREVER, FOREVER, None)]
        timeline = self.timelines.get(record, nothing)
        return [version for version in timeline if version.since <= until and version.until >= since]

    def earlier_equals(self, op: Op) -> list[Op]:
        """Requests of one user that asked the same before this one got its response, this one first."""
        key = op.asked.key
        keyed = self._keyed[op.asked.name, key] if key is not None else []
        # Two keys are two requests.
        equal = [other for other in self._equal[op.same] if key is None or other.asked.key in (None, key)]
        others = [other for other in (*equal, *keyed) if other.asked.op != op.asked.op]
        return [op, *(other for other in others if other.asked.at <= op.over)]

    @cached_property
    def _equal(self) -> dict[tuple[Any, ...], list[Op]]:
        found: dict[tuple[Any, ...], list[Op]] = defaultdict(list)
        for op in self.ops.values():
            found[op.same].append(op)
        return found

    @cached_property
    def _keyed(self) -> dict[tuple[str, str | None], list[Op]]:
        found: dict[tuple[str, str | None], list[Op]] = defaultdict(list)
        for op in self.ops.values():
            if op.asked.key is not None:
                found[op.asked.name, op.asked.key].append(op)
        return found

    def commit_of(self, op: Op) -> Committed | None:
        """The commit that a successful write's response is about: its own, or that of the equal one that it repeats."""
        told_id = op.told.body.get("id") if op.told is not None and isinstance(op.told.body, dict) else None
        for each in self.earlier_equals(op):
            commits = self.commits_of.get(each.asked.request_id, [])
            if op.asked.method == "POST" and told_id is not None:
                commits = [commit for commit in commits if commit.id == told_id]
            fitting = [commit for commit in commits if commit.at <= op.over]
            if fitting:
                return fitting[-1]
        return None

    @cached_property
    def acknowledged(self) -> list[tuple[Op, Committed]]:
        """Writes whose client was told that they were carried out, with their commits, by time of the response."""
        pairs = [(op, self.commit_of(op)) for op in self.writes if op.success]
        found = [(op, commit) for op, commit in pairs if commit is not None]
        return sorted(found, key=lambda pair: pair[0].over)

    def first_asked(self, op: Op) -> float:
        """When the first of this intent's requests was sent."""
        same = [other for other in self.by_intent[op.asked.intent] if other.same == op.same]
        return min(other.asked.at for other in same)

    @cached_property
    def credentials(self) -> dict[tuple[str, str], list[Credentials]]:
        """Changes of each pair of name and password, oldest first."""
        found: dict[tuple[str, str], list[Credentials]] = defaultdict(list)
        for change in self.history.of(Credentials):
            found[change.name, change.password].append(change)
        return found

    def good(self, name: str, password: str, since: float, until: float) -> list[Credentials | None]:
        """Owners of these credentials between two moments (None: invalid)."""
        changes = self.credentials.get((name, password), [])
        before = [change for change in changes if change.at <= since]
        states: list[Credentials | None] = [before[-1] if before else None]
        states += [change for change in changes if since < change.at <= until]
        return [None if state is None or state.staff is None else state for state in states]

    def staff_of(self, op: Op) -> int | None:
        """Id of the member of staff whose credentials came, if they were valid at some time during the request."""
        states = self.good(op.asked.name, op.asked.password, op.asked.at, op.over)
        return next((state.staff for state in states if state is not None), None)

    def may_see(self, staff: int | None, resource: str, state: Record, at: float) -> bool:
        """Whether HOSP would show this record to this member of staff."""
        if self.history.premises.visible == "all" or staff is None:
            return True
        if resource not in ("patients", "notes"):
            return True
        hospital = self._field("staffs", staff, "hospital_id", at)
        if resource == "patients":
            return bool(state.get("hospital_id") == hospital)
        patient = state.get("patient_id")
        return isinstance(patient, int) and self._field("patients", patient, "hospital_id", at) == hospital

    def moves(self, since: float, until: float) -> list[float]:
        """The first moment, and those after which a person or a record belongs to another hospital."""
        if self.history.premises.visible == "all":
            return []
        return [since, *(at for at in self._moves if since <= at <= until)]

    @cached_property
    def _moves(self) -> list[float]:
        changes = [commit for commit in self.commits if commit.before and commit.after]
        return [
            commit.at
            for commit in changes
            if (commit.before or {}).get("hospital_id") != (commit.after or {}).get("hospital_id")
        ]

    def _field(self, resource: str, id_: int, name: str, at: float) -> Any:
        versions = self.versions((resource, id_), at, at)
        return None if not versions or versions[-1].state is None else versions[-1].state.get(name)

    @cached_property
    def records(self) -> dict[str, list[Recorded]]:
        """Audit records of clients' requests by request id."""
        found: dict[str, list[Recorded]] = defaultdict(list)
        for line in self.history.of(Recorded):
            if line.record is not None and line.record.get("kind") == "request":
                found[str(line.record.get("request_id"))].append(line)
        return found

    def troubled(self, since: float, until: float, *kinds: str, before_s: float = 0.0) -> bool:
        """Whether a fault whose kind starts with one of these was active between two moments, or shortly before."""
        return any(
            trouble.kind.startswith(kinds) and trouble.at <= until and trouble.until + before_s >= since
            for trouble in self.history.of(Trouble)
        )

    def deaths(self, since: float, until: float, machine: str | None = None) -> Iterator[Life]:
        """Processes that ended between two moments."""
        for life in self.history.of(Life):
            there = machine is None or machine == life.machine
            if there and life.what in ("killed", "ended") and since <= life.at <= until:
                yield life


def _timeline(commits: Iterable[Committed]) -> list[Version]:
    ordered = list(commits)
    versions = [Version(-FOREVER, ordered[0].at, ordered[0].before)]
    for commit, after in zip(ordered, [*ordered[1:], None], strict=True):
        until = FOREVER if after is None else after.at
        versions.append(Version(commit.at, until, commit.after, commit))
    return versions


def shows(record: Mapping[str, Any], state: Record) -> bool:
    """Whether a record in a response is this state."""
    return {name: value for name, value in record.items() if name not in NOT_OF_THE_RECORD} == dict(state)


def holds(state: Record | None, sent: Any) -> bool:
    """Whether a record has the values that a change asked for. How HOSP converts odd values cannot be told."""
    if state is None or not isinstance(sent, dict):
        return False
    return all(
        state.get(name) == value
        for name, value in sent.items()
        if name in state and name not in ("password", "staff_id") and _is_plain(name, value)
    )


def _is_plain(name: str, value: Any) -> bool:
    return value is None or isinstance(value, int if name.endswith("_id") else str)
