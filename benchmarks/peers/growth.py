"""How the cost of a hit grows with connections, entries, accounts and records; hospproxy, with nginx beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from .measurement import hits, measured, paced, settle, warm, write_requests, wrk
from .origin import origin, request
from .process_tree import memory_bytes
from .setups import OURS, PLACES, Peer, Site, certificate
from .trials import Effort, Found, in_turn, note, opened

_CONNECTIONS = (16, 256, 2000)
_ENTRIES = (100, 1000, 10_000)
_ACCOUNTS = (10, 100, 1000)
_RECORDS = (0, 20_000, 100_000)


def connections(effort: Effort) -> Found:
    """The same hits over more connections, all in use."""
    found: Found = {}
    with (
        origin(effort.place("origin")) as upstream,
        opened(effort, upstream, effort.among([OURS, "nginx"])) as peers,
    ):
        file = write_requests(effort.folder, hits())
        for peer in peers.values():
            warm(peer, True, hits())
        for _ in range(effort.rounds):
            for number in _sizes(effort, _CONNECTIONS):
                for name, peer in peers.items():
                    _hit(found, effort, f"{name}, {number}", peer, file, number)
    return found


def entries(effort: Effort) -> Found:
    """More entries in the cache, read in order."""
    return _filled(
        effort,
        _ENTRIES,
        lambda number: [request(f"/patients/{each}", 1 + each % 8) for each in range(1, number + 1)],
    )


def accounts(effort: Effort) -> Found:
    """The same entry for more accounts."""
    return _filled(
        effort, _ACCOUNTS, lambda number: [request("/hospitals", each) for each in range(1, number + 1)]
    )


def records(effort: Effort) -> Found:
    """The same hits with more records in the journal and in its index; nginx keeps none."""
    found: Found = {}
    with (
        origin(effort.place("origin")) as upstream,
        opened(effort, upstream, effort.among([OURS])) as peers,
    ):
        file, made = write_requests(effort.folder, hits()), 0
        for name, peer in peers.items():
            warm(peer, True, hits())
            for number in _sizes(effort, _RECORDS):
                while made < number:
                    assert peer.tls is not None
                    made += wrk(peer.tls, True, file, effort.connections, 10.0).requests
                settle(peer.roots)
                for _ in range(effort.rounds):
                    made += _hit(found, effort, f"{name}, {number}", peer, file, effort.connections)
    return found


def _filled(effort: Effort, sizes: Sequence[int], requests: Callable[[int], list[bytes]]) -> Found:
    found: Found = {}
    numbers = _sizes(effort, sizes)
    with origin(effort.place("origin"), accounts=max(8, *sizes)) as upstream, contextlib.ExitStack() as stack:
        peers = {}
        for name in effort.among([OURS, "nginx"]):
            for number in numbers:
                peer = stack.enter_context(_open(effort, name, upstream.port))
                assert peer.tls is not None
                paced(peer.tls, True, requests(number), connections=8)
                settle(peer.roots)
                peers[f"{name}, {number}"] = (peer, write_requests(effort.folder, requests(number)))
        for row in in_turn(effort.rounds, list(peers)):
            peer, file = peers[row]
            _hit(found, effort, row, peer, file, effort.connections)
    return found


@contextlib.contextmanager
def _open(effort: Effort, name: str, port: int) -> Iterator[Peer]:
    pair = certificate(effort.place("certificate"))
    with PLACES[name](Site(effort.place(name), port, *pair)) as peer:
        yield peer


def _hit(found: Found, effort: Effort, row: str, peer: Peer, file: object, number: int) -> int:
    assert peer.tls is not None
    run = measured(peer.roots, lambda: wrk(peer.tls, True, file, number, effort.seconds))  # type: ignore[arg-type]
    note(found, row, us=run.cost_us, mib=memory_bytes(peer.roots) / 2**20)
    return run.load.requests


def _sizes(effort: Effort, sizes: Sequence[int]) -> Sequence[int]:
    """The first two of three where little is to be measured."""
    return sizes[:2] if effort.rounds < 2 else sizes
