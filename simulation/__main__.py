"""``python -m simulation``: run worlds, one for each seed, and report which promises were broken."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .faults import SHAPES, Plan, draw
from .mutants import MUTANTS, plant
from .scenes import SCENES, scene_of


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="so many worlds")
    parser.add_argument("--minutes", type=float, help="worlds for so long")
    parser.add_argument("--seed", type=int, help="the first seed (default: drawn, and printed)")
    parser.add_argument("--jobs", type=int, default=2, help="worlds at one time")
    parser.add_argument("--shape", choices=SHAPES, help="of all worlds (default: by seed)")
    parser.add_argument("--busy", type=float, default=240.0, help="seconds in which people begin errands")
    parser.add_argument("--habits", default="", help="the only habits, by commas")
    parser.add_argument("--scene", choices=SCENES, help="worlds of this scene")
    parser.add_argument("--plan", type=Path, help="run this plan or story, and tell what it breaks")
    parser.add_argument("--shrink", action="store_true", help="shrink each plan that breaks a rule")
    parser.add_argument("--keep", type=Path, help="a folder for plans and stories of violations")
    parser.add_argument("--mutant", help="with this defect planted")
    parser.add_argument(
        "--mutants", action="store_true", help="plant each mutant in turn and print the table"
    )
    parser.add_argument("--only-rule", help="count only this rule, or family of rules, as broken")
    return parser.parse_args(given)


def plans(options: argparse.Namespace, first: int) -> Iterator[Plan]:
    """Plans by rising seed, without end or as many as requested."""
    habits = tuple(name for name in options.habits.split(",") if name)
    numbers = itertools.count(first) if options.seeds is None else range(first, first + options.seeds)
    for seed in numbers:
        if options.scene:
            yield scene_of(options.scene, seed, options.shape or "one")
            continue
        yield draw(seed, options.shape, options.busy, habits)


def main() -> int:
    """Run the command; the exit status is 1 if a promise was broken."""
    options = arguments()
    if options.mutants:
        from .mutants.table import table

        return table(options)
    if options.mutant:
        plant(MUTANTS[options.mutant])
    # Import anything that imports the proxy only after the mutant is planted.
    from . import runner

    runner.prepare()
    if options.plan:
        return _one(options)
    if options.minutes is None and options.seeds is None:
        options.minutes = 60.0
    return _many(options)


def _one(options: argparse.Namespace) -> int:
    from . import runner
    from .history import History
    from .story import tell

    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        result = runner.run(Plan.read(options.plan), Path(file.name))
        if result.failure:
            print(result.failure)
            return 2
        history = History.read(Path(file.name))
    for violation in result.violations:
        if not options.only_rule or violation.rule.startswith(options.only_rule):
            print(tell(history, violation), "\n")
    print(f"{len(result.violations)} violations; digest {result.digest}")
    if options.shrink and result.violations:
        from .report import shrunk

        shrunk(result, options)
    return 1 if result.violations else 0


def _many(options: argparse.Namespace) -> int:
    from . import runner
    from .report import Report

    first = options.seed if options.seed is not None else int(time.time()) % 1_000_000
    until = None if options.minutes is None else time.monotonic() + options.minutes * 60
    print(f"seeds from {first}; repeat one with: python -m simulation --seed N --seeds 1", flush=True)
    report = Report(options)
    for result in runner.run_all(
        plans(options, first), options.jobs, enough=lambda: until is not None and time.monotonic() > until
    ):
        report.add(result)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
