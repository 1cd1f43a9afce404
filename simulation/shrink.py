"""Shrinks a plan that breaks a rule: removes faults and errands for as long as the rule stays broken.

Delta debugging (Zeller and Hildebrandt) over the pieces of the plan. Decisions are keyed by content, so the remaining
pieces behave as before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import evolve, frozen

from .faults import SETTLE_S, Plan
from .runner import Result, run

Try = Callable[[Plan], Result]
_ERRAND = re.compile(r"\be\d+\b")


@frozen
class Piece:
    """One thing that may be removed: a fault, an errand, or a fault of HOSP's."""

    kind: str
    value: Any


def pieces_of(plan: Plan) -> list[Piece]:
    """All pieces that may be removed."""
    found = [Piece("errand", errand) for errand in plan.errands]
    found += [Piece("fault", fault) for fault in plan.faults]
    found += [Piece("named", item) for item in plan.hosp.named.items()]
    return found + [Piece("slow", slow) for slow in plan.hosp.slow]


def plan_of(plan: Plan, pieces: Sequence[Piece]) -> Plan:
    """The plan with only these pieces."""
    hosp = evolve(
        plan.hosp,
        named=dict(piece.value for piece in pieces if piece.kind == "named"),
        slow=tuple(piece.value for piece in pieces if piece.kind == "slow"),
    )
    return evolve(
        plan,
        hosp=hosp,
        errands=tuple(piece.value for piece in pieces if piece.kind == "errand"),
        faults=tuple(piece.value for piece in pieces if piece.kind == "fault"),
    )


def shrink(result: Result, rule: str, budget_s: float = 120.0, attempt: Try = run) -> Result:
    """The smallest plan found within the budget.

    :param rule: the broken rule that must stay broken.
    :param budget_s: real seconds.
    """
    until = time.monotonic() + budget_s
    best = result

    def breaks(plan: Plan) -> bool:
        nonlocal best
        if time.monotonic() > until:
            return False
        tried = attempt(plan)
        if rule in tried.rules:
            best = tried
            return True
        return False

    plan = result.fixed
    if not breaks(plan):
        return result
    short = _short(plan, next(each.at for each in result.violations if each.rule == rule))
    plan = short if short != plan and breaks(short) else plan
    pieces = pieces_of(plan)
    for fewer in _guesses(pieces, [each.text for each in result.violations if each.rule == rule]):
        if len(fewer) < len(pieces) and breaks(plan_of(plan, fewer)):
            pieces = fewer
            break
    pieces = _few(plan, pieces, breaks)
    _plainer(plan_of(plan, pieces), breaks)
    return best


def _guesses(pieces: list[Piece], texts: list[str]) -> Iterator[list[Piece]]:
    """Likely reductions: the errands that a violation names, alone or with faults; or all errands, without faults."""
    for text in texts[:2]:
        named = set(_ERRAND.findall(text))
        errands = [piece for piece in pieces if piece.kind == "errand" and piece.value["id"] in named]
        who = {piece.value["who"] for piece in errands}
        failing = [piece for piece in pieces if piece.kind == "named" and piece.value[0].split(" ")[2] in who]
        if errands:
            yield errands
            yield errands + failing
            yield errands + [piece for piece in pieces if piece.kind != "errand"]
    yield [piece for piece in pieces if piece.kind == "errand"]
    yield [piece for piece in pieces if piece.kind != "named"]


def _short(plan: Plan, at: float) -> Plan:
    """The same plan, ended soon after the violation."""
    errands = tuple(errand for errand in plan.errands if errand["at"] <= at)
    faults = tuple(fault for fault in plan.faults if fault.at <= at)
    busy = min(plan.busy_s, at + 5.0)
    settle = min(SETTLE_S, max(40.0, at - busy + 40.0))
    return evolve(plan, errands=errands, faults=faults, busy_s=busy, settle_s=settle)


def _few(plan: Plan, pieces: list[Piece], breaks: Callable[[Plan], bool]) -> list[Piece]:
    """Delta debugging: leave out halves, then quarters, and so on."""
    parts = 2
    while len(pieces) >= 2:
        size = max(1, len(pieces) // parts)
        for start in range(0, len(pieces), size):
            fewer = pieces[:start] + pieces[start + size :]
            if fewer and breaks(plan_of(plan, fewer)):
                pieces, parts = fewer, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(pieces), parts * 2)
    return pieces


def _plainer(plan: Plan, breaks: Callable[[Plan], bool]) -> None:
    """Remove what is unusual in the world: imported ids, marks, odd timestamps, other shapes."""
    for change in (
        {"imported": False},
        {"marked": False},
        {"stamps_differ": False},
        {"hosp_skew_s": 0.0},
        {"visible": "all"},
    ):
        simpler = evolve(plan, world={**plan.world, **change})
        if simpler != plan and breaks(simpler):
            plan = simpler
    if plan.shape != "one":
        breaks(evolve(plan, shape="one"))
