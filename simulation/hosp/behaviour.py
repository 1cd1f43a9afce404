"""What HOSP does to one request. Its content and the number of the attempt decide, never its time of arrival.

So a plan from which other faults were removed still treats this request the same, which shrinking needs.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from attrs import asdict, define, field, frozen

FAULTS = (
    "error_before", "error_after", "reset_before", "reset_after", "late_reset", "late_timeout", "truncated",
    "cut_head", "stall", "stall_stored", "busy", "bad_gateway", "busy_wait", "too_many", "bare_lf", "unasked_304",
    "unasked_206",
)  # fmt: skip
WRITES_ONLY = frozenset({"error_after", "reset_after", "late_reset", "late_timeout", "stall_stored"})
READS_ONLY = frozenset({"unasked_304", "unasked_206"})
NOTHING_DONE = frozenset(
    {"error_before", "reset_before", "stall", "busy", "bad_gateway", "busy_wait", "too_many"}
)
DEFINITE = frozenset({"error_before", "error_after"})
"""After these nothing else happens to the request."""
WAIT_S = 4
"""Of ``busy_wait``: its Retry-After."""
LONGEST_S = 20.0
"""The longest that HOSP takes for a response that it sends."""


@frozen
class Deed:
    """What happens to one request.

    :param fault: one of `FAULTS`, or empty.
    :param commit_s: after so many seconds it is carried out, or read.
    :param answer_s: after so many seconds its response is sent; at least `commit_s`, except for late commits.
    """

    fault: str = ""
    commit_s: float = 0.0
    answer_s: float = 0.0


@frozen
class Slow:
    """HOSP takes `factor` times as long between two moments, never more than 20 s."""

    since: float
    until: float
    factor: float


@frozen
class HospPlan:
    """The part of a fault plan that concerns HOSP's responses. It is data: `asdict` of it goes into the plan.

    :param salt: makes the decisions of two seeds differ.
    :param rates: how often each fault occurs; together at most 1.
    :param mean_s: mean response time.
    :param named: faults by the key of the request (see `key_of`), instead of `rates`.
    :param late_commit_s: the latest commit after the request was received.
    :param until: from then on nothing fails.
    """

    salt: str = ""
    rates: Mapping[str, float] = field(factory=dict)
    mean_s: float = 1.5
    named: Mapping[str, str] = field(factory=dict)
    slow: tuple[Slow, ...] = ()
    late_commit_s: float = 25.0
    until: float = 1e9

    @property
    def kinds(self) -> frozenset[str]:
        """All faults that may occur."""
        return frozenset(self.rates) | frozenset(self.named.values())


def key_of(method: str, target: str, name: str, body: bytes, nth: int) -> str:
    """Identifies a request by its content: ``POST /notes ann 1f00c3d2 #2``."""
    digest = hashlib.sha256(body).hexdigest()[:8] if body else "-"
    return f"{method} {target} {name} {digest} #{nth}"


@define
class Behaviour:
    """Decides on faults, and remembers which occurred.

    :param plan: the rates, or the named faults.
    """

    plan: HospPlan
    met: dict[str, str] = field(factory=dict)
    _tries: Counter[str] = field(factory=Counter)

    def decide(self, method: str, target: str, name: str, body: bytes, now: float) -> Deed:
        """Decide what happens to this request, received at `now`."""
        first = key_of(method, target, name, body, 0)
        self._tries[first] += 1
        key = key_of(method, target, name, body, self._tries[first])
        chance = random.Random(f"{self.plan.salt}|{key}")
        deed = self._deed(self._fault(key, method, chance) if now < self.plan.until else "", chance, now)
        if deed.fault:
            self.met[key] = deed.fault
        return deed

    def _fault(self, key: str, method: str, chance: random.Random) -> str:
        drawn = chance.random()
        if key in self.plan.named:
            return self.plan.named[key]
        for fault, rate in sorted(self.plan.rates.items()):
            drawn -= rate
            if drawn < 0:
                return "" if fault in (WRITES_ONLY if method == "GET" else READS_ONLY) else fault
        return ""

    def _deed(self, fault: str, chance: random.Random, now: float) -> Deed:
        factor = max((slow.factor for slow in self.plan.slow if slow.since <= now < slow.until), default=1.0)
        # In calm times HOSP is quick, so that everything comes to an end.
        mean_s = self.plan.mean_s if now < self.plan.until + 60.0 else min(0.5, self.plan.mean_s)
        takes = min(LONGEST_S, factor * chance.lognormvariate(0.0, 0.6) * mean_s)
        part = chance.choice((0.02, 0.5, 0.98, 0.98))
        early = chance.uniform(0.01, 0.5)
        # Half of the late commits come soon, when the proxy has just looked for them.
        late = chance.choice((chance.uniform(0.5, 6.0), chance.uniform(2.0, self.plan.late_commit_s - 0.5)))
        match fault:
            case "late_reset" | "late_timeout":
                return Deed(fault, late, early)
            case "stall_stored":
                return Deed(fault, late, chance.uniform(40.0, 90.0))
            case "stall":
                return Deed(fault, 0.0, chance.uniform(40.0, 90.0))
            case "reset_before" | "busy" | "bad_gateway" | "busy_wait" | "too_many":
                return Deed(fault, 0.0, early)
        return Deed(fault, takes * part, takes)


def plan_from(fields: Mapping[str, Any]) -> HospPlan:
    """A plan from its JSON."""
    values = dict(fields)
    values["slow"] = tuple(Slow(**each) for each in values.get("slow", ()))
    return HospPlan(**values)


def plan_to(plan: HospPlan) -> dict[str, Any]:
    """A plan as JSON."""
    return asdict(plan)
