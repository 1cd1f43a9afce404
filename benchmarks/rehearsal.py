"""``python -m benchmarks.rehearsal``: how far a rehearsal's forecast is from a real run.

Real clients send one plan of requests, at fixed moments, to a real proxy and the stand-in HOSP: once under the default
options, and once under each changed set. The first run's journal is then rehearsed under all of them, and each
forecast is compared with the real run under the same options.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import ssl
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
from attrs import frozen

from hosp_standin.service import load_seed
from hospproxy.checks import load_and_check
from hospproxy.config import NO_FLAGS, Settings
from hospproxy.options.source import source_of
from simulation.rehearsal.day_model import learn
from simulation.rehearsal.figures import Figures, figures_of, table
from simulation.rehearsal.replay import rehearse
from simulation.rehearsal.visits import Visit, read_visits

from .load import HOSP
from .load_clients import PATIENCE_S, ask
from .plan import Planned, make_plan, world_of
from .processes import proxy, standin

CHANGES: Mapping[str, str] = {
    "default options": "",
    "no cache": "[cache]\nenabled = false",
    "3 slots at HOSP": "[gate]\nconcurrency = 3",
    "one attempt": "[retry]\nenabled = false",
}
"""Options by title; the journal of the first is the one that is rehearsed."""
POINTS = ("success", "memory")
"""Figures that are shares; their error is in percentage points, that of all others in per cent."""


@frozen
class Load:
    """How much the clients send.

    :param rate: requests a second, on average.
    :param seconds: for so long.
    """

    requests: int
    rate: float


def run_real(load: Load, options: str, seed: int, folder: Path) -> tuple[list[Visit], Path]:
    """Run the plan against real processes; returns the journal's requests, and the options file."""
    folder.mkdir()
    plan = make_plan(load.requests, seed, world_of(load_seed()))
    with (
        standin(folder, [*HOSP, "--seed", str(seed)]) as hosp,
        proxy(folder, hosp.url, options) as target,
    ):
        asyncio.run(_send(target.url, plan, load.rate, random.Random(seed), target.certificate))
    return read_visits(folder / "state" / "audit", 0.0, math.inf), folder / "hospproxy.toml"


async def _send(
    base: str, plan: Sequence[Planned], rate: float, chance: random.Random, certificate: Path
) -> None:
    """Send each request at its moment, whether or not the ones before it were answered."""
    trusted = ssl.create_default_context(cafile=certificate)
    connector = aiohttp.TCPConnector(limit=0, ssl=trusted)
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        began, at, under_way = time.monotonic(), 0.0, []
        for planned in plan:
            at += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            under_way.append(asyncio.create_task(ask(session, base, planned)))
        await asyncio.gather(*under_way)


def errors(real: Figures, forecast: Figures) -> dict[str, float]:
    """Forecast minus real: in points for shares, in per cent of the real figure for others."""
    found = {}
    for name, value in real.as_json().items():
        difference = forecast.as_json()[name] - value
        found[name] = (
            difference * 100 if name in POINTS else difference / value * 100 if value else difference
        )
    return found


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rehearsal", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="a few seconds of load, and one change")
    options = parser.parse_args()
    load = Load(120, 8.0) if options.short else Load(900, 8.0)
    changes = dict(list(CHANGES.items())[:2]) if options.short else CHANGES
    with tempfile.TemporaryDirectory(prefix="hospproxy-rehearsal-") as folder:
        _compare(load, changes, options.seed, Path(folder))
    return 0


def _settings(file: Path) -> Settings:
    return load_and_check(source_of(file, NO_FLAGS))[0]


def _compare(load: Load, changes: Mapping[str, str], seed: int, folder: Path) -> None:
    runs = [
        (title, *run_real(load, text, seed, folder / str(number)))
        for number, (title, text) in enumerate(changes.items())
    ]
    recorded, first = runs[0][1], _settings(runs[0][2])
    model = learn(recorded, first.gate.concurrency)
    for title, visits, file in runs:
        real = figures_of(visits, 0.0, math.inf)
        began = time.monotonic()
        forecast = figures_of(rehearse(recorded, model, _settings(file), seed).visits, 0.0, math.inf)
        print(f"\n{title} (seed {seed}, rehearsed in {time.monotonic() - began:.1f} s)")
        print(table([("real run", real), ("forecast", forecast)]))
        shown = ", ".join(
            f"{name} {value:+.1f}{' points' if name in POINTS else ' %'}"
            for name, value in errors(real, forecast).items()
            if name in (*POINTS, "at_hosp", "p50_s", "p95_s")
        )
        print(f"error of the forecast: {shown}")


if __name__ == "__main__":
    raise SystemExit(main())
