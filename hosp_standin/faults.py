"""Decides which requests fail, and how: pure rules on seeded randomness."""

from __future__ import annotations

import fnmatch
import math
import random
from collections import deque
from collections.abc import Mapping, Sequence

from attrs import evolve, field, fields, frozen

from .delays import BadSetting, Delay, number

RATES = (
    "error_before",
    "error_after",
    "reset_before",
    "reset_after",
    "late_commit",
    "truncated",
    "cut_head",
    "stall",
    "busy",
    "bad_gateway",
)


class BadFaults(BadSetting):
    """Invalid faults; the message says which and why."""


@frozen
class Faults:
    """Probability of each fault (0 to 1; together at most 1), and the requests that faults may hit.

    error_before, error_after: a 500, before or after the write is stored (for a read: simply a 500).
    reset_before, reset_after: a reset connection, likewise.
    late_commit: a reset or (with probability `late_commit_504`) a 504 now; the write is stored
        `late_commit_min_s` to `late_commit_max_s` real seconds later.
    truncated: stored; the head is complete, the body is cut, the connection is closed.
    cut_head: stored; even the head is cut.
    stall: nothing is stored and no response is sent, for ever or (`stall_s` > 0) until the connection is reset.
    busy, bad_gateway: 503 and 502 at once, nothing is stored.
    only_methods, only_paths: empty means all; paths are patterns (``/notes/*``), without ``.json``.
    """

    error_before: float = 0.0
    error_after: float = 0.0
    reset_before: float = 0.0
    reset_after: float = 0.0
    late_commit: float = 0.0
    truncated: float = 0.0
    cut_head: float = 0.0
    stall: float = 0.0
    busy: float = 0.0
    bad_gateway: float = 0.0
    late_commit_min_s: float = 2.0
    late_commit_max_s: float = 20.0
    late_commit_504: float = 0.5
    stall_s: float = 0.0
    only_methods: tuple[str, ...] = ()
    only_paths: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        for name in (*RATES, "late_commit_504"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadFaults(f"{name}: a rate is a number from 0 to 1, not {getattr(self, name)}")
        total = math.fsum(getattr(self, name) for name in RATES)
        if total > 1 + 1e-9:
            raise BadFaults(f"the rates add up to {total:g}; at most 1 is possible")
        if not 0 <= self.late_commit_min_s <= self.late_commit_max_s < math.inf:
            raise BadFaults(
                "late_commit_min_s and late_commit_max_s: seconds, the first not above the second"
            )
        if not 0 <= self.stall_s < math.inf:
            raise BadFaults(f"stall_s: seconds, not {self.stall_s}")

    @classmethod
    def from_mapping(cls, given: Mapping[str, object]) -> Faults:
        """Make faults from JSON.

        Raises:
            BadFaults: an unknown name, or a value of the wrong type or out of range.
        """
        known = {attribute.name for attribute in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise BadFaults(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        values = {name: _value(name, value) for name, value in given.items()}
        return cls(**values)  # type: ignore[arg-type]

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Parse faults from an option: ``error_after=0.015,only_methods=POST+PATCH``.

        Raises:
            BadFaults: as for `from_mapping`, or not ``name=value``.
        """
        given: dict[str, object] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = item.partition("=")
            if not equals:
                raise BadFaults(f"name=value was expected, not {item!r}")
            if name.strip().startswith("only_"):
                given[name.strip()] = [each for each in value.split("+") if each]
            else:
                given[name.strip()] = number(name, value)
        return cls.from_mapping(given)

    def strikes(self, method: str, path: str) -> bool:
        """Whether faults may hit this request."""
        return _selected(method, path, self.only_methods, self.only_paths)


@frozen
class Scripted:
    """A fault set in advance: the next matching request gets it (None: that request is spared)."""

    fault: str | None
    method: str | None = None
    path: str | None = None

    @classmethod
    def from_mapping(cls, given: Mapping[str, object]) -> Scripted:
        """Make one scripted fault from JSON.

        Raises:
            BadFaults: no such fault, or an unknown key.
        """
        fault, method, path = given.get("fault"), given.get("method"), given.get("path")
        if set(given) - {"fault", "method", "path"}:
            raise BadFaults("a scripted fault has the keys fault, method and path")
        if fault is not None and fault not in RATES:
            raise BadFaults(f"no such fault: {fault}; there are {', '.join(RATES)}")
        if not isinstance(method, str | None) or not isinstance(path, str | None):
            raise BadFaults("method and path are strings")
        return cls(fault, method, path)


@frozen
class Plan:
    """What happens to one request: its fault, if any, its response time, and the parameters of a late commit."""

    fault: str | None
    delay_s: float
    late_s: float
    gateway_timeout: bool
    stall_s: float = 0.0


@frozen
class _Randomness:
    faults: random.Random = field(factory=random.Random)
    delays: random.Random = field(factory=random.Random)


class Planner:
    """Decides for each request, in order of arrival, what happens to it.

    The same seed and the same order of requests give the same plans. Each request draws the same numbers, whatever
    the rates are, and response times have a random stream of their own.

    Arguments:
        seed: of all randomness.
        delay: the distribution of response times.
        time_scale: factor for response times only.
        faults: initial faults.
    """

    def __init__(
        self, seed: int, delay: Delay, time_scale: float = 1.0, faults: Faults | None = None
    ) -> None:
        self._seed = seed
        self._first = faults or Faults()
        self.delay = delay
        self.time_scale = time_scale
        self.restart()

    def restart(self) -> None:
        """Drop scripted faults, and return to the initial faults and the seed."""
        self.faults = self._first
        self.script: deque[Scripted] = deque()
        self._random = _Randomness(
            random.Random(f"{self._seed} faults"), random.Random(f"{self._seed} delays")
        )

    def clear(self) -> None:
        """Like `restart`, and without faults."""
        self.restart()
        self.faults = Faults()

    def plan(self, method: str, path: str) -> Plan:
        """Decide what happens to the request that has just arrived.

        Arguments:
            path: without ``.json``, query and trailing slash.
        """
        chance, lateness, gateway = (self._random.faults.random() for _ in range(3))
        faults = self.faults
        span = faults.late_commit_max_s - faults.late_commit_min_s
        plan = Plan(
            fault=_struck(faults, chance) if faults.strikes(method, path) else None,
            delay_s=self.delay.draw(self._random.delays) * self.time_scale,
            late_s=faults.late_commit_min_s + lateness * span,
            gateway_timeout=gateway < faults.late_commit_504,
            stall_s=faults.stall_s,
        )
        return self._scripted(plan, method, path)

    def _scripted(self, plan: Plan, method: str, path: str) -> Plan:
        for position, scripted in enumerate(self.script):
            if scripted.method in (None, method) and fnmatch.fnmatchcase(path, scripted.path or "*"):
                del self.script[position]
                return evolve(plan, fault=scripted.fault)
        return plan


def _struck(faults: Faults, chance: float) -> str | None:
    edge = 0.0
    for name in RATES:
        edge += getattr(faults, name)
        if chance < edge:
            return name
    return None


def _selected(method: str, path: str, methods: Sequence[str], paths: Sequence[str]) -> bool:
    return (not methods or method in methods) and (
        not paths or any(fnmatch.fnmatchcase(path, pattern) for pattern in paths)
    )


def _value(name: str, value: object) -> object:
    if name.startswith("only_"):
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise BadFaults(f"{name}: a list of strings was expected")
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadFaults(f"{name}: a number was expected, not {value!r}")
    return float(value)
