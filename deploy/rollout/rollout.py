"""Run a rollout stage by stage. Every stage can be repeated, and rolled back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Protocol

from .figures import Figures, Restarted
from .instances import NotReady, Silent, ensure_started, read, sample, wait_until_ready
from .judgement import Judgement, Sample, Verdict, broken
from .plan import Instance, Plan
from .progress import Journal
from .promotion import Promotion, wait_until_idle
from .smoke import ask
from .splitter import Splitter, SplitterFailed
from .system import CommandFailed, System
from .watch import Side, Watch

_LEAVE_S = 3.0
"""Seconds that a rollback waits for the connections of canary and baseline. They have ``stop_s`` afterwards."""

Tell = Callable[[str, str], None]
"""Gets a stage and a line."""


class Outcome(IntEnum):
    """How a rollout ended; the exit status of the program."""

    PROMOTED = 0
    ROLLED_BACK = 1
    HELD = 2


class StageFailed(Exception):
    """A stage failed; the message says why."""


class Inconclusive(Exception):
    """There was no verdict in the time that the plan gives; the message says what was missing."""


class Aborted(Exception):
    """Somebody asked to abort."""


class Abort(Protocol):
    """Whether somebody asked to abort."""

    @property
    def is_asked(self) -> bool: ...

    def interruptible(self) -> contextlib.AbstractContextManager[None]:
        """Within it, a request to abort raises `Aborted` at once."""


class Rollout:
    """Takes a new version through the stages.

    :param splitter: None: there is no canary; production is replaced, and compared with the time before.
    :param journal: it has begun. Stages that it says are done are left out.
    """

    def __init__(
        self,
        plan: Plan,
        system: System,
        splitter: Splitter | None,
        journal: Journal,
        abort: Abort,
        tell: Tell,
    ) -> None:
        self._plan = plan
        self._system = system
        self._splitter = splitter
        self._journal = journal
        self._abort = abort
        self._tell = tell
        self._production = Promotion(plan, system, splitter, journal, lambda line: tell("production", line))

    def go(self) -> Outcome:
        """Run the remaining stages. Every failure leads to a rollback; nothing is raised."""
        self._system.finish_command(self._plan.production.promote.timeout_s)
        decided = self._journal.last("decided")
        if decided is not None:
            return self._roll_back(decided["why"], Outcome(decided["outcome"]))
        try:
            for stage, run in self._stages():
                if self._journal.has_done(stage):
                    continue
                self._check_abort()
                self._journal.note("begun", stage=stage, at=self._system.wall())
                began = self._system.now()
                run()
                lasted_s = round(self._system.now() - began, 1)
                self._journal.note("done", stage=stage, seconds=lasted_s)
                self._tell(stage, f"done in {lasted_s:.1f} s")
        except Inconclusive as problem:
            return self._roll_back(f"inconclusive: {problem}", Outcome.HELD)
        except Aborted:
            return self._roll_back("aborted", Outcome.ROLLED_BACK)
        except (StageFailed, NotReady, CommandFailed, SplitterFailed, Silent) as problem:
            return self._roll_back(str(problem), Outcome.ROLLED_BACK)
        except Exception as problem:
            return self._roll_back(f"a bug of the rollout: {problem!r}", Outcome.ROLLED_BACK)
        return self._end(Outcome.PROMOTED, f"promoted: {self._plan.new} runs in production")

    def abort(self) -> Outcome:
        """Roll back what a rollout that no longer runs has begun."""
        self._system.finish_command(self._plan.production.promote.timeout_s)
        decided = self._journal.last("decided")
        if decided is not None:
            return self._roll_back(decided["why"], Outcome(decided["outcome"]))
        return self._roll_back("aborted", Outcome.ROLLED_BACK)

    def take_back(self, why: str) -> Outcome:
        """Bring the old version back to every production instance that runs another one, without any stage before."""
        for instance in self._plan.production.instances:
            self._journal.note("replacing", instance=instance.name)
        return self._roll_back(why, Outcome.ROLLED_BACK)

    def _stages(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "production", self._production.check
        if self._plan.test.words:
            yield "test", self._test
        if self._plan.staging is not None:
            yield "smoke", self._smoke
        if self._splitter is not None:
            yield "canary", self._start_canary
            yield "watch", self._watch
            yield "settle", self._settle
            yield "promote", self._promote
        else:
            yield "before", self._before
            yield "promote", self._promote
            yield "after", self._after
        yield "finish", self._finish

    def _test(self) -> None:
        with self._abort.interruptible():
            self._system.run(self._plan.test)

    def _smoke(self) -> None:
        staging = self._plan.staging
        assert staging is not None
        self._up("smoke", staging)
        failed = []
        for request in self._plan.smoke:
            problems = ask(self._system, request)
            failed += [f"{request.name}: {problem}" for problem in problems]
            self._tell("smoke", f"{request.name}: {'; '.join(problems) or 'as expected'}")
        if failed:
            raise StageFailed("; ".join(failed))
        self._stop(staging)

    def _start_canary(self) -> None:
        sides = self._sides()
        for instance in sides:
            self._weigh(instance, 0)
        for instance in sides:
            if ensure_started(self._system, instance):
                self._tell("canary", f"started {instance.name}")
        for instance in sides:
            self._tell("canary", f"{instance.name} is ready: {wait_until_ready(self._system, instance)}")

    def _watch(self) -> None:
        canary, baseline = self._sides()
        begun = self._journal.last("traffic")
        if begun is None:
            # Counted before traffic begins, so that requests of ours do not count for either.
            figures = {each.name: read(self._system, each).to_json() for each in (canary, baseline)}
            self._journal.note("traffic", at=self._system.wall(), figures=figures)
            begun = self._journal.last("traffic")
            assert begun is not None
        for instance in (baseline, canary):
            self._weigh(instance, instance.weight)
            self._tell(
                "watch", f"{instance.name} gets {self._plan.split.percent:g} % (weight {instance.weight})"
            )
        before = {name: Figures.from_json(values) for name, values in begun["figures"].items()}
        self._judged(
            "watch",
            Side(canary.name, (canary,), (before[canary.name],)),
            Side(baseline.name, (baseline,), (before[baseline.name],)),
            began=self._system.now() - max(0.0, self._system.wall() - begun["at"]),
        )

    def _judged(self, stage: str, canary: Side, baseline: Side | Sample, began: float) -> None:
        """Compare until there is a verdict.

        :raise StageFailed: the canary is worse.
        :raise Inconclusive: it is not known.
        """
        watch = Watch(
            self._system,
            self._plan.rules,
            canary,
            baseline,
            self._plan.checks,
            lambda line: self._tell(stage, line),
            lambda: self._abort.is_asked,
            began,
        )
        found = watch.run()
        self._check_abort()
        self._journal.note("verdict", verdict=found.verdict.value, reasons=found.reasons)
        self._say_verdict(stage, found)
        if found.verdict is Verdict.FAIL:
            raise StageFailed("; ".join(found.reasons))
        if found.verdict is Verdict.HOLD:
            raise Inconclusive("; ".join(found.reasons))

    def _say_verdict(self, stage: str, found: Judgement) -> None:
        for line in found.not_compared:
            self._tell(stage, f"not compared: {line}")
        self._tell(stage, f"verdict: {found.verdict.value}" + "".join(f"; {line}" for line in found.reasons))

    def _settle(self) -> None:
        """Take canary and baseline out, let the canary finish, and count its writes while nothing is in flight."""
        canary, baseline = self._sides()
        for instance in (canary, baseline):
            self._weigh(instance, 0)
        for instance in (canary, baseline):
            self._idle(instance)
        self._check_counted(canary)
        self._stop(baseline)
        # It takes its share again, so that a production instance can be missed while it is replaced.
        self._weigh(canary, canary.weight)

    def _check_counted(self, canary: Instance) -> None:
        begun = self._journal.last("traffic")
        assert begun is not None
        try:
            found = sample(self._system, canary, Figures.from_json(begun["figures"][canary.name]))
        except Restarted:
            raise StageFailed("the canary has started again") from None
        reason = broken(found)
        if reason:
            raise StageFailed(reason)

    def _before(self) -> None:
        """Count what production does with the old version, to compare it with the new one."""
        self._tell(
            "before",
            "without a splitter there is no canary: the new version is compared with the time before it. Changes of"
            " traffic, of HOSP and of the cache (empty after a start) look like changes of the version",
        )
        instances = self._plan.production.instances
        first = [read(self._system, each) for each in instances]
        latest = self._system.now() + self._plan.production.before_s
        while self._system.now() < latest:
            self._check_abort()
            self._system.sleep(min(self._plan.rules.every_s, max(0.0, latest - self._system.now())))
        try:
            grown = [sample(self._system, each, one) for each, one in zip(instances, first, strict=True)]
        except Restarted:
            raise StageFailed("production has started again while it was counted") from None
        total = grown[0].figures
        for each in grown[1:]:
            total = total.plus(each.figures)
        self._journal.note("before", figures=total.to_json())
        self._tell("before", f"requests {total.requests}, failed {total.failed}, writes {total.writes}")

    def _after(self) -> None:
        counted = self._journal.last("before")
        assert counted is not None
        begun = self._journal.last("traffic")
        instances = self._plan.production.instances
        if begun is None:
            figures = {each.name: read(self._system, each).to_json() for each in instances}
            self._journal.note("traffic", at=self._system.wall(), figures=figures)
            begun = self._journal.last("traffic")
            assert begun is not None
        before = tuple(Figures.from_json(begun["figures"][each.name]) for each in instances)
        self._judged(
            "after",
            Side("production", instances, before),
            Sample(Figures.from_json(counted["figures"])),
            began=self._system.now() - max(0.0, self._system.wall() - begun["at"]),
        )

    def _promote(self) -> None:
        self._production.promote()

    def _finish(self) -> None:
        canary = self._plan.canary
        if canary is None:
            return
        self._weigh(canary, 0)
        if self._system.find(canary.name) is not None or not canary.start:
            self._idle(canary)
            self._check_counted(canary)
            self._stop(canary)

    def _roll_back(self, why: str, outcome: Outcome) -> Outcome:
        if self._journal.last("decided") is None:
            self._journal.note("decided", why=why, outcome=int(outcome))
        self._tell("rollback", why)
        problems = []
        for instance in (self._plan.canary, self._plan.baseline):
            if instance is not None:
                try:
                    self._weigh(instance, 0)
                except SplitterFailed as problem:
                    problems.append(str(problem))
        problems += self._production.restore()
        for instance in (self._plan.canary, self._plan.baseline, self._plan.staging):
            if instance is not None:
                self._leave(instance)
        if problems:
            # Not "end": the rollout can be continued once the cause is mended.
            for each in problems:
                self._tell("rollback", f"NOT DONE: {each}")
            self._tell("result", "held: the rollback is not complete. Mend the cause, then: rollout abort")
            return Outcome.HELD
        words = "rolled back" if outcome is Outcome.ROLLED_BACK else "held, then rolled back"
        return self._end(outcome, f"{words}: {why}")

    def _end(self, outcome: Outcome, words: str) -> Outcome:
        self._journal.note("end", outcome=int(outcome), words=words)
        self._tell("result", words)
        return outcome

    def _sides(self) -> tuple[Instance, Instance]:
        assert self._plan.canary is not None
        assert self._plan.baseline is not None
        return self._plan.canary, self._plan.baseline

    def _up(self, stage: str, instance: Instance) -> None:
        if ensure_started(self._system, instance):
            self._tell(stage, f"started {instance.name}")
        self._tell(stage, f"{instance.name} is ready: {wait_until_ready(self._system, instance)}")

    def _weigh(self, instance: Instance, weight: int) -> None:
        if self._splitter is not None:
            self._splitter.weigh(instance.server, weight)

    def _idle(self, instance: Instance) -> None:
        assert self._splitter is not None
        wait_until_idle(self._system, self._splitter, instance.server, self._plan.production.drain_s)

    def _leave(self, instance: Instance) -> None:
        """Stop an instance; give a connection that has just been opened the time to send its request."""
        if self._splitter is not None and instance.server and self._system.find(instance.name) is not None:
            with contextlib.suppress(SplitterFailed):
                drain_s = min(_LEAVE_S, self._plan.production.drain_s)
                wait_until_idle(self._system, self._splitter, instance.server, drain_s)
        self._stop(instance)

    def _stop(self, instance: Instance) -> None:
        if instance.start and not self._system.stop(instance.name, instance.stop_s):
            self._tell("stop", f"{instance.name} did not end within {instance.stop_s:g} s and was killed")

    def _check_abort(self) -> None:
        if self._abort.is_asked:
            raise Aborted
