"""``python -m benchmarks.rollout``: roll out bad versions, which must be taken back, and good ones.

Exit status 1 if a rollout did not end as it must, or a note was lost, or one was doubled that the bad version did not
double.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from ..chaos.table import Table, show
from .clients import Traffic
from .site import Site, forget, short_folder, site

_ROOT = Path(__file__).resolve().parents[2]
_RULES = """min_requests = 250
min_s = 20
max_s = 180
every_s = 1
silent_s = 6
failed_points = 2
slower_points = 15
"""
_AT_MOST_S = 300.0


@frozen
class Scenario:
    """One rollout.

    :param wanted: exit status of the program.
    :param because: must stand in what it says.
    :param killed: in which stage the program is killed with SIGKILL, and then resumed; "" for none.
    """

    name: str
    defect: str
    old: str
    new: str
    wanted: int
    because: str
    killed: str = ""


SCENARIOS = (
    Scenario("5 % fail", "failing", "1.0", "2.0", 1, "failed: "),
    Scenario("half are 0.4 s slower", "slow", "1.0", "2.0", 1, "slower than"),
    Scenario("one write is doubled", "doubling", "1.0", "2.0", 1, "a write was doubled"),
    Scenario("hangs", "hanging", "1.0", "2.0", 1, "no reply for"),
    Scenario("good", "none", "1.0", "2.0", 0, "2.0 runs in production"),
    Scenario("good, rollout killed", "none", "2.0", "3.0", 0, "3.0 runs in production", "promote"),
)


@frozen
class Ended:
    """How a rollout ended: its exit status, its lines, and the seconds that it took."""

    status: int
    lines: list[dict[str, str]]
    seconds: float
    at: dict[str, float]

    @property
    def said(self) -> str:
        return "\n".join(f"{line['stage']:<10} {line['text']}" for line in self.lines)


async def roll_out(where: Site, scenario: Scenario, percent: int) -> Ended:
    """Run ``python deploy/rollout``, as an operator does."""
    plan = where.plan(scenario.defect, _RULES, percent)
    began, lines, at = time.monotonic(), list[dict[str, str]](), dict[str, float]()
    status = await _program(
        ["run", str(plan), "--old", scenario.old, "--new", scenario.new], lines, at, began, scenario.killed
    )
    if status == -signal.SIGKILL:
        status = await _program(["resume", str(where.folder / "rollout")], lines, at, began, "")
    return Ended(status, lines, time.monotonic() - began, at)


async def _program(
    words: Sequence[str], lines: list[dict[str, str]], at: dict[str, float], began: float, kill_in: str
) -> int:
    """Run the program; return its exit status.

    :param at: gets for each stage the seconds at which it was first heard of.
    """
    command = [sys.executable, "deploy/rollout", words[0], "--json", *words[1:]]
    running = await asyncio.create_subprocess_exec(
        *command, cwd=_ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout is not None
    try:
        async with asyncio.timeout(_AT_MOST_S):
            async for raw in running.stdout:
                line = json.loads(raw)
                lines.append(line)
                at.setdefault(line["stage"], time.monotonic() - began)
                print(f"  {time.monotonic() - began:6.1f} s  {line['stage']:<10} {line['text']}", flush=True)
                if kill_in and line["stage"] == "settle":
                    await asyncio.sleep(0.5)  # in the middle of the stage that follows
                    running.kill()
            return await running.wait()
    finally:
        if running.returncode is None:
            running.terminate()
            await running.wait()


async def run(scenarios: Sequence[Scenario], rate: float, percent: int, folder: Path) -> list[Table]:
    """Run the scenarios one after the other on one site, under traffic."""
    tables = []
    this = asyncio.current_task()
    assert this is not None
    # So that all processes are ended, too, if the trial is.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with site(folder, scenarios[0].old) as where:
        for scenario in scenarios:
            print(f"{scenario.name}:", flush=True)
            traffic = Traffic(scenario.name, where.front, rate, random.Random(scenario.name))
            going = asyncio.create_task(traffic.run())
            try:
                ended = await roll_out(where, scenario, percent)
            finally:
                await traffic.stop()
                await going
            tables.append(await _judge(where, scenario, traffic, ended))
    return tables


async def _judge(where: Site, scenario: Scenario, traffic: Traffic, ended: Ended) -> Table:
    table = Table(scenario.name)
    table.want("exit status", ended.status, str(scenario.wanted), ended.status == scenario.wanted)
    table.want("says", scenario.because, "said", scenario.because in ended.said)
    versions = [await asyncio.to_thread(where.version, name) for name in ("one", "two")]
    wanted = scenario.new if scenario.wanted == 0 else scenario.old
    table.want("versions in production", ", ".join(versions), wanted, set(versions) == {wanted})
    watched, decided = ended.at.get("watch"), ended.at.get("rollback", ended.at.get("settle"))
    if watched is not None and decided is not None:
        table.tell("from traffic to verdict", f"{decided - watched:.0f} s")
    table.tell("whole rollout", f"{ended.seconds:.0f} s")
    failures = ", ".join(f"{status or 'no response'} × {n}" for status, n in sorted(traffic.failed.items()))
    table.tell("requests of clients, failed", f"{traffic.requests}; {failures or 'none'}")
    entries: list[dict[str, Any]] = await where.hosp.journal("stored", "notes")
    texts = (entry["fields"]["body"] for entry in entries)
    stored = Counter(text for text in texts if text.startswith(f"{scenario.name}: "))
    table.none("notes lost", sum(stored[text] == 0 for text in traffic.stored))
    doubled = sum(number > 1 for number in stored.values())
    own = 1 if scenario.defect == "doubling" else 0
    table.want("notes doubled", doubled, str(own), doubled == own)
    if scenario.wanted == 0:
        table.none("failures of a good version", traffic.failed.total())
    return table


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge."""
    options = _options(arguments)
    chosen = [each for each in SCENARIOS if not options.only or each.defect in options.only.split(",")]
    folder = options.keep or short_folder()
    folder.mkdir(exist_ok=True)
    try:
        tables = asyncio.run(run(chosen, options.rate, options.percent, folder))
    finally:
        if options.keep is None:
            forget(folder)
    for table in tables:
        print(show(table))
    return 1 if any(table.missed for table in tables) else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollout", description=__doc__)
    add = parser.add_argument
    add("--only", default="", help="defects, joined by commas: none, failing, slow, doubling, hanging")
    add("--rate", type=float, default=20.0, help="requests a second (default 20)")
    add("--percent", type=int, default=25, help="of the traffic for canary and baseline each (default 25)")
    add("--keep", type=Path, help="a folder with a short path to leave logs and state in")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
