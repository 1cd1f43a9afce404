"""Reads the figures of canary and baseline until there is a verdict, or no more time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .figures import Figures, Restarted
from .instances import Silent, sample
from .judgement import Judgement, Sample, Verdict, broken, judge
from .plan import Command, Instance, Rules
from .system import CommandFailed, System


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    :param instances: their figures are added up.
    :param before: what each had counted when traffic began.
    """

    name: str
    instances: tuple[Instance, ...]
    before: tuple[Figures, ...]

    def read(self, system: System) -> Sample:
        """Read and add up.

        :raise Silent: one of them does not reply.
        :raise Restarted: one of them has started again.
        """
        found = [
            sample(system, instance, before)
            for instance, before in zip(self.instances, self.before, strict=True)
        ]
        return added(found)

    def has_ended(self, system: System) -> bool:
        """Whether one that the rollout has started does not run any more."""
        return any(each.start and system.find(each.name) is None for each in self.instances)


def added(samples: list[Sample]) -> Sample:
    """Add up the samples of the instances of one side."""
    total = samples[0].figures
    for each in samples[1:]:
        total = total.plus(each.figures)
    lines = [each.error_lines for each in samples]
    known = [number for number in lines if number is not None]
    return Sample(total, sum(known) if len(known) == len(lines) else None)


@dataclass(slots=True)
class Watch:
    """One comparison.

    :param baseline: a side that runs; or the sample of an earlier time.
    :param checks: commands of the plan; one that fails, fails the canary.
    :param is_over: whether somebody asked to abort; called between two readings.
    :param say: gets a line for each look.
    """

    system: System
    rules: Rules
    canary: Side
    baseline: Side | Sample
    checks: tuple[Command, ...]
    say: Callable[[str], None]
    is_over: Callable[[], bool]
    began: float
    _look: int = 0
    _next_look_at: float = 0.0
    _heard: dict[str, float] = field(default_factory=dict)
    _doubled: bool = False

    def run(self) -> Judgement:
        """Compare until there is a verdict. HOLD: no verdict within ``rules.max_s``, or nothing to compare with."""
        last = Judgement(Verdict.HOLD, ("no look yet",))
        while not self.is_over():
            try:
                for found in self._reading():
                    if found.verdict is not Verdict.HOLD:
                        return found
                    last = found
            except _NothingToCompare as problem:
                return Judgement(Verdict.HOLD, (str(problem),))
            if self._lasted() >= self.rules.max_s:
                reasons = (f"no verdict after {self._lasted():.0f} s", *last.reasons)
                return Judgement(Verdict.HOLD, reasons, last.not_compared)
            self.system.sleep(self.rules.every_s)
        return Judgement(Verdict.HOLD, ("aborted",))

    def _reading(self) -> Iterator[Judgement]:
        """Read once. Yield a judgement if it was time for one."""
        try:
            canary = self.canary.read(self.system)
        except Restarted:
            yield Judgement(Verdict.FAIL, (f"{self.canary.name} has started again",))
            return
        except Silent as problem:
            if self.canary.has_ended(self.system):
                yield Judgement(Verdict.FAIL, (f"{self.canary.name} has ended by itself",))
            elif self._is_silent(self.canary.name):
                yield Judgement(Verdict.FAIL, (f"no reply for {self.rules.silent_s:g} s: {problem}",))
            return
        self._heard[self.canary.name] = self.system.now()
        reason = broken(canary)
        # A response and its outcome are counted one after the other, so an excess counts only if it lasts.
        if reason and (self._doubled or not _may_pass(canary)):
            yield Judgement(Verdict.FAIL, (reason,))
            return
        self._doubled = bool(reason)
        for check in self.checks:
            try:
                self.system.run(check)
            except CommandFailed as problem:
                yield Judgement(Verdict.FAIL, (f"a check failed: {problem}",))
                return
        baseline = self._baseline()
        if baseline is None or reason:
            return
        beside = isinstance(self.baseline, Side)
        # The mean of both, so that a canary which answers nothing is looked at too.
        size = (
            (canary.figures.requests + baseline.figures.requests) / 2 if beside else canary.figures.requests
        )
        first = self.rules.min_requests / 4
        if size < max(first, self._next_look_at) and self._lasted() < self.rules.max_s:
            return
        self._look += 1
        self._next_look_at = max(size, first) * self.rules.growth
        found = judge(self.rules, canary, baseline, look=self._look, lasted_s=self._lasted(), beside=beside)
        self.say(_line(self._look, canary, baseline, found))
        yield found

    def _baseline(self) -> Sample | None:
        """Read the baseline; None if it does not reply.

        :raise _NothingToCompare: it is gone.
        """
        if isinstance(self.baseline, Sample):
            return self.baseline
        try:
            found = self.baseline.read(self.system)
        except Restarted:
            raise _NothingToCompare(f"{self.baseline.name} has started again") from None
        except Silent as problem:
            if self.baseline.has_ended(self.system):
                raise _NothingToCompare(f"{self.baseline.name} has ended by itself") from None
            if self._is_silent(self.baseline.name):
                raise _NothingToCompare(f"no reply for {self.rules.silent_s:g} s: {problem}") from None
            return None
        self._heard[self.baseline.name] = self.system.now()
        return found

    def _is_silent(self, name: str) -> bool:
        return self.system.now() - self._heard.setdefault(name, self.began) >= self.rules.silent_s

    def _lasted(self) -> float:
        return self.system.now() - self.began


class _NothingToCompare(Exception):
    pass


def _may_pass(canary: Sample) -> bool:
    """Whether a reason to fail may be gone at the next reading: it is only an excess of responses to writes."""
    figures = canary.figures
    return not (figures.twice or figures.worker_restarts or figures.records_lost)


def _line(look: int, canary: Sample, baseline: Sample, found: Judgement) -> str:
    ours, theirs = canary.figures, baseline.figures
    what = {
        Verdict.PASS: "as good as the baseline",
        Verdict.FAIL: "worse",
        Verdict.HOLD: "not decided",
    }[found.verdict]
    return (
        f"look {look}: {what}; requests {ours.requests} and {theirs.requests} (baseline), failed {ours.failed} and"
        f" {theirs.failed}, writes {ours.writes} and {theirs.writes}, unknown {ours.unknown} and {theirs.unknown}"
    )
