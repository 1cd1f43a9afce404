"""``python -m benchmarks.visible``: what it costs a cache hit that operators can see what the proxy does.

Three proxies take turns under the same load. One has the status page and surges, writes its log, and is asked for its
metrics and the status page all the time, as by default; another one has traces too (one request in twenty, to a
collector that is away); the last has none of these. What is counted anyway (metrics) is in all of them.

``--instructions`` counts instructions with Valgrind instead of time, one proxy after the other, so other load on the
machine hardly matters. It tells apart what a hit costs, and what is done every few seconds whether or not there are
requests; nobody asks for metrics or the status page then.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from urllib.error import URLError
from urllib.request import urlopen

from integration.ports import free_port

from .hit import Cost, cost
from .peers.figures import table
from .peers.instructions import Counted, measure
from .peers.measurement import hits, warm, write_requests, wrk
from .peers.origin import mixed, origin, request
from .peers.setups import OURS, Peer, Site, certificate, hospproxy

_QUIET = "[audit_database]\nenabled = false\n[alerts]\nenabled = false\n[audit_page]\nenabled = false\n"
ON = _QUIET + '[log]\nlevel = "info"\n'
TRACED = ON + '[traces]\nendpoint = "http://127.0.0.1:{port}/v1/traces"\nsample = 0.05\n'
OFF = _QUIET + '[status]\nenabled = false\n[log]\nlevel = "error"\n'
_ASKED = ("/metrics", "/status.json?window=1h", "/status.json?window=1w")
EVERY_S = 5.0
IDLE_S = 60.0
"""Seconds without requests that are counted: long enough for a dozen readings of the status figures."""
BUSY_PER_S, QUIET_PER_S = 1000.0, 50.0
"""Hits a second: of a busy hospital group, and of a quiet one."""


def more(seen: Sequence[Cost], unseen: Sequence[Cost]) -> tuple[float, float, float]:
    """Return by which share a hit is dearer, over pairs of turns: the median, and the middle half of them."""
    shares = sorted(one.whole_us / other.whole_us - 1.0 for one, other in zip(seen, unseen, strict=True))
    return median(shares), shares[len(shares) // 4], shares[-1 - len(shares) // 4]


@contextlib.contextmanager
def watched(admin: int, every_s: float) -> Iterator[None]:
    """Ask the admin listener as Prometheus and two open status pages do."""
    done = threading.Event()

    def ask() -> None:
        while not done.wait(every_s):
            for path in _ASKED:
                with (
                    contextlib.suppress(URLError, OSError),
                    urlopen(f"http://127.0.0.1:{admin}{path}") as answer,
                ):
                    answer.read()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def dearer(seen: Counted, unseen: Counted, per_s: float) -> tuple[float, float]:
    """Return by which share a hit is dearer, alone and with what is done every few seconds.

    :param per_s: hits a second among which the latter is divided.
    """
    alone = seen.hit / unseen.hit - 1.0
    return alone, alone + (seen.idle - unseen.idle) / per_s / unseen.hit


def count(requests: int) -> None:
    """Count instructions, and print a table."""
    with tempfile.TemporaryDirectory(prefix="hospproxy-visible-") as name:
        folder, found = Path(name), dict[str, Counted]()
        with origin(folder / "origin") as upstream:
            for word, text in texts().items():
                found[word] = measure(OURS, upstream.port, folder / word, requests, text, IDLE_S)
                print(
                    f"{word}: {found[word].hit:,} instructions a hit, {found[word].idle:,.0f} a second",
                    flush=True,
                )
    for word in ("seen", "seen and traced"):
        alone, busy = dearer(found[word], found["unseen"], BUSY_PER_S)
        quiet = dearer(found[word], found["unseen"], QUIET_PER_S)[1]
        print(
            f"{word}: {alone:+.2%} of a hit; with what is done every few seconds {busy:+.2%} at {BUSY_PER_S:g} hits a"
            f" second, {quiet:+.2%} at {QUIET_PER_S:g}"
        )


def texts() -> dict[str, str]:
    """Return the further options of each proxy."""
    return {"unseen": OFF, "seen": ON, "seen and traced": TRACED.format(port=free_port())}


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.visible", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="pairs of turns (default 20)")
    parser.add_argument("--seconds", type=int, default=3, help="of one turn (default 3)")
    parser.add_argument("--connections", type=int, default=64, help="kept alive (default 64)")
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions with Valgrind, not time"
    )
    parser.add_argument(
        "--requests", type=int, default=1000, help="hits whose instructions are counted (default 1000)"
    )
    options = parser.parse_args(arguments)
    if options.instructions:
        count(options.requests)
        return 0
    with tempfile.TemporaryDirectory(prefix="hospproxy-visible-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        upstream = stack.enter_context(origin(folder / "origin"))
        pair = certificate(folder / "tls")
        peers: dict[str, Peer] = {}
        for word, text in texts().items():
            own = folder / word
            own.mkdir()
            site = Site(own, upstream.port, *pair, options=text)
            peers[word] = stack.enter_context(hospproxy(site))
        requests = write_requests(folder, [request(path, staff) for path, staff in mixed()])
        for peer in peers.values():
            warm(peer, True, hits())
        for word in ("seen", "seen and traced"):
            stack.enter_context(watched(peers[word].admin, EVERY_S))
        found: dict[str, list[Cost]] = {word: [] for word in peers}
        for turn in range(options.rounds + 1):
            for word in sorted(peers, reverse=bool(turn % 2)):
                peer = peers[word]
                assert peer.tls is not None

                def load(port: int = peer.tls) -> int:
                    return wrk(port, True, requests, options.connections, options.seconds).requests

                costs = cost(peer.roots, load)
                if turn:  # the first turn warms up
                    found[word].append(costs)
    shown = [
        [
            word,
            f"{median(each.whole_us for each in costs):.1f}",
            f"{min(each.whole_us for each in costs):.1f}",
        ]
        for word, costs in found.items()
    ]
    print(table(["", "µs a hit", "least"], shown))
    for word in ("seen", "seen and traced"):
        middle, low, high = more(found[word], found["unseen"])
        print(f"{word}: {middle:+.1%} of a hit (middle half of the pairs: {low:+.1%} to {high:+.1%})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
