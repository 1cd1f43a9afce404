"""Rules on HOSP's places: never more requests in hand than `gate.concurrency`, whatever clients and networks do."""

from __future__ import annotations

from collections.abc import Iterator

from ..history import InHand
from .truth import Truth, Violation


def in_hand(truth: Truth) -> Iterator[Violation]:
    """
    HOSP has no more requests in hand than allowed.

    Not counted are probes (``GET /``), those that a dead process left behind, those whose connection HOSP or the
    network broke off, and those that HOSP must have finished (`late_commit_s` after it received them).
    """
    premises = truth.history.premises
    spans = list(_spans(truth))
    edges = sorted(
        [(begins, 1, number) for number, begins, ends in spans]
        + [(ends, -1, number) for number, begins, ends in spans]
    )
    open_now: set[int] = set()
    worst, at, whose = 0, 0.0, frozenset[int]()
    for moment, step, number in edges:
        open_now.add(number) if step > 0 else open_now.discard(number)
        if len(open_now) > worst:
            worst, at, whose = len(open_now), moment, frozenset(open_now)
    if worst > premises.concurrency:
        names = {each.request: f"{each.method} {each.target}" for each in truth.history.of(InHand)}
        listed = ", ".join(sorted(names[number] for number in whose))
        text = f"HOSP had {worst} requests in hand, {premises.concurrency} are allowed: {listed[:300]}"
        yield Violation("load.in_hand", at, text)


def _spans(truth: Truth) -> Iterator[tuple[int, float, float]]:
    """Each request that counts: its number, from when to when."""
    late_s = truth.history.premises.late_commit_s
    begun: dict[int, InHand] = {}
    for each in truth.history.of(InHand):
        if each.what == "begins":
            if each.target != "/":
                begun[each.request] = each
        elif (began := begun.get(each.request)) is not None and not _goes_on(truth, each):
            del begun[each.request]
            yield each.request, began.at, min(each.at, began.at + late_s)
    for number, began in begun.items():
        yield number, began.at, began.at + late_s


def _goes_on(truth: Truth, event: InHand) -> bool:
    """Whether a request still counts after this event: its client left, and it was the proxy that closed."""
    if event.what != "deserted":
        return False
    died = any(True for _ in truth.deaths(event.at - 1.0, event.at + 0.01))
    return not died and not truth.troubled(
        event.at - 1.0, event.at, "reset", "split", "kill", "power", "restart"
    )


RULES = (in_hand,)
