"""``python -m benchmarks.hit``: what a cache hit costs the serving process, beside other checkouts and nginx.

The index, the alerts and the audit page are switched off: what is left lies between the socket and the journal on disk.
The loads take turns, so that other work on the machine meets all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from attrs import frozen

from .peers.figures import table
from .peers.measurement import hits, warm, write_requests, wrk
from .peers.origin import mixed, origin, request
from .peers.process_tree import all_processes, tree
from .peers.setups import ROOT, Peer, Site, certificate, hospproxy, nginx

_ALONE = "[audit_database]\nenabled = false\n[alerts]\nenabled = false\n[audit_page]\nenabled = false\n"
_TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Cost:
    """Processor time of one hit, in microseconds: in the program, and in the kernel on its behalf."""

    user_us: float
    system_us: float

    @property
    def whole_us(self) -> float:
        return self.user_us + self.system_us


def spent(line: str) -> tuple[int, int]:
    """Ticks of a process in user and in system mode, from its ``/proc/PID/stat``."""
    fields = line.rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def _spent_by(pids: Sequence[int]) -> tuple[int, int]:
    found = [spent(Path(f"/proc/{pid}/stat").read_text()) for pid in pids]
    return sum(user for user, _ in found), sum(system for _, system in found)


def cost(pids: Sequence[int], load: Callable[[], int]) -> Cost:
    """Run a load, which returns its number of requests; return what each of them cost these processes."""
    user, system = _spent_by(pids)
    requests = load()
    user_after, system_after = _spent_by(pids)
    each = 1e6 / _TICKS / requests
    return Cost((user_after - user) * each, (system_after - system) * each)


def _serving(peer: Peer) -> list[int]:
    """The processes that serve; not those that hospproxy starts for other work."""
    return list(peer.roots) if peer.admin else [each.pid for each in tree(all_processes(), peer.roots)]


def rows(found: dict[str, list[Cost]]) -> list[list[str]]:
    """One row for each: medians, the least, and how many times the last one's cost in the same round.

    Other work on the machine only makes a hit dearer, so the least is nearest to what it costs alone.
    """
    last = list(found.values())[-1]
    made = []
    for name, costs in found.items():
        times = sorted(one.whole_us / other.whole_us for one, other in zip(costs, last, strict=True))
        made.append(
            [
                name,
                f"{median(each.whole_us for each in costs):.1f}",
                f"{min(each.whole_us for each in costs):.1f}",
                f"{median(each.user_us for each in costs):.1f}",
                f"{median(each.system_us for each in costs):.1f}",
                f"{median(times):.2f} ({times[0]:.2f}–{times[-1]:.2f})",
            ]
        )
    return made


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hit", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="turns of each (default 10)")
    parser.add_argument("--seconds", type=int, default=2, help="of one turn (default 2)")
    parser.add_argument("--connections", type=int, default=64, help="kept alive (default 64)")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--fresh", action="store_true", help="a new connection for each hit")
    parser.add_argument(
        "--beside", type=Path, nargs="*", default=[], help="other checkouts of this repository"
    )
    options = parser.parse_args(arguments)
    checkouts = {"this": ROOT, **{each.name: each.absolute() for each in options.beside}}
    with tempfile.TemporaryDirectory(prefix="hospproxy-hit-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        upstream = stack.enter_context(origin(folder / "origin"))
        pair = certificate(folder / "tls")
        peers: dict[str, Peer] = {}
        for word in [*checkouts, "nginx"]:
            own = folder / f"peer-{word}"
            own.mkdir()
            checkout = checkouts.get(word)
            site = Site(own, upstream.port, *pair, options=_ALONE, checkout=checkout)
            peers[word] = stack.enter_context(nginx(site) if checkout is None else hospproxy(site))
        script = [request(path, staff, close=options.fresh) for path, staff in mixed()]
        requests, found = write_requests(folder, script), dict[str, list[Cost]]()
        for peer in peers.values():
            warm(peer, not options.plain, hits())
        for turn in range(options.rounds + 1):
            for word, peer in peers.items():
                port = peer.plain if options.plain else peer.tls
                assert port is not None

                def load(port: int = port) -> int:
                    done = wrk(port, not options.plain, requests, options.connections, options.seconds)
                    return done.requests

                costs = cost(_serving(peer), load)
                if turn:  # the first turn warms up
                    found.setdefault(word, []).append(costs)
    print(table(["checkout", "µs a hit", "least", "user", "system", "times nginx"], rows(found)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
