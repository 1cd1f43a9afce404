"""``python -m benchmarks.rollout``: roll out bad versions, which must be taken back, and good ones.

Production is promoted by ``hospproxyctl upgrade`` and taken back by ``hospproxyctl rollback``, with real processes.

Exit status 1 if a rollout did not end as it must, a note was lost, one was doubled that the bad version did not
double, or a request failed that no bad canary had.
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

from attrs import define, field, frozen

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
_QUICK_RULES = """min_requests = 60
min_s = 5
max_s = 180
every_s = 1
failed_points = 15
refused_points = 15
slower_points = 40
"""
"""Where the canary is known to be good, and only the promotion is tried."""
_AT_MOST_S = 300.0


@frozen
class Scenario:
    """One rollout.

    :param defect: of the new version.
    :param wanted: exit status of the program.
    :param because: must stand in what it says.
    :param kill_at: the program is killed with SIGKILL at a line with these words; "" for never.
    :param kill_s: so many seconds after that line.
    :param then: the command after it was killed.
    :param command: ``run``, or ``rollback``: back to the old version at once.
    """

    name: str
    defect: str
    old: str
    new: str
    wanted: int
    because: str
    kill_at: str = ""
    kill_s: float = 0.0
    then: str = "resume"
    command: str = "run"
    rules: str = _RULES

    @property
    def runs(self) -> str:
        """The version that must run in production afterwards."""
        return self.new if self.wanted == 0 and self.command == "run" else self.old

    @property
    def is_harmless(self) -> bool:
        """Whether no request may fail: no bad version gets one."""
        return self.defect in ("none", "stuck")


SCENARIOS = (
    Scenario("5 % fail", "failing", "1.0", "2.1", 1, "failed: "),
    Scenario("half are 0.4 s slower", "slow", "1.0", "2.2", 1, "slower than"),
    Scenario("one write is doubled", "doubling", "1.0", "2.3", 1, "a write was doubled"),
    Scenario("hangs", "hanging", "1.0", "2.4", 1, "no reply for"),
    Scenario(
        "dies while it takes over on the second machine", "stuck", "1.0", "2.5", 1, "one runs 1.0 again",
        rules=_QUICK_RULES,
    ),
    Scenario(
        "good, rollout killed between two upgrades and aborted", "none", "1.0", "2.6", 1, "one runs 1.0 again",
        kill_at="one runs 2.6", then="abort", rules=_QUICK_RULES,
    ),
    Scenario("good", "none", "1.0", "2.7", 0, "2.7 runs in production"),
    Scenario(
        "good, rollout killed in an upgrade and resumed", "none", "2.7", "3.0", 0, "3.0 runs in production",
        kill_at="settle", kill_s=0.5, rules=_QUICK_RULES,
    ),
    Scenario("taken back later", "none", "2.7", "3.0", 0, "one runs 2.7 again", command="rollback"),
)  # fmt: skip


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
    plan = where.plan(scenario.rules, percent)
    words = [scenario.command, str(plan), "--old", scenario.old, "--new", scenario.new]
    program = Program()
    status = await program.run(words, scenario.kill_at, scenario.kill_s)
    if status == -signal.SIGKILL:
        program.tell("trial", f"killed; {scenario.then}")
        status = await program.run([scenario.then, str(where.folder / "rollout")])
    return Ended(status, program.lines, time.monotonic() - program.began, program.at)


@define
class Program:
    """``deploy/rollout``, and what it says.

    :ivar at: for each stage: the seconds at which it was first heard of.
    """

    began: float = field(factory=time.monotonic)
    lines: list[dict[str, str]] = field(factory=list)
    at: dict[str, float] = field(factory=dict)

    async def run(self, words: Sequence[str], kill_at: str = "", kill_s: float = 0.0) -> int:
        """Run it; return its exit status.

        :param kill_at: kill it at a line with these words; "" for never.
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
                    self.lines.append(line)
                    self.tell(line["stage"], line["text"])
                    if kill_at and kill_at in f"{line['stage']} {line['text']}":
                        await asyncio.sleep(kill_s)
                        running.kill()
                return await running.wait()
        finally:
            if running.returncode is None:
                running.terminate()
                await running.wait()

    def tell(self, stage: str, words: str) -> None:
        """Print a line."""
        now = time.monotonic() - self.began
        self.at.setdefault(stage, now)
        print(f"  {now:6.1f} s  {stage:<10} {words}", flush=True)


async def run(scenarios: Sequence[Scenario], rate: float, percent: int, folder: Path) -> list[Table]:
    """Run the scenarios one after the other on one site, under traffic."""
    tables = []
    this = asyncio.current_task()
    assert this is not None
    # So that all processes are ended, too, if the trial is.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    defects = {each.new: each.defect for each in scenarios} | {scenarios[0].old: "none"}
    async with site(folder, scenarios[0].old, defects) as where:
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
    table.want("versions in production", ", ".join(versions), scenario.runs, set(versions) == {scenario.runs})
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
    if scenario.is_harmless:
        for line in traffic.failures[:50]:
            print(f"  {line}", flush=True)
        table.none("requests failed", traffic.failed.total())
    return table


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge."""
    options = _options(arguments)
    only = options.only.split(",")
    chosen = [each for each in SCENARIOS if each.defect in only or any(word in each.name for word in only)]
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
    add("--only", default="", help="defects or parts of names, joined by commas, such as failing,resumed")
    add("--rate", type=float, default=20.0, help="requests a second (default 20)")
    add("--percent", type=int, default=25, help="of the traffic for canary and baseline each (default 25)")
    add("--keep", type=Path, help="a folder with a short path to leave logs and state in")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
