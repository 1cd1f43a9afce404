"""What is measured: each trial runs its peers side by side and loads them in turn, forwards and backwards."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from ..processes import NotStarted
from .figures import Failed
from .measurement import (
    Run,
    check,
    check_asked,
    check_recorded,
    hits,
    measured,
    paced,
    recorded,
    settle,
    warm,
    write_requests,
    wrk,
)
from .origin import LISTS, Origin, fetch, mixed, origin, request
from .process_tree import memory_bytes, processor_s
from .setups import CACHES, OURS, PLACES, TLS, Peer, Site, certificate

Found = dict[str, dict[str, list[float]]]
"""By peer and figure: its value in each round. A peer that failed has none, and its reason is printed."""


@frozen
class Effort:
    """How much of everything.

    :param rounds: runs of each peer.
    :param seconds: of one run.
    :param connections: of wrk.
    :param paced: requests of one run at a fixed rate.
    :param waiting: requests that wait at one time.
    :param only: names of the peers; empty: all.
    """

    folder: Path
    rounds: int = 5
    seconds: float = 5.0
    connections: int = 64
    paced: int = 2000
    waiting: int = 9900
    only: tuple[str, ...] = ()

    def among(self, names: Sequence[str]) -> list[str]:
        """Of these peers, those that are wanted."""
        return [name for name in names if not self.only or name in self.only]

    def place(self, name: str) -> Path:
        """A new empty folder."""
        made = self.folder / f"{len(list(self.folder.iterdir())):03}-{name.replace(' ', '')}"
        made.mkdir()
        return made


def say(words: str) -> None:
    """Print progress, apart from the tables."""
    print(words, file=sys.stderr, flush=True)


@contextlib.contextmanager
def opened(
    effort: Effort, upstream: Origin, names: Sequence[str], **more: object
) -> Iterator[dict[str, Peer]]:
    """Run peers beside each other; each one is checked first, and one that fails is left out.

    :param more: fields of `Site`.
    """
    pair = certificate(effort.place("certificate"))
    with contextlib.ExitStack() as stack:
        peers = {}
        for name in names:
            site = evolve(Site(effort.place(name), upstream.port, *pair), **more)  # type: ignore[arg-type]
            try:
                peer = stack.enter_context(PLACES[name](site))
                check(peer, upstream, site.caching and name in CACHES)
                peers[name] = peer
            except (NotStarted, Failed, OSError) as problem:
                say(f"  {name}: left out: {str(problem)[-500:]}")
        yield peers


def in_turn(rounds: int, names: Sequence[str]) -> Iterator[str]:
    """A B C, C B A, A B C …: a slow drift of the machine affects all alike."""
    for number in range(rounds):
        yield from names if number % 2 == 0 else reversed(names)


def note(found: Found, name: str, **figures: float) -> None:
    """Add one round's figures, and print them."""
    for figure, value in figures.items():
        found.setdefault(name, {}).setdefault(figure, []).append(value)
    say(f"  {name:18} " + "  ".join(f"{figure} {value:,.1f}" for figure, value in figures.items()))


@contextlib.contextmanager
def _round(name: str) -> Iterator[None]:
    """One round of a peer. If it fails, the reason is printed and the trial goes on."""
    try:
        yield
    except Failed as problem:
        say(f"  {name}: {problem}")


def _note_load(found: Found, name: str, run: Run) -> None:
    load = run.load
    note(found, name, us=run.cost_us, rate=load.rate, p50=load.p50_s * 1e3, p99=load.p99_s * 1e3)


def _loaded(effort: Effort, names: Sequence[str], *, tls: bool, caching: bool, close: bool = False) -> Found:
    found: Found = {}
    requests = [request(path, staff, close) for path, staff in mixed()]
    with (
        origin(effort.place("origin")) as upstream,
        opened(effort, upstream, effort.among(names), tls=tls, caching=caching) as peers,
    ):
        file = write_requests(effort.folder, requests)
        for peer in peers.values():
            warm(peer, tls, hits())
            settle(peer.roots)
        for name in in_turn(effort.rounds, list(peers)):
            peer, before, records = peers[name], upstream.requests(), recorded(peers[name])
            port = peer.tls if tls else peer.plain
            assert port is not None
            load = partial(wrk, port, tls, file, effort.connections, effort.seconds)
            with _round(name):
                run = measured(peer.roots, load)
                check_asked(before, upstream.requests(), run.load.requests, caching)
                check_recorded(peer, records, run.load.requests)
                _note_load(found, name, run)
    return found


def tls_hit(effort: Effort) -> Found:
    """Hits over kept-alive TLS connections."""
    return _loaded(effort, TLS, tls=True, caching=True)


def plain_hit(effort: Effort) -> Found:
    """Hits over kept-alive plain connections."""
    return _loaded(effort, CACHES, tls=False, caching=True)


def passing(effort: Effort) -> Found:
    """The same requests with no cache: each goes to the upstream."""
    names = [name for name in PLACES if name != "Flask + Redis"]
    return _loaded(effort, names, tls=False, caching=False)


def connections_plain(effort: Effort) -> Found:
    """A new plain connection for each hit."""
    return _loaded(effort, CACHES, tls=False, caching=True, close=True)


def connections_tls(effort: Effort) -> Found:
    """A new TLS connection, with a full handshake, for each hit."""
    return _loaded(effort, TLS, tls=True, caching=True, close=True)


def misses(effort: Effort) -> Found:
    """Records that no cache holds, 200 a second; times beside those of the upstream alone."""
    found, number = Found(), 1000
    with (
        origin(effort.place("origin")) as upstream,
        opened(effort, upstream, effort.among(list(PLACES))) as peers,
    ):
        for peer in peers.values():
            warm(peer, False, hits())
            settle(peer.roots)
        ports = {"none": upstream.port, **{name: peer.plain for name, peer in peers.items()}}
        for name in in_turn(effort.rounds, list(ports)):
            requests = [request(f"/patients/{number + each}", 1 + each % 8) for each in range(effort.paced)]
            number += effort.paced
            port, roots = ports[name], peers[name].roots if name in peers else ()
            assert port is not None
            with _round(name):
                _note_load(found, name, measured(roots, partial(paced, port, False, requests, 200.0)))
    return found


def starts(effort: Effort) -> Found:
    """Start-up until the first response with a body from the upstream, then memory when idle."""
    found: Found = {}
    pair = certificate(effort.place("certificate"))
    with origin(effort.place("origin")) as upstream:
        for name in in_turn(effort.rounds, effort.among(list(PLACES))):
            began = time.monotonic()
            try:
                with PLACES[name](Site(effort.place(name), upstream.port, *pair)) as peer:
                    assert peer.plain is not None
                    if fetch(peer.plain, LISTS[0], 1) != (200, upstream.body(LISTS[0])):
                        raise Failed("a wrong first response")
                    seconds, spent = time.monotonic() - began, processor_s(peer.roots)
                    warm(peer, False, hits())
                    settle(peer.roots)
                    memory = memory_bytes(peer.roots)
            except (NotStarted, Failed, OSError) as problem:
                say(f"  {name}: {str(problem)[-500:]}")
                continue
            note(found, name, start=seconds, start_processor=spent, idle_mib=memory / 2**20)
    return found


def workers(effort: Effort) -> Found:
    """Hits over TLS: two workers beside one, on all cores; hospproxy's two need a Redis, which is counted."""
    found: Found = {}
    with origin(effort.place("origin")) as upstream, contextlib.ExitStack() as stack:
        peers = dict[str, Peer]()
        for name in effort.among([OURS, "nginx"]):
            for number in (1, 2):
                one = stack.enter_context(opened(effort, upstream, [name], workers=number))
                peers |= {f"{name}, {number}": peer for peer in one.values()}
        file = write_requests(effort.folder, hits())
        for peer in peers.values():
            for _ in range(3):  # each worker fills its own cache
                warm(peer, True, hits())
            settle(peer.roots)
        for name in in_turn(effort.rounds, list(peers)):
            port = peers[name].tls
            assert port is not None
            run = measured(
                peers[name].roots, partial(wrk, port, True, file, effort.connections, effort.seconds)
            )
            note(found, name, us=run.cost_us, rate=run.load.rate)
    return found


TRIALS: Mapping[str, Callable[[Effort], Found]] = {
    "tls-hit": tls_hit,
    "plain-hit": plain_hit,
    "pass": passing,
    "miss": misses,
    "connections-tls": connections_tls,
    "connections-plain": connections_plain,
    "start": starts,
    "workers": workers,
}
