"""``python -m benchmarks.peers.instructions``: count the instructions of a TLS hit with Valgrind.

The script is fixed: hits one after the other on one connection. Other load on the machine hardly matters. It counts
instructions of the serving process in user space, all threads; not the kernel's, nor those of other processes. nginx
stands beside it as a single process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve, frozen

from . import results
from .figures import Failed
from .measurement import hits, paced, settle, warm
from .origin import origin
from .results import keep
from .setups import OURS, PLACES, Peer, Site, certificate

_FEW = 200
IDLE_S = 15.0


def summary_instructions(dump: str) -> int:
    """Instructions in one dump of callgrind.

    :raise ValueError: it has no total.
    """
    for line in dump.splitlines():
        if line.startswith(("summary:", "totals:")):
            return int(line.split()[1])
    raise ValueError("a dump of callgrind without its total")


@frozen
class Script:
    """One run of the script.

    :param seconds: wall time, which under Valgrind and on a busy machine is long: timers run meanwhile.
    """

    requests: int
    instructions: int
    seconds: float


def a_request(many: Script, few: Script, idle: float) -> int:
    """Instructions of one request: two scripts that differ in length only, so that the handshake cancels out.

    :param idle: instructions a second without requests, which timers take; they are subtracted.
    :raise ValueError: the first is not longer.
    """
    if many.requests <= few.requests:
        raise ValueError("the first script must be the longer one")
    more = many.instructions - few.instructions - idle * (many.seconds - few.seconds)
    return round(more / (many.requests - few.requests))


def counted(peer: Peer, folder: Path, requests: int) -> Script:
    """Send hits on one connection; return the instructions since the last dump."""
    assert peer.tls is not None
    script, began = hits(), time.monotonic()
    paced(peer.tls, True, [script[each % len(script)] for each in range(requests)], connections=1)
    settle(peer.roots)
    return Script(requests, _dumped(peer, folder), time.monotonic() - began)


def idle_rate(peer: Peer, folder: Path, idle_s: float) -> float:
    """Instructions a second that a peer takes when nobody asks.

    :param idle_s: seconds for which they are counted.
    """
    began = time.monotonic()
    time.sleep(idle_s)
    return _dumped(peer, folder) / (time.monotonic() - began)


def _dumped(peer: Peer, folder: Path) -> int:
    before = set(folder.glob("callgrind.*"))
    _control("--dump", peer.roots[0])
    made = set(folder.glob("callgrind.*")) - before
    if not made:
        raise Failed("callgrind_control wrote no dump")
    return sum(summary_instructions(each.read_text(errors="replace")) for each in made)


def _control(option: str, pid: int) -> None:
    done = subprocess.run(
        ["callgrind_control", *option.split(), str(pid)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"callgrind_control {option}: {done.stdout}{done.stderr}")


@frozen
class Counted:
    """What one peer takes.

    :param hit: instructions of one hit.
    :param idle: instructions a second without requests.
    """

    hit: int
    idle: float


def measure(
    name: str, upstream: int, folder: Path, requests: int, options: str = "", idle_s: float = IDLE_S
) -> Counted:
    """Count the instructions of one peer.

    :param requests: hits that are counted.
    :param options: more sections for hospproxy's options file.
    :param idle_s: seconds for which the peer is counted without requests.
    """
    folder.mkdir()
    before = (
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--instr-atstart=no",
        "--callgrind-out-file=callgrind",
    )
    site = Site(folder, upstream, *certificate(folder / "tls"), options=options)
    with PLACES[name](evolve(site, before=before)) as peer:
        warm(peer, True, hits())
        _control("--instr=on", peer.roots[0])
        counted(peer, folder, _FEW)  # Python specialises its bytecode, and caches fill
        idle = idle_rate(peer, folder, idle_s)
        few = counted(peer, folder, _FEW)
        many = counted(peer, folder, _FEW + requests)
    return Counted(a_request(many, few, idle), idle)


def main(arguments: Sequence[str]) -> int:
    """Print instructions a hit for each peer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.instructions", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="hits that are counted (default 1000)")
    parser.add_argument("--peers", nargs="+", default=[OURS, "nginx"], choices=[OURS, "nginx"])
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hospproxy-instructions-") as name:
        folder = Path(name)
        found = {}
        with origin(folder / "origin") as upstream:
            for peer in options.peers:
                number = measure(peer, upstream.port, folder / peer, options.requests).hit
                found[peer] = {"instructions": [float(number)]}
                print(f"{peer:10} {number:>12,} instructions a TLS hit", flush=True)
    keep(results.FILE, "instructions", 1, f"{options.requests:,} hits", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
