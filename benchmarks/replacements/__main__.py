"""``python -m benchmarks.replacements``: replace the proxy under load, and kill either process at every step.

Exit status 1 if a request failed, a write was lost or doubled, a record is missing, or the state folder had two owners.
README.md in the parent folder has the legend.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..chaos.table import Table, show
from ..processes import Standin, standin
from .clients import Busy, Idle, Seen
from .site import Site
from .verdict import judge_clients, judge_writes

STEPS = ("started", "prepared", "closed", "took over", "serves")
"""When a process is killed, each as the log tells it."""
_SAID = {
    "started": "a new process is started",
    "prepared": "is prepared",
    "closed": "the state folder is closed",
    "took over": "took over from process",
    "serves": "serves; this one ends",
}
_BUSY, _IDLE, _PATIENT = 4, 8, 3
"""Clients that write without a pause; idle connections that write in this replacement, and in the next one."""


def replacements(site: Site, seen: Seen, rounds: int, rng: random.Random, table: Table) -> None:
    """Replace the proxy; every second time it is a rollback."""
    busy, failed, took = Busy(site.port, seen, _BUSY), 0, []
    patient = Idle(site.port, seen, _PATIENT)
    for number in range(rounds):
        # The patient ones were opened before the last replacement: two processes relay what they write.
        writing = [Idle(site.port, seen, _IDLE), patient]
        patient = Idle(site.port, seen, _PATIENT)
        before = len(site.text())
        began = time.monotonic()
        running = site.replace(back=bool(number % 2))

        def moment(client: int, before: int = before, shift_s: float = rng.uniform(0, 0.1)) -> None:
            """Around the moment at which the folder is closed, each client at another one."""
            site.until(lambda: "is prepared" in site.text()[before:], "the new version is not prepared")
            time.sleep(shift_s + client * 0.1)

        for each in writing:
            each.write(moment)
        output, _ = running.communicate()
        took.append(time.monotonic() - began)
        if running.returncode:
            failed += 1
            print(output)
        for each in writing:
            each.join()
    patient.write(lambda _: None)
    patient.join()
    busy.stop()
    table.tell("replacements, every second one a rollback", rounds)
    table.none("replacements that failed", failed)
    table.tell("seconds for one, with the start of the new version", f"{min(took):.1f} to {max(took):.1f}")
    judge_clients(seen, table)


def kills(site: Site, seen: Seen, rounds: int, rng: random.Random, table: Table) -> None:
    """Kill the old or the new process at each step of a replacement, and see that one serves afterwards."""
    busy, restarts = Busy(site.port, seen, _BUSY, 0.05), 0
    for number in range(rounds):
        step, old = STEPS[number % len(STEPS)], bool(number // len(STEPS) % 2)
        before, pid = len(site.text()), site.pid
        running = site.replace(back=False)
        site.until(lambda: _SAID[step] in site.text()[before:], f"step {step} does not come")  # noqa: B023
        time.sleep(rng.uniform(0, 0.05))
        others = [each for each in site.family() if each != pid]
        for each in [pid] if old else others:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        running.communicate()
        try:
            site.until(site.serves, "nobody serves", 15.0)
            time.sleep(0.5)
            site.until(site.serves, "nobody serves", 15.0)
        except AssertionError:
            site.start()  # what watches the service does this
            restarts += 1
    busy.stop()
    table.tell("kills of the old or the new process, at each step", rounds)
    table.tell("restarts by what watches the service", restarts)


def judge(site: Site, hosp: Standin, seen: Seen, table: Table) -> None:
    """Compare what clients were told with HOSP's journal and with the audit trail."""
    judge_writes(site.state, hosp, seen, table)
    table.want("processes with the ledger open at once", site.most_owners, "1", site.most_owners == 1)


def run(folder: Path, options: argparse.Namespace) -> list[Table]:
    """Run the trial with replacements, and the one with kills."""
    rng, tables = random.Random(options.seed), []
    delay = ["--delay", "uniform:0.02:0.4", "--places", "5", "--seed", str(options.seed)]
    for name, rounds, trial in (
        ("replacements", options.replacements, replacements),
        ("kills", options.kills, kills),
    ):
        if not rounds:
            continue
        here = folder / name
        here.mkdir(parents=True)
        table, seen = Table(name), Seen()
        with standin(here, delay) as hosp:
            site = Site(here, hosp.url, options.options)
            try:
                site.start()
                trial(site, seen, rounds, rng, table)
                time.sleep(1.0)
                judge(site, hosp, seen, table)
            finally:
                site.stop()
        print(show(table), flush=True)
        tables.append(table)
    return tables


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replacements", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=1, help="of every choice (default 1)")
    add("--replacements", type=int, default=10, help="every second one a rollback (default 10)")
    add("--kills", type=int, default=20, help="of either process, over all steps (default 20)")
    add("--short", action="store_true", help="2 replacements, no kills")
    add("--keep", type=Path, help="a folder to leave logs and state in")
    add("--options", default="", help="further lines for the top of the options file")
    options = parser.parse_args(arguments)
    if options.short:
        options.replacements, options.kills = 2, 0
    with tempfile.TemporaryDirectory(prefix="hospproxy-replacements-") as own:
        tables = run(options.keep or Path(own), options)
    return 1 if any(table.missed for table in tables) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
