"""``python -m benchmarks.bench_workers``: measure the cost of two workers with a Redis, compared with one process.

It measures cache hits over HTTPS from one process, from one with a Redis, and from a supervisor with two workers. All
run side by side and are loaded in turn (A B C C B A …), so that other load on the machine affects each of them. The
result is judged by processor time for one request, summed over all processes of a proxy. Exit status 1 if two workers
take more than 1.10 times that of one process. README.md has the legend.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from .audit_cost.__main__ import Measured, loaded, processor_s, ratios, requests
from .machines.redis_server import Store
from .machines.site import descendants
from .processes import Proxy, Standin, proxy, standin

MOST = 1.10
_LASTING = """[cache.lifetimes]
listHospitals = 86400
listPatients = 86400
getHospital = 86400
getMe = 86400
"""
MODES: Mapping[str, tuple[int, bool]] = {"one": (1, False), "one, Redis": (1, True), "two, Redis": (2, True)}
"""Number of workers, and whether there is a Redis."""
_WARM_S = 40.0
_WARM_REQUESTS = 5


def processors_s(pid: int) -> float:
    """Processor seconds that a process and its descendants have used."""
    spent = 0.0
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(OSError):  # just ended
            spent += processor_s(each)
    return spent


@contextlib.contextmanager
def places(folder: Path) -> Iterator[tuple[Standin, dict[str, Proxy]]]:
    """Run a stand-in, a Redis, and one proxy for each mode."""
    with contextlib.ExitStack() as stack:
        hosp = stack.enter_context(standin(folder, ["--delay", "none", "--places", "0"]))
        store = Store()
        stack.callback(store.end)
        asyncio.run(store.start())
        targets = {}
        for number, (mode, (workers, shared)) in enumerate(MODES.items()):
            inner = folder / f"mode{number}"
            inner.mkdir()
            redis = store.section(f'prefix = "mode{number}"') if shared else ""
            options = f"workers = {workers}\n{redis}{_LASTING}"
            targets[mode] = stack.enter_context(proxy(inner, hosp.url, options))
        yield hosp, targets


def warm(hosp: Standin, target: Proxy, given: Mapping[str, object], loaders: int) -> None:
    """Load one proxy until it serves from its cache.

    :raise AssertionError: it does not start to.
    """
    latest = time.monotonic() + _WARM_S
    while True:
        before = _reached(hosp)
        loaded(target, {**given, "seconds": 1.0}, loaders)
        if _reached(hosp) - before <= _WARM_REQUESTS:
            return
        assert time.monotonic() < latest, "it asks HOSP again and again"


def _reached(hosp: Standin) -> int:
    return int(hosp.read("/stats")["requests"])


def measure(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Measured], int]:
    """Load each proxy in turn, forwards and backwards.

    :return: the runs, and how many requests HOSP got meanwhile.
    """
    given = {"requests": requests(), "connections": options.connections // options.loaders}
    found = {mode: Measured() for mode in MODES}
    with places(folder) as (hosp, targets):
        for target in targets.values():
            warm(hosp, target, given, options.loaders)
        before = _reached(hosp)
        for turn in range(options.rounds):
            for mode in list(MODES) if turn % 2 == 0 else reversed(list(MODES)):
                run = loaded(
                    targets[mode], {**given, "seconds": options.seconds}, options.loaders, processors_s
                )
                found[mode].runs.append(run)
                print(f"  {mode:12}{run.rate:8,.0f}/s {run.processor_s * 1e6:6.0f} µs", file=sys.stderr)
        return found, _reached(hosp) - before


def table(found: Mapping[str, Measured]) -> list[str]:
    """One line for each mode; ratios are between runs of the same round."""
    lines = ["workers      answers/s   p50 ms   p99 ms   µs a request      times one process"]
    for mode, measured in found.items():
        costs = ratios(found["one"], measured, "processor_s")
        lines.append(
            f"{mode:<10}{measured.middle('rate'):>12,.0f}{measured.middle('quantile_ms', 0.5):>9.2f}"
            f"{measured.middle('quantile_ms', 0.99):>9.2f}{measured.middle('processor_s') * 1e6:>15.0f}"
            + ("" if mode == "one" else f"{median(costs):>13.2f} ({costs[0]:.2f}-{costs[-1]:.2f})")
        )
    return lines


def main(arguments: Sequence[str]) -> int:
    """Measure, print, judge."""
    options = _options(arguments)
    print(
        f"{options.connections} connections, {options.loaders} load process(es), {options.rounds} rounds of"
        f" {options.seconds:g} s, {os.cpu_count()} processors, Python {platform.python_version()}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="hospproxy-bench-workers-", dir=options.folder) as folder:
        found, reached = measure(options, Path(folder))
    print("\n".join(table(found)))
    print(f"requests that reached HOSP while it was measured: {reached}")
    ratio = median(ratios(found["one"], found["two, Redis"], "processor_s"))
    met = ratio <= MOST
    print(
        f"two workers take {ratio:.2f} times the processor of one; at most {MOST:.2f} is wanted"
        + ("" if met else "; MISSED")
    )
    return 0 if met or options.only_tell else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="runs of each (default 8)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one run (default 5)")
    parser.add_argument(
        "--connections", type=int, default=192, help="in all (default 192: more than one process can serve)"
    )
    parser.add_argument("--loaders", type=int, default=1, help="processes that make the load (default 1)")
    parser.add_argument("--folder", type=Path, help="where the state folders go (default: the system's)")
    parser.add_argument("--only-tell", action="store_true", help="exit with 0 whatever was measured")
    parser.add_argument("--short", action="store_true", help="a short form, below half a minute")
    options = parser.parse_args(arguments)
    if options.short:
        options.rounds, options.seconds = 2, 1.5
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
