"""``python -m benchmarks.consistency``: two machines, two workers each, one Redis, and a hundred thousand operations.

No read that is not marked as stale may show a version older than the newest write that got its response before the
read was sent, even while Redis, workers and machines fail. Exit status 1 if one does. README.md in the
parent folder has the legend.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..chaos.table import Table, show
from ..machines.site import Plan, Town, town
from .checker import Seen
from .clients import READERS, Reader, World, read_on, revoke_on, until_over, write_on
from .faults import KINDS, OF_WORKERS, Faults

_QUICK = "heartbeat_s = 0.2\nlease_s = 1.0\ntimeout_s = 0.3\nsettle_s = 1.0"
# Thousands of log-ins come from one address here, and every password that ends is a wrong one afterwards.
_OPTIONS = "[admission]\naddress_free = 100000\naddress_rate = 0\n"


async def run(folder: Path, options: argparse.Namespace) -> tuple[Table, list[str]]:
    """Build everything, run it, and count.

    :return: the results, and examples of violations.
    """
    plan = Plan(
        machines=options.machines,
        workers=options.workers,
        shared=options.shared,
        concurrency=options.concurrency,
        leases=_QUICK if options.short else "",
        options=_OPTIONS,
    )
    myself = asyncio.current_task()
    assert myself is not None
    # If it is ended from outside, it also ends the processes that it has started.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, myself.cancel)
    hosp = ("--delay", options.delay, "--places", "0", "--seed", str(options.seed))
    async with town(
        folder, plan, *hosp, *(("--faults", options.hosp_faults) if options.hosp_faults else ())
    ) as place:
        world = World(place, random.Random(f"{options.seed} people"), options.records, options.operations)
        faults = Faults(
            world,
            random.Random(f"{options.seed} faults"),
            tuple(options.fault),
            *(((0.5, 2.0), (0.5, 3.0)) if options.short else ()),
        )
        took = await _go(world, faults, options)
        return await _tell(world, faults, options, took, place), world.seen.examples


async def _go(world: World, faults: Faults, options: argparse.Namespace) -> float:
    readers = [
        Reader(
            world.town.machines[number % len(world.town.machines)],
            READERS[number % len(READERS)],
            number % 4 != 0,
        )
        for number in range(options.readers)
    ]

    def stop() -> bool:
        if options.expect_stale:
            return not _not_found(world.seen)  # every kind of violation was found
        return bool(world.seen.operations >= options.operations and faults.rounds >= options.rounds)

    return await until_over(
        world,
        options.seconds,
        *(write_on(world, options.writers / options.writes_a_second) for _ in range(options.writers)),
        *(read_on(world, reader) for reader in readers),
        revoke_on(world, 1.0),
        faults.go_on(),
        stop=stop,
    )


async def _tell(world: World, faults: Faults, options: argparse.Namespace, took: float, place: Town) -> Table:
    table, seen = Table("consistency"), world.seen
    enough = seen.operations >= options.operations or options.expect_stale
    table.want("operations", seen.operations, f"≥ {options.operations}", enough)
    table.tell("seconds, operations a second", f"{took:.0f}, {seen.operations / took:.0f}")
    table.tell("reads, writes, writes answered with success", f"{seen.reads}, {seen.writes}, {seen.written}")
    table.tell("reads from memory", f"{seen.hits} ({seen.hits / max(1, seen.reads):.0%})")
    for worker, (reads, hits) in sorted(_largest(seen.by_worker)):
        table.tell(f"  {worker}: reads, from memory", f"{reads}, {hits / reads:.0%}")
    said = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.done.items())) or "none"
    enough_faults = faults.rounds >= options.rounds or not faults.kinds
    table.want("what went wrong meanwhile", said, f"each {options.rounds} times", enough_faults)
    table.tell("marked as stale", _words(seen.marked))
    table.tell("  showing something older", _words(seen.marked_older))
    table.tell("refused (503 with Retry-After)", _words(seen.refusals))
    killed = {"worker-killed", "machine-killed"} & set(faults.done)
    table.want(
        "without an answer", _words(seen.broken), "" if killed else "0", bool(killed) or not seen.broken
    )
    failing = bool(options.hosp_faults)
    table.want("other failures", _words(seen.errors), "" if failing else "0", failing or not seen.errors)
    table.tell("passwords that ended, tries with the old and new ones", f"{world.revoked}, {world.knocks}")
    stats = await place.hosp.read("/stats")
    most = int(stats["max_working"])
    table.want("most requests at HOSP at one time", most, f"≤ {options.concurrency}", _within(most, options))
    wrong = sum(seen.wrong.values())
    if options.expect_stale:
        table.want("violations", _words(seen.wrong), "each kind", not _not_found(seen))
    else:
        table.want("violations", _words(seen.wrong), "0", wrong == 0)
    return table


def _not_found(seen: Seen) -> set[str]:
    """Violations that the trial must find if nothing is shared, and has not found yet."""
    return {"old", "missing", "revoked"} - set(seen.wrong)


def _within(most: int, options: argparse.Namespace) -> bool:
    return most <= options.concurrency or not options.shared


def _largest(by_worker: dict[str, list[int]]) -> list[tuple[str, list[int]]]:
    """The workers with the most responses; workers are replaced during the run."""
    return sorted(by_worker.items(), key=lambda item: -item[1][0])[:12]


def _words(counts: Counter[str]) -> str:
    return "; ".join(f"{name} × {count}" for name, count in counts.most_common(8) if count) or "0"


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge."""
    options = _options(arguments)
    shared = "one Redis" if options.shared else "no Redis"
    print(
        f"seed {options.seed}: {options.machines} machines of {options.workers} workers, {shared}", flush=True
    )
    print(f"HOSP: {options.delay}, faults: {options.hosp_faults or 'none'}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hospproxy-consistency-") as own:
        table, examples = asyncio.run(run(options.keep or Path(own), options))
    print(show(table))
    print("\n".join(examples))
    return 1 if table.missed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.consistency", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=1, help="of every choice (default 1)")
    add("--operations", type=int, default=100_000, help="reads and writes together (default 100,000)")
    add("--seconds", type=float, default=1200.0, help="the most that it takes (default 1200)")
    add("--machines", type=int, default=2)
    add("--workers", type=int, default=2, help="of each machine (default 2)")
    add("--alone", dest="shared", action="store_false", help="without Redis, and so without its faults")
    add("--concurrency", type=int, default=8, help="requests that HOSP gets at one time (default 8)")
    add("--delay", default="uniform:0.002:0.02", help="HOSP's answer times (default uniform:0.002:0.02)")
    add("--hosp-faults", default="", help="HOSP's faults, as the stand-in's --faults (default none)")
    add("--records", type=int, default=12, help="notes that are alive at one time (default 12)")
    add("--readers", type=int, default=16)
    add("--writers", type=int, default=4)
    add("--writes-a-second", type=float, default=16.0, help="by all writers (default 16)")
    add("--fault", action="append", choices=(*KINDS, "none"), help="only this (several times)")
    add("--rounds", type=int, default=3, help="each of them at least so often (default 3)")
    add(
        "--expect-stale",
        action="store_true",
        help="two proxies on one HOSP that share nothing: the trial must find it",
    )
    add("--short", action="store_true", help="a short form: 2,000 operations, quick leases")
    add("--keep", type=Path, help="a folder to leave logs and state in")
    return _completed(parser.parse_args(arguments))


def _completed(options: argparse.Namespace) -> argparse.Namespace:
    """Fill in options that follow from others."""
    if options.short:
        options.operations, options.rounds = min(options.operations, 2000), 1
        options.seconds = min(options.seconds, 120.0)
    if options.expect_stale:
        options.shared, options.workers = False, 1
    if options.fault is None:
        options.fault = list(KINDS) if options.shared else []
        if options.workers == 1:
            options.fault = [kind for kind in options.fault if kind not in OF_WORKERS]
    options.fault = [kind for kind in options.fault if kind != "none"]
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
