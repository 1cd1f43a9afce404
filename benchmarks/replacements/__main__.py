"""``python -m benchmarks.replacements``: replace the proxy under load, and kill a process at every step.

Exit status 1 if a request failed, a write was lost or doubled, a record is missing, or the state folder had two owners.
README.md in the parent folder has the legend.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..chaos.table import Table, show
from ..processes import Standin, standin
from .clients import Busy, Idle, Seen
from .site import START_S, Site
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
VICTIMS = ("the old process", "the new process", "an old worker", "a new worker")
_SERVES_S = {True: 50.0, False: 15.0}
"""Seconds until somebody serves after a kill, with workers and without."""
_BUSY, _IDLE, _PATIENT = 4, 8, 3
"""Clients that write without a pause; idle connections that write in this replacement, and in the next one."""


def replacements(site: Site, seen: Seen, rounds: int, rng: random.Random, table: Table) -> None:
    """Replace the proxy; every second time it is a rollback. With workers, a single process serves in between."""
    workers = site.workers
    busy, failed, took = Busy(site.port, seen, _BUSY), 0, []
    patient = Idle(site.port, seen, _PATIENT)
    for number in range(rounds):
        # The patient ones were opened before the last replacement: two processes relay what they write.
        writing = [Idle(site.port, seen, _IDLE), patient]
        patient = Idle(site.port, seen, _PATIENT)
        if workers > 1:
            site.set_workers(1 if number == 1 else workers)
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


def kills(site: Site, seen: Seen, rounds: int, rng: random.Random, table: Table, first: int = 0) -> None:
    """Kill a process of the old or of the new proxy at each step of a replacement, and see that one serves.

    :param first: number of the first kill: they go through all steps for one kind of process, then for the next.
    """
    busy, restarts = Busy(site.port, seen, _BUSY, 0.05), 0
    within_s = _SERVES_S[site.workers > 1]
    victims = VICTIMS if site.workers > 1 else VICTIMS[:2]
    for number in range(first, first + rounds):
        step, victim = STEPS[number % len(STEPS)], victims[number // len(STEPS) % len(victims)]
        before, pid, running = _begun(site)
        site.until(lambda: _SAID[step] in site.text()[before:], f"step {step} does not come")  # noqa: B023
        time.sleep(rng.uniform(0, 0.05))
        for each in _killed(site, pid, victim, rng):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        running.communicate()
        try:
            # Workers whose supervisor is dead finish what they have, before others get the state folder.
            site.until(site.serves, "nobody serves", within_s)
            time.sleep(0.5)
            site.until(site.serves, "nobody serves", within_s)
        except AssertionError:
            site.start()  # what watches the service does this
            restarts += 1
    busy.stop()
    table.tell(f"kills of {', '.join(victims)}; at each step", rounds)
    table.tell("restarts by what watches the service", restarts)


def _begun(site: Site) -> tuple[int, int, subprocess.Popen[str]]:
    """Begin a replacement; it is refused while a worker is being started, and then tried again.

    :return: length of the log before, id of the process that is replaced, and the command.
    """
    latest = time.monotonic() + START_S
    while True:
        before, pid, running = len(site.text()), site.pid, site.replace(back=False)
        while running.poll() is None:
            if _SAID[STEPS[0]] in site.text()[before:]:
                return before, pid, running
            time.sleep(0.01)
        output, _ = running.communicate()
        if time.monotonic() > latest:
            raise AssertionError(f"no replacement begins: {output}")
        time.sleep(0.2)


def _killed(site: Site, old: int, victim: str, rng: random.Random) -> list[int]:
    """Return the processes to kill. A new worker that does not exist yet: the new process."""
    if victim == VICTIMS[0]:
        return [old]
    if site.workers == 1:
        return [each for each in site.family() if each != old]
    there = site.processes(old)
    candidates = {
        VICTIMS[1]: there.new,
        VICTIMS[2]: there.old_workers,
        VICTIMS[3]: there.new_workers or there.new,
    }[victim]
    return rng.sample(candidates, min(1, len(candidates)))


def judge(site: Site, hosp: Standin, seen: Seen, table: Table) -> None:
    """Compare what clients were told with HOSP's journal and with the audit trail."""
    judge_writes(site.state, hosp, seen, table)
    table.want("proxies with the ledger open at once", site.most_owners, "1", site.most_owners == 1)


def run(folder: Path, options: argparse.Namespace) -> list[Table]:
    """Run the trial with replacements, and the one with kills."""
    rng, tables = random.Random(options.seed), []
    delay = ["--delay", "uniform:0.02:0.4", "--places", "5", "--seed", str(options.seed)]
    for workers, name, rounds, trial in (
        (workers, name, rounds, trial)
        for workers in options.workers
        for name, rounds, trial in (
            ("replacements", options.replacements, replacements),
            ("kills", options.kills, partial(kills, first=options.first)),
        )
    ):
        if not rounds:
            continue
        here = folder / f"{name}-{workers}"
        here.mkdir(parents=True)
        table, seen = Table(f"{name}, {workers} {'workers' if workers > 1 else 'process'}"), Seen()
        with standin(here, delay) as hosp:
            site = Site(here, hosp.url, options.options, workers)
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
    add("--first", type=int, default=0, help="number of the first kill, to repeat some (default 0)")
    add("--workers", type=int, nargs="+", default=[1, 2], help="for each of these (default 1 2)")
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
