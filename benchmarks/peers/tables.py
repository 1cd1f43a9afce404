"""The tables of docs/performance.md, from what the trials found. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .figures import Spread, ratios, table

BEGIN, END = "<!-- made by make bench: begin -->", "<!-- made by make bench: end -->"
OURS, BASE = "hospproxy", "nginx"

Trial = Mapping[str, Any]
"""``rounds``, ``unit`` (what one round is), and ``found``: by peer and figure, the value of each round."""
Found = Mapping[str, Mapping[str, Sequence[float]]]

_TARGETS = ["", "today", "wanted", "better still"]
_TIMES = "× nginx"
_COST = "µs a request"
_WIDTH = 100
_KEPT_RATE = 190.0
"""Of the 200 misses a second: what still counts as that rate."""


def inserted(page: str, made: str) -> str:
    """The page with everything between the two marks replaced.

    :raise ValueError: it does not have both marks, in their order.
    """
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{made.strip()}\n{END}{after}"


def page(machine: str, trials: Mapping[str, Trial]) -> str:
    """All tables, in a fixed order, of the trials that were run."""
    parts = [textwrap.fill(machine, _WIDTH)]
    rows = summary({name: trial["found"] for name, trial in trials.items()})
    if rows:
        parts.append("### Targets\nOne process of hospproxy with everything on.\n\n" + table(_TARGETS, rows))
    for name, make in _SECTIONS.items():
        if trials.get(name, {}).get("found"):
            trial = trials[name]
            rounds = "1 round" if trial["rounds"] == 1 else f"{trial['rounds']} rounds"
            parts.append(f"{make(trial['found'])}\n\n{rounds} of {trial['unit']}.")
    return "\n\n".join(parts)


def summary(trials: Mapping[str, Found]) -> list[list[str]]:
    """What is wanted of hospproxy beside what it does, of the trials that were run."""
    flask, rows = "Flask + Redis", []

    def row(trial: str, words: str, show: Callable[[Found], str], must: str, goal: str) -> None:
        found = trials.get(trial, {})
        if OURS in found or f"{OURS}, 1" in found:
            rows.append([words, show(found) or "–", must, goal])

    row("tls-hit", "TLS hit, × nginx", lambda found: _times(found, OURS), "≤ 2.2", "≤ 1.0")
    row("plain-hit", "plain hit, × nginx", lambda found: _times(found, OURS), "≤ 2.2", "≤ 1.2")
    row(
        "tls-hit",
        "TLS hits a second, × Flask + Redis",
        lambda f: _times(f, OURS, flask, "rate"),
        "≥ 15",
        "≥ 30",
    )
    row("pass", "pass-through, s for 1,000", lambda f: _thousand(f, OURS), "≤ 0.35", "≤ 0.15")
    row("miss", "miss, added p50 ms", lambda found: _added(found, OURS, "p50"), "≤ 1.5", "≤ 1")
    row("miss", "miss, added p99 ms", lambda found: _added(found, OURS, "p99"), "≤ 6", "≤ 3")
    two, one = f"{OURS}, 2", f"{OURS}, 1"
    row("workers", "two workers, × one", lambda f: _times(f, two, one), "≤ 1.10", "≤ 1.03")
    row("start", "start, s", lambda found: _show(found[OURS], "start", 1), "≤ 1.5", "")
    row("start", "idle memory, MiB", lambda found: _show(found[OURS], "idle_mib", 0), "≤ 70", "")
    for kind, most in (("plain", "≤ 16"), ("TLS", "≤ 45")):
        name, found = f"{OURS}, {kind}", trials.get("waiting", {})
        if name in found:
            rows.append([f"a waiting request, {kind}, KiB", _show(found[name], "kib", 1), most, ""])
    return rows


def _thousand(found: Found, name: str) -> str:
    """Processor seconds of a thousand requests."""
    return Spread.of([each / 1000 for each in found[name]["us"]]).show()


def _added(found: Found, name: str, figure: str) -> str:
    """Time beyond the upstream's own, round by round; a word instead where the rate was not kept.

    A peer that gets no core answers late, and its times would say how busy the machine was.
    """
    if Spread.of(found[name].get("rate", [0.0])).middle < _KEPT_RATE:
        return "rate not kept"
    ours, alone = found[name][figure], found.get("none", {}).get(figure, [])
    if len(ours) != len(alone):
        return "–"
    return Spread.of([one - other for one, other in zip(ours, alone, strict=True)]).show(1)


def _times(found: Found, name: str, base: str = BASE, figure: str = "us") -> str:
    """Ratio to another peer in the same round; empty where one of the two lacks a round."""
    if name == base or base not in found or name not in found:
        return ""
    ours, theirs = found[name].get(figure, []), found[base].get(figure, [])
    if len(ours) != len(theirs) or not all(theirs):
        return ""
    found_ratios = ratios(ours, theirs)
    return found_ratios.show(1 if found_ratios.middle >= 10 else 2)


def _costs(title: str, words: str) -> Callable[[Found], str]:
    def make(found: Found) -> str:
        rows = [
            [
                name, _show(values, "us", 0), _times(found, name), _show(values, "rate", 0),
                f"{_show(values, 'p50', 1)}, {_show(values, 'p99', 1)}",
            ]
            for name, values in found.items()
        ]  # fmt: skip
        return _section(title, words) + table(["", _COST, _TIMES, "responses/s", "p50, p99 ms"], rows)

    return make


def _section(title: str, words: str) -> str:
    """Heading and text above a table, in lines as this repository's pages have them."""
    return f"### {title}\n{textwrap.fill(words, _WIDTH)}\n\n"


def _show(values: Mapping[str, Sequence[float]], figure: str, digits: int) -> str:
    if figure in ("rate", "p50", "p99"):
        return f"{Spread.of(values[figure]).middle:,.{digits}f}"
    return Spread.of(values[figure]).show(digits)


def _misses(found: Found) -> str:
    rows = [
        [
            name,
            _show(values, "us", 0),
            _show(values, "rate", 0),
            _added(found, name, "p50"),
            _added(found, name, "p99"),
        ]
        for name, values in found.items()
        if name != "none"
    ]
    words = (
        "Records that no cache holds, plain, 200 a second. Times are those beyond the upstream's own; a peer that did"
        " not get enough of the machine for this rate has none."
    )
    return _section("A miss", words) + table(["", _COST, "responses/s", "added p50 ms", "added p99 ms"], rows)


def _waiting(found: Found) -> str:
    rows = [
        [
            name, *(f"{Spread.of(values[figure]).middle:,.{digits}f}" for figure, digits in (
                ("kib", 1), ("upstream", 0), ("refused", 0), ("us", 0), ("p99", 0))),
        ]
        for name, values in found.items()
    ]  # fmt: skip
    words = (
        "Each connection has one request, and the upstream responds to none of them until all have come. Memory is"
        " the growth of the tree."
    )
    heads = [
        "",
        "KiB each",
        "at the upstream",
        "no 200",
        _COST,
        "until the last but 1 % have their responses, ms",
    ]
    return _section("Waiting requests", words) + table(heads, rows)


def _starts(found: Found) -> str:
    rows = [
        [name, _show(values, "start", 2), _show(values, "start_processor", 2), _show(values, "idle_mib", 0)]
        for name, values in found.items()
    ]
    words = (
        "From the start of the process to the first response; memory after the mixed requests, when idle. HAProxy takes"
        " the memory of its cache (256 MiB) at its start."
    )
    heads = ["", "start, s", "its processor time, s", "idle memory, MiB"]
    return _section("Start and idle memory", words) + table(heads, rows)


def _workers(found: Found) -> str:
    rows = [
        [
            name,
            _show(values, "us", 0),
            _times(found, name, f"{name.rpartition(',')[0]}, 1"),
            _show(values, "rate", 0),
        ]
        for name, values in found.items()
    ]
    words = "TLS hits on all cores. With two workers hospproxy needs a Redis, which is counted."
    return _section("Two workers", words) + table(["", _COST, "× one worker", "responses/s"], rows)


def _growth(title: str, words: str) -> Callable[[Found], str]:
    def make(found: Found) -> str:
        rows = [
            [*name.rsplit(", ", 1), _show(values, "us", 0), _show(values, "mib", 0)]
            for name, values in found.items()
        ]
        heads = ["", title.rpartition(" ")[2], _COST, "memory, MiB"]
        return _section(title, words) + table(heads, rows)

    return make


def _profile(found: Found) -> str:
    rows = [[part, f"{values['share'][0]:.1%}", f"{values['us'][0]:,.0f}"] for part, values in found.items()]
    words = (
        "Processor time of the reactor's thread under cProfile, which makes each call dearer. Built in: functions of"
        " Python itself and of libraries in C, system calls included."
    )
    return _section("Where the time of a TLS hit goes", words) + table(["part", "share", "µs a hit"], rows)


def _instructions(found: Found) -> str:
    rows = [
        [name, f"{values['instructions'][0]:,.0f}", _times(found, name, figure="instructions")]
        for name, values in found.items()
    ]
    words = "Counted by Valgrind in the serving process, without the kernel."
    return _section("Instructions of a TLS hit", words) + table(["", "instructions", _TIMES], rows)


_SECTIONS: Mapping[str, Callable[[Found], str]] = {
    "tls-hit": _costs("TLS hit", "Responses from the cache over kept-alive TLS connections."),
    "plain-hit": _costs("Plain hit", "Responses from the cache over kept-alive plain connections."),
    "pass": _costs("Pass-through", "The same requests, plain, with the cache switched off."),
    "miss": _misses,
    "waiting": _waiting,
    "connections-tls": _costs(
        "A new TLS connection for each hit", "A full handshake, one response, and the close."
    ),
    "connections-plain": _costs("A new plain connection for each hit", "One response, and the close."),
    "start": _starts,
    "workers": _workers,
    "grow-connections": _growth("Growth with connections", "TLS hits; all connections are in use."),
    "grow-entries": _growth("Growth with entries", "TLS hits on more records, read in order."),
    "grow-accounts": _growth("Growth with accounts", "TLS hits on one list, for more members of staff."),
    "grow-records": _growth(
        "Growth with records", "TLS hits with more audit records in the journal and index."
    ),
    "profile": _profile,
    "instructions": _instructions,
}
