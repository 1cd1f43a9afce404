"""``python -m benchmarks.peers``: measure hospproxy beside proxies that do a part of what it does.

Each trial's results are kept in a file, so that trials can be repeated one by one; the tables are made from that file.
Nothing is judged. README.md in the parent folder says what is measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from . import growth
from .results import FILE, keep, kept
from .setups import PEERS, PLACES, ROOT
from .tables import inserted, page
from .trials import TRIALS, Effort, Found, say
from .waiting_requests import waiting

ALL: dict[str, Callable[[Effort], Found]] = {
    **TRIALS,
    "waiting": waiting,
    "grow-connections": growth.connections,
    "grow-entries": growth.entries,
    "grow-accounts": growth.accounts,
    "grow-records": growth.records,
}
_SHORT = ("tls-hit", "pass", "miss")
_SHORT_PEERS = ("hospproxy", "nginx", "aiohttp", "twisted.web", "Flask + Redis")


def versions() -> str:
    """Versions of what is compared, in one line."""
    found = []
    for command in (["/usr/sbin/nginx", "-v"], ["/usr/sbin/haproxy", "-v"], ["/usr/sbin/varnishd", "-V"]):
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        version = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
        found.append(f"{Path(command[0]).name} {version[0] if version else '?'}")
    names = "mitmproxy aiohttp twisted flask gunicorn redis"
    script = f"import importlib.metadata as m; print(', '.join(f'{{n}} {{m.version(n)}}' for n in {names.split()}))"
    told = subprocess.run([str(PEERS / "python"), "-c", script], capture_output=True, text=True, check=True)
    found.append(told.stdout.strip())
    return ", ".join(found)


def machine(shared: bool) -> str:
    """What the figures were taken on."""
    twisted = importlib.metadata.version("twisted")
    return (
        f"{os.cpu_count()} cores{', used by many other jobs too' if shared else ''}; Python"
        f" {platform.python_version()}, Twisted {twisted}. Peers: {versions()}."
    )


def main(arguments: Sequence[str]) -> int:
    """Run the trials, keep what they found, print and perhaps write the tables."""
    # Blocks end on SIGTERM too, and with them the processes that they run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options(arguments)
    if not options.no_run:
        say(machine(options.shared))
        for name in options.trials:
            say(f"{name}: {(ALL[name].__doc__ or '').strip()}")
            with tempfile.TemporaryDirectory(prefix="hospproxy-bench-", dir=options.folder) as folder:
                effort = Effort(
                    Path(folder), options.rounds, options.seconds, options.connections, options.paced,
                    options.waiting, tuple(options.peers),
                )  # fmt: skip
                found = ALL[name](effort)
            keep(options.results, name, options.rounds, _unit(name, effort), found, machine(options.shared))
    everything = kept(options.results)
    made = page(everything["machine"], everything["trials"])
    print(made)
    if options.write:
        options.write.write_text(inserted(options.write.read_text(), made))
    return 0


def _unit(name: str, effort: Effort) -> str:
    """One round of a trial, for the line below its table."""
    return {
        "miss": f"{effort.paced:,} requests for each",
        "waiting": f"{effort.waiting:,} requests for each",
        "start": "one start for each",
    }.get(name, f"{effort.seconds:g} s for each")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one run (default 5)")
    parser.add_argument("--connections", type=int, default=64, help="of wrk (default 64)")
    parser.add_argument("--paced", type=int, default=2000, help="misses of one run (default 2000)")
    parser.add_argument("--waiting", type=int, default=9900, help="waiting requests (default 9900)")
    parser.add_argument("--trials", nargs="+", default=list(ALL), choices=list(ALL), help="default: all")
    parser.add_argument("--peers", nargs="+", default=[], choices=list(PLACES), help="default: all")
    parser.add_argument("--results", type=Path, default=FILE, help="what was found so far")
    parser.add_argument("--write", type=Path, help="a page whose tables are replaced")
    parser.add_argument("--no-run", action="store_true", help="only make the tables from the results")
    parser.add_argument("--shared", action="store_true", help="say that other jobs used the machine too")
    parser.add_argument("--folder", type=Path, help="where the peers' folders go (default: the system's)")
    parser.add_argument(
        "--short", action="store_true", help="a short form, below two minutes; keeps no results"
    )
    options = parser.parse_args(arguments)
    if options.short:
        options.rounds, options.seconds, options.paced = 1, 1.0, 100
        options.trials, options.peers = list(_SHORT), list(_SHORT_PEERS)
        options.results = ROOT / "build" / "bench-short.json"
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
