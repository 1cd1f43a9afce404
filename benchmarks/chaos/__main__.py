"""``python -m benchmarks.chaos``: run every scenario, and print a table for each.

Exit status 1 if a target is missed. README.md beside the load script has the legend.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from .table import Table, show
from .verdict import Verdict, times

SCENARIOS = ("kill", "ambiguous", "keys", "storm", "surge", "outage", "stall", "revocation")
_AT_MOST_S = {True: 700.0, False: 420.0}
"""Seconds that one scenario may take before it is ended and counts as missed. The short form (True) judges no times."""
_ALL_S = 25 * 60.0
"""Seconds that all scenarios may take together."""


async def run(names: Sequence[str], seed: int, *, short: bool, at_once: int, folder: Path) -> list[Table]:
    """Run scenarios, some at a time; print each table as soon as it is complete."""
    myself = asyncio.current_task()
    assert myself is not None
    # If it is ended from outside, it also ends the processes that it has started.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, myself.cancel)
    places, all_until = asyncio.Semaphore(at_once), time.monotonic() + _ALL_S

    async def one(name: str) -> Table:
        async with places:
            began = time.monotonic()
            limit_s = min(_AT_MOST_S[short], max(0.0, all_until - began))
            table = await _bounded(name, folder / name, seed, short, limit_s)
            print(f"{show(table)}\n   ({time.monotonic() - began:.0f} s)\n", flush=True)
            return table

    return list(await asyncio.gather(*map(one, names)))


async def _bounded(name: str, folder: Path, seed: int, short: bool, limit_s: float) -> Table:
    scenario, failed = importlib.import_module(f"{__package__}.{name}"), Table(name)
    try:
        async with asyncio.timeout(limit_s):
            table: Table = await scenario.run(folder, seed, short=short)
            return table
    except TimeoutError:
        failed.want("seconds", f"> {limit_s:.0f}", f"≤ {limit_s:.0f}", False)
    except Exception as problem:
        # Let the others go on: their results are worth having.
        traceback.print_exc()
        failed.want("ran to its end", repr(problem), "yes", False)
    return failed


def together(tables: Sequence[Table], *, whole: bool) -> Table:
    """Sum over all scenarios.

    :param whole: every scenario ran in its long form, so the numbers must be large enough.
    """
    verdict, sums = Verdict(), Table("all together")
    for table in tables:
        verdict = verdict.plus(table.verdict)
    ambiguous = sum(table.ambiguous for table in tables)
    late = [seconds for table in tables for seconds in table.late_s]
    sums.want("writes", verdict.writes, "≥ 2000" if whole else "", not whole or verdict.writes >= 2000)
    sums.want("ambiguous", ambiguous, "≥ 500" if whole else "", not whole or ambiguous >= 500)
    sums.want("late commits", len(late), "≥ 50" if whole else "", not whole or len(late) >= 50)
    right = all(2.0 <= seconds <= 20.5 for seconds in late)
    sums.want("seconds after sending, p50 / p95 / p99 / longest", times(late), "2 to 20", right)
    sums.none("lost, doubled, wrong author, contradicted", verdict.broken)
    return sums


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge."""
    options = _options(arguments)
    names = options.scenario or list(SCENARIOS)
    print(
        f"seed {options.seed}, {'short' if options.short else 'long'} form: {', '.join(names)}\n", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="hospproxy-chaos-") as own:
        folder = options.keep or Path(own)
        work = run(names, options.seed, short=options.short, at_once=options.at_once, folder=folder)
        tables = asyncio.run(work)
    sums = together(tables, whole=not options.short and set(names) == set(SCENARIOS))
    print(show(sums))
    missed = [f"{table.name}: {', '.join(table.missed)}" for table in (*tables, sums) if table.missed]
    print("\n" + ("missed:\n  " + "\n  ".join(missed) if missed else "all targets met"))
    return 1 if missed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this (several times)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of every choice and of HOSP's faults (default 1)"
    )
    parser.add_argument("--short", action="store_true", help="a short form, below 3 minutes")
    parser.add_argument("--at-once", type=int, default=1, help="scenarios at one time (default 1)")
    parser.add_argument("--keep", type=Path, help="a folder to leave logs and state in")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
