"""``python -m benchmarks.peers.profile``: where the time of a TLS hit goes, by module, as cProfile counts it.

It counts processor time of the reactor's thread. cProfile makes each call dearer, so modules of many small functions
look worse than they are: it shows where to look, and ``make bench`` what a change saves.
"""

from __future__ import annotations

import argparse
import os
import pstats
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve

from . import results
from .figures import table
from .measurement import hits, paced, settle, warm
from .origin import origin
from .results import keep
from .setups import Site, certificate, hospproxy

Function = tuple[str, int, str]
"""File, line and name, as pstats has them."""
_WAITING = ("<method 'poll' of 'select.epoll' objects>", "<built-in method select.epoll_wait>")


def part_of(file: str) -> str:
    """The part to which a file's time is added: a module of hospproxy, or a library and its first folder."""
    if file in ("~", "") or file.startswith("<"):
        return "built in"
    parts = Path(file).parts
    for mark in ("hospproxy", "hosp_standin"):
        if mark in parts and "site-packages" not in parts:
            return "/".join(parts[parts.index(mark) :])
    if "site-packages" in parts:
        inside = parts[parts.index("site-packages") + 1 :]
        return "/".join(inside[:2] if inside[0] == "twisted" else inside[:1])
    return "standard library"


def shares(spent: Mapping[Function, float]) -> list[tuple[str, float]]:
    """Share of each part in all time, the largest first.

    :param spent: seconds in each function itself, without what it calls.
    """
    by_part = dict[str, float]()
    for (file, _, _), seconds in spent.items():
        by_part[part_of(file)] = by_part.get(part_of(file), 0.0) + seconds
    whole = sum(by_part.values()) or 1.0
    return sorted(
        ((part, each / whole) for part, each in by_part.items()), key=lambda each: (-each[1], each[0])
    )


def functions(stats: pstats.Stats) -> tuple[dict[Function, float], int]:
    """Seconds in each function without waiting, and the number of calls."""
    spent, calls = dict[Function, float](), 0
    for function, (_, number, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        if function[2] not in _WAITING:
            spent[function] = own
            calls += number
    return spent, calls


def main(arguments: Sequence[str]) -> int:
    """Profile hits and print the largest parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.profile", description=__doc__)
    parser.add_argument("--requests", type=int, default=5000, help="hits (default 5000)")
    parser.add_argument("--rows", type=int, default=30, help="parts to print (default 30)")
    parser.add_argument("--keep", type=Path, help="also write the profile, for pstats or other viewers")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hospproxy-profile-") as name:
        folder, file = Path(name), (options.keep or Path(name, "profile")).absolute()
        file.unlink(missing_ok=True)
        with origin(folder / "origin") as upstream:
            own = folder / "hospproxy"
            own.mkdir()
            site = Site(own, upstream.port, *certificate(folder / "tls"))
            with hospproxy(evolve(site, twistd=("-m", "benchmarks.peers.profiled", str(file)))) as peer:
                warm(peer, True, hits())
                assert peer.tls is not None
                script = hits()
                requests = [script[each % len(script)] for each in range(options.requests)]
                os.kill(peer.roots[0], signal.SIGUSR2)
                paced(peer.tls, True, requests)
                os.kill(peer.roots[0], signal.SIGUSR2)
                settle(peer.roots)
        spent, calls = functions(pstats.Stats(str(file)))
    whole = sum(spent.values())
    each_us = whole / options.requests * 1e6
    print(f"{options.requests:,} hits, {calls / options.requests:,.0f} calls and {each_us:,.0f} µs each\n")
    found = shares(spent)[: options.rows]
    figures = {part: {"share": [share], "us": [share * each_us]} for part, share in found}
    keep(
        results.FILE,
        "profile",
        1,
        f"{options.requests:,} hits, {calls / options.requests:,.0f} calls each",
        figures,
    )
    rows = [[part, f"{share:.1%}", f"{share * each_us:.1f}"] for part, share in found]
    print(table(["part", "share", "µs a hit, under cProfile"], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
