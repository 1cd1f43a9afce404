"""``python -m benchmarks.load``: send one plan of requests directly to HOSP and through the proxy, and compare.

Exit status 1 if a target is missed. README.md has the legend of the table.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hosp_standin.service import load_seed

from .load_clients import drive
from .outcome_counts import Counts, count
from .plan import Planned, make_plan, world_of
from .processes import Proxy, Standin, proxy, standin

_SETTLE_S = 120.0
_SHORT = (150, 32)

HOSP = (
    *("--delay", "lognormal:4.4", "--time-scale", "0.09", "--places", "5"),
    *("--faults", "error_before=0.015,error_after=0.015"),
)
"""Mean 0.4 s, five slots; 3 % of requests fail with a 500, half of them after the write was stored."""

Row = tuple[str, str, str, str, bool]
"""Name, through the proxy, directly to HOSP, target, met."""


def straight(plan: Sequence[Planned], clients: int, seed: int, folder: Path) -> Counts:
    """Send the plan directly to a fresh HOSP."""
    with standin(folder, [*HOSP, "--seed", str(seed)]) as hosp:
        told, seconds = asyncio.run(drive(hosp.url, plan, clients))
        return count(told, stored_notes(hosp), upstream_requests(hosp), seconds)


def through_proxy(plan: Sequence[Planned], clients: int, seed: int, folder: Path) -> Counts:
    """Send the plan through the proxy to a fresh HOSP."""
    with standin(folder, [*HOSP, "--seed", str(seed)]) as hosp, proxy(folder, hosp.url) as target:
        told, seconds = asyncio.run(drive(target.url, plan, clients, target.certificate))
        settle(target)
        return count(told, stored_notes(hosp), upstream_requests(hosp), seconds)


def settle(target: Proxy) -> None:
    """Wait, for a bounded time, until every screening result is stored as a note."""
    deadline = time.monotonic() + _SETTLE_S
    while target.metric("hospproxy_screening_pending") and time.monotonic() < deadline:
        time.sleep(0.25)


def stored_notes(hosp: Standin) -> list[dict[str, object]]:
    """Every note that HOSP stored, from its journal."""
    journal = hosp.read("/journal?kind=stored&resource=notes")
    if journal["dropped"]:
        raise RuntimeError("the journal of the stand-in is not whole")
    return [entry["fields"] for entry in journal["entries"]]


def upstream_requests(hosp: Standin) -> int:
    """Number of requests that HOSP got."""
    number: int = hosp.read("/stats")["requests"]
    return number


def table(ours: Counts, theirs: Counts) -> list[Row]:
    """The rows; only the proxy has targets."""
    rows: list[Row] = []

    def row(name: str, show: Callable[[Counts], str], target: str = "", met: bool = True) -> None:
        rows.append((name, show(ours), show(theirs), target, met))

    def none(name: str, read: Callable[[Counts], int]) -> None:
        row(name, lambda counts: str(read(counts)), "0", read(ours) == 0)

    row("requests, valid among them", lambda c: f"{c.requests}, {c.valid}")
    row("success of valid requests", lambda c: f"{c.rate:.2%}", "≥ 99.9 %", ours.rate >= 0.999)
    row("upstream requests per request", lambda c: f"{c.per_request:.2f}")
    row("seconds for all", lambda c: f"{c.seconds:.1f}")
    row("p50 / p95 / p99, ms", lambda c: _ms(c.quantiles_s))
    for kind in ours.by_kind_s:
        row(f"  {kind}", lambda c, kind=kind: _ms(c.by_kind_s.get(kind, ())))  # type: ignore[misc]
    row("notes sent", lambda c: str(c.notes))
    none("notes lost", lambda c: c.lost)
    none("notes doubled", lambda c: c.doubled)
    none("notes in another's name", lambda c: c.another)
    none("notes stored, but denied", lambda c: c.denied)
    row("outcome honestly unknown", lambda c: str(c.unknown))
    row("screenings", lambda c: str(c.screenings))
    none("screenings without exactly one note", lambda c: c.screenings_wrong)
    row(
        "bad requests refused with 4xx",
        lambda c: f"{c.bad_refused} of {c.bad}",
        "all",
        ours.bad_refused == ours.bad,
    )
    return rows


def _ms(seconds: Sequence[float]) -> str:
    return " / ".join(f"{each * 1000:,.0f}" for each in seconds)


def show(rows: Sequence[Row]) -> str:
    """Format the table as text."""
    lines = [("", "through hospproxy", "straight at HOSP", "target", "")]
    lines += [(*row[:4], "" if row[4] else "MISSED") for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 3, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def main(arguments: Sequence[str]) -> int:
    """Run both and print the table; return 1 if a target was missed."""
    options = _options(arguments)
    plan = make_plan(options.requests, options.seed, world_of(load_seed()))
    print(f"{len(plan)} requests, {options.clients} clients, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hospproxy-load-") as folder:
        runs = []
        for name, run in (("straight at HOSP", straight), ("through hospproxy", through_proxy)):
            print(f"{name} …", flush=True)
            inner = Path(folder, run.__name__)
            inner.mkdir()
            runs.append(run(plan, options.clients, options.seed, inner))
    rows = table(runs[1], runs[0])
    print(show(rows))
    missed = [row[0].strip() for row in rows if not row[4]]
    print(f"missed: {', '.join(missed)}" if missed else "all targets met")
    return 1 if missed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="how many (default 3000)")
    parser.add_argument("--clients", type=int, default=64, help="at one time (default 64)")
    parser.add_argument("--seed", type=int, default=1, help="of the plan and of HOSP's faults (default 1)")
    parser.add_argument("--short", action="store_true", help="a short form, below 40 s")
    options = parser.parse_args(arguments)
    if options.short:
        options.requests, options.clients = _SHORT
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
