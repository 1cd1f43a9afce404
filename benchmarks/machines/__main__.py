"""``python -m benchmarks.machines``: kill workers and whole machines with ``kill -9`` while clients write.

Exit status 1 if a note was lost or stored twice. README.md in the parent folder has the legend.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..chaos.table import Table, show
from . import kill
from .site import Plan

_QUICK = "heartbeat_s = 0.2\nlease_s = 1.0\ntimeout_s = 0.3\nsettle_s = 1.0"
_AT_MOST_S = 1200.0


async def _bounded(folder: Path, options: argparse.Namespace) -> Table:
    plan = Plan(
        machines=options.machines,
        workers=options.workers,
        shared=options.shared,
        concurrency=5,
        leases=_QUICK if options.short else "",
        options="[writes]\nlate_commit_s = 5\n" if options.short else "",
    )
    async with asyncio.timeout(_AT_MOST_S):
        late_s = 4.0 if options.short else 20.0
        return await kill.run(
            folder, options.seed, plan, kills=options.kills, pairs=options.pairs, late_s=late_s
        )


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge."""
    options = _options(arguments)
    print(f"seed {options.seed}: {options.machines} machines of {options.workers} workers", flush=True)
    with tempfile.TemporaryDirectory(prefix="hospproxy-machines-") as own:
        table = asyncio.run(_bounded(options.keep or Path(own), options))
    print(show(table))
    return 1 if table.missed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.machines", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=1, help="of every choice (default 1)")
    add("--kills", type=int, default=50, help="every third one of a whole machine (default 50)")
    add("--pairs", type=int, default=100, help="of twins (default 100)")
    add("--machines", type=int, default=2)
    add("--workers", type=int, default=2, help="of each machine (default 2)")
    add("--alone", dest="shared", action="store_false", help="without Redis")
    add("--short", action="store_true", help="5 kills, 20 pairs, quick leases")
    add("--keep", type=Path, help="a folder to leave logs and state in")
    options = parser.parse_args(arguments)
    if options.short:
        options.kills, options.pairs = min(options.kills, 5), min(options.pairs, 20)
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
