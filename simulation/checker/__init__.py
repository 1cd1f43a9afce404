"""The checker: rules over a whole history, by family. None of them uses the proxy's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..history import History
from . import delivery, http, load, order, reads, service, silence, trail, unknown_writes, writes
from .truth import Truth, Violation

Rule = Callable[[Truth], Iterator[Violation]]
RULES: tuple[Rule, ...] = (
    *writes.RULES, *unknown_writes.RULES, *order.RULES, *reads.RULES, *load.RULES, *trail.RULES, *service.RULES,
    *http.RULES, *silence.RULES, *delivery.RULES,
)  # fmt: skip


def check(history: History, rules: tuple[Rule, ...] = RULES) -> list[Violation]:
    """All broken promises in a history, by time."""
    truth = Truth(History(history.events))  # one that has not yet sorted its events by kind
    found = [violation for rule in rules for violation in rule(truth)]
    return sorted(found, key=lambda violation: (violation.at, violation.rule))


__all__ = ["RULES", "Truth", "Violation", "check"]
