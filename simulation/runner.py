"""Runs worlds: one in this process, or many, each in a forked child so that it cannot disturb the next."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from .checker import Violation, check
from .faults import Plan
from .history import Asked, History, Told, Trouble

MOST_CPU_S = 600
"""Seconds of the processor after which the kernel ends a world: it loops for ever."""
LONGEST_S = 7200.0
"""Real seconds after which a world counts as hung, on a machine that is busy with other things."""
EMPTY: Mapping[str, str] = {}


@frozen
class Result:
    """Result of one world.

    :param plan: as it was run.
    :param met: HOSP's faults, by the content of the request; with them in place of rates the world runs the same.
    :param digest: of every event and byte.
    :param failure: why the world could not be run to its end; empty if it could.
    """

    plan: Plan
    violations: tuple[Violation, ...] = ()
    met: Mapping[str, str] = field(factory=dict)
    digest: str = ""
    seconds: float = 0.0
    operations: int = 0
    answers: int = 0
    faults: Mapping[str, int] = field(factory=dict)
    failure: str = ""
    took_s: float = 0.0

    @property
    def rules(self) -> frozenset[str]:
        """Rules that were broken."""
        return frozenset(violation.rule for violation in self.violations)

    @property
    def fixed(self) -> Plan:
        """The plan with the faults that were met, by name, in place of rates."""
        return evolve(self.plan, hosp=evolve(self.plan.hosp, rates={}, named=dict(self.met)))


def run_here(plan: Plan, folder: Path) -> tuple[Result, History]:
    """Run a world in this process. Run only one in a process: its leftovers would disturb the next."""
    # Not earlier: a mutant's import hook must be in place when the proxy is imported.
    from .kernel import Simulation
    from .world import World

    began = time.monotonic()
    simulation = Simulation(plan.seed, folder)
    world = World(plan, simulation)
    history = world.run()
    result = Result(
        plan,
        tuple(check(history)),
        dict(world.hosp.behaviour.met),
        simulation.digest(),
        simulation.seconds(),
        sum(1 for _ in history.of(Asked)),
        sum(1 for _ in history.of(Told)),
        Counter([trouble.kind for trouble in history.of(Trouble)] + list(world.hosp.behaviour.met.values())),
        took_s=time.monotonic() - began,
    )
    return result, history


class Child:
    """A forked process that runs one world and writes its result to a file.

    :param keep: where to write the history, if it is wanted.
    """

    def __init__(self, plan: Plan, keep: Path | None = None) -> None:
        self.plan = plan
        self._began = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=_memory_disk()))
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._work(keep)

    def _work(self, keep: Path | None) -> None:
        from .kernel.death import be_quiet

        be_quiet()
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
        try:
            try:
                result, history = run_here(self.plan, self._folder / "world")
                if keep is not None:
                    history.write(keep)
            except BaseException:
                result = Result(self.plan, failure=traceback.format_exc())
            (self._folder / "result").write_bytes(pickle.dumps(result))
        finally:
            os._exit(0)

    def poll(self) -> Result | None:
        """The result, once it exists."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if done == 0:
            if time.monotonic() - self._began < LONGEST_S:
                return None
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        kept = self._folder / "result"
        try:
            if not kept.exists():
                return Result(
                    self.plan, failure=f"the process ended (status {status}) without a result, or hung"
                )
            result: Result = pickle.loads(kept.read_bytes())
            return result
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def run(plan: Plan, keep: Path | None = None) -> Result:
    """Run one world in a child and wait for it."""
    return next(iter(run_all([plan], 1, keep)))


def run_all(
    plans: Iterable[Plan], jobs: int = 1, keep: Path | None = None, enough: Callable[[], bool] = lambda: False
) -> Iterator[Result]:
    """Run worlds, some at a time; yield each result when it is complete.

    :param enough: asked before each new world; once it is true, no more start.
    """
    waiting = iter(plans)
    going: list[Child] = []
    more = True
    while more or going:
        while more and len(going) < jobs:
            plan = None if enough() else next(waiting, None)
            more = plan is not None
            if plan is not None:
                going.append(Child(plan, keep))
        results = [(child, child.poll()) for child in going]
        over = [(child, result) for child, result in results if result is not None]
        going = [child for child, result in results if result is None]
        for _, result in over:
            yield result
        if not over and going:
            time.sleep(0.02)


def prepare() -> None:
    """Import everything that worlds need, before the first child is forked."""
    from . import world  # noqa: F401 - with it comes all the rest
    from .kernel import contract_of

    contract_of()


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def summary(results: Iterable[Result]) -> dict[str, Any]:
    """Totals over many worlds."""
    seen = list(results)
    faults: Counter[str] = Counter()
    for result in seen:
        faults.update(result.faults)
    return {
        "seeds": len(seen),
        "hours": sum(result.seconds for result in seen) / 3600,
        "operations": sum(result.operations for result in seen),
        "answers": sum(result.answers for result in seen),
        "violating": sum(1 for result in seen if result.violations),
        "failed": sum(1 for result in seen if result.failure),
        "faults": dict(sorted(faults.items())),
        "rules": dict(Counter(rule for result in seen for rule in result.rules)),
    }
