"""``python -m benchmarks.reloads``: reload the proxy's options under load, in every way, right files and wrong ones.

Exit status 1 if a request failed, a write was lost or doubled, a record is missing, or options were in force that
should not be. README.md in the parent folder has the legend.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

from attrs import define, field

from ..chaos.table import Table, show
from ..processes import standin
from ..replacements.clients import Busy, Idle, Seen
from ..replacements.verdict import judge_clients, judge_writes
from .choices import CHOICES, Choice, Mistake, mistakes
from .probes import Probes, expected
from .site import Reloaded, Site

Reload = Callable[[], Reloaded]

_BUSY, _IDLE = 2, 6
"""For plain HTTP and for TLS each: busy clients, and idle clients. A third of the idle ones write after a reload."""
_BEFORE_S = 0.1
"""Seconds before a reload in which the first idle clients write."""


@define
class Rounds:
    """The reloads, and what was wrong with them.

    :ivar stack: the sets of options that ``undo`` goes back to; the last one is in force.
    """

    site: Site
    seen: Seen
    probes: Probes
    rng: random.Random
    stack: list[Choice]
    kinds: Counter[str] = field(factory=Counter)
    took: list[float] = field(factory=list)
    surprises: list[str] = field(factory=list)
    effects: list[str] = field(factory=list)
    tried: int = 0

    def go(self, number: int) -> None:
        """Reload this many times: of each five one file is wrong and one reload is an undo."""
        wrong = self._mistakes()
        ways = self._ways()
        idle = self._opened()
        for turn in range(number):
            # They were opened before the last reload, and have sent nothing since.
            idle, writing = self._opened(), idle
            if turn % 5 == 4:
                self._undo(writing)
            else:
                way, reload = next(ways)
                mistake = next(wrong) if turn % 5 == 2 else None
                self._reload(way, reload, mistake, writing)
            self._look(turn)
        for each in idle:
            each.write(lambda _client: None)
            each.join()

    def _mistakes(self) -> Iterator[Mistake]:
        while True:
            yield from mistakes(self.site.state)

    def _ways(self) -> Iterator[tuple[str, Reload]]:
        while True:
            yield from self.site.ways

    def _opened(self) -> list[Idle]:
        ports = ((self.site.tls, True), (self.site.plain, False))
        return [Idle(port, self.seen, _IDLE, tls=tls) for port, tls in ports]

    def _reload(self, way: str, reload: Reload, mistake: Mistake | None, writing: list[Idle]) -> None:
        chosen = self.rng.choice([each for each in CHOICES if each != self.stack[-1]])
        self.site.write(chosen, "" if mistake is None else mistake.lines)
        done = self._while_writing(reload, writing)
        self.kinds[way if mistake is None else f"refused: {mistake.name}"] += 1
        if mistake is None:
            self.stack.append(chosen)
            if not done.applied:
                self.surprises.append(f"{way} was refused: {done.said}")
        elif done.applied or mistake.said not in done.said:
            self.surprises.append(f"{way} with a {mistake.name}: {done.said}")

    def _undo(self, writing: list[Idle]) -> None:
        done = self._while_writing(self.site.undo, writing)
        self.kinds["hospproxyctl undo"] += 1
        self.stack.pop()
        if not done.applied:
            self.surprises.append(f"undo was refused: {done.said}")

    def _while_writing(self, reload: Reload, writing: list[Idle]) -> Reloaded:
        """Reload while idle clients write: just before, during and just after it."""
        begin, over = time.monotonic() + _BEFORE_S, Event()
        usual_s = self.took[-1] if self.took else 0.5
        moments = [
            [self.rng.uniform(begin - _BEFORE_S, begin + usual_s) for _ in range(_IDLE)] for _ in writing
        ]
        for each, own in zip(writing, moments, strict=True):

            def moment(client: int, own: list[float] = own) -> None:
                if client % 3 == 2:
                    over.wait()
                else:
                    time.sleep(max(0.0, own[client] - time.monotonic()))

            each.write(moment)
        time.sleep(max(0.0, begin - time.monotonic()))
        try:
            done = reload()
        finally:
            over.set()
        self.took.append(time.monotonic() - begin)
        for each in writing:
            each.join()
        return done

    def _look(self, turn: int) -> None:
        """Compare what is seen from outside with the set that should be in force."""
        observed = self.probes.observed()
        for key, value in expected(self.stack[-1]).items():
            self.tried += 1
            if observed[key] != value:
                self.effects.append(f"{turn + 1}: {key}: {observed[key]}, not {value}")


def run(folder: Path, options: argparse.Namespace) -> Table:
    """Run the trial."""
    table, seen, rng = Table("reloads"), Seen(), random.Random(options.seed)
    delay = ["--delay", "uniform:0.02:0.4", "--places", "5", "--seed", str(options.seed)]
    with standin(folder, delay) as hosp:
        site = Site(folder, hosp.url)
        rounds = Rounds(site, seen, Probes(site.plain), rng, [CHOICES[0]])
        with site.running(CHOICES[0]):
            busy = [Busy(site.tls, seen, _BUSY), Busy(site.plain, seen, _BUSY, tls=False)]
            try:
                rounds.go(options.reloads)
            finally:
                for each in busy:
                    each.stop()
        table.tell("reloads", options.reloads)
        for kind, times in sorted(rounds.kinds.items()):
            table.tell("  " + kind, times)
        table.tell("seconds for one", f"{min(rounds.took):.2f} to {max(rounds.took):.2f}")
        table.none("reloads with another outcome than expected", len(rounds.surprises))
        table.tell("options tried from outside", rounds.tried)
        table.none("options that were not in force", len(rounds.effects))
        for line in (*rounds.surprises[:5], *rounds.effects[:5]):
            table.tell("  " + line.replace("\n", " ")[-150:], "")
        judge_clients(seen, table)
        judge_writes(site.state, hosp, seen, table, rounds.probes.ids)
        table.none("tracebacks in the log", site.log().count("Traceback"))
    return table


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reloads", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=1, help="of every choice (default 1)")
    add("--reloads", type=int, default=50, help="of each five one is refused and one is an undo (default 50)")
    add("--short", action="store_true", help="8 reloads")
    add("--keep", type=Path, help="a folder to leave logs and state in")
    options = parser.parse_args(arguments)
    if options.short:
        options.reloads = 8
    with tempfile.TemporaryDirectory(prefix="hospproxy-reloads-") as own:
        folder = options.keep or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        table = run(folder, options)
    print(show(table), flush=True)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
