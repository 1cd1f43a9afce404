"""Every metric name and label value that the code counts is in the table of metrics."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import hospproxy
from hospproxy.exchange.words import status_class
from hospproxy.http.errors import BadAnswer, FailedAfterSending, NotSent, ProxyError
from hospproxy.outward.gate.breaker import BreakerState
from hospproxy.outward.gate.queue import SlotRefusal
from hospproxy.outward.retry import RetrySafety
from hospproxy.outward.writes.verdict import Found, NotKnowable, NotThere
from hospproxy.watch.table import METRICS, OF_WORKERS, Metric

KNOWN = {metric.name: metric for metric in (*METRICS, *OF_WORKERS)}
OPEN = frozenset(
    {"version", "python", "route", "status", "file", "rule", "writer", "worker"}
)  # fmt: skip
"""Labels whose values are not in the code."""


def counted(tree: ast.AST) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """Name and labels of every ``….count("name", …)`` and similar call."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        name = node.args[0]
        if (
            node.func.attr in ("count", "observe", "gauge")
            and isinstance(name, ast.Constant)
            and name.value in KNOWN
        ):
            yield str(name.value), {str(one.arg): one.value for one in node.keywords}


def literals(value: ast.expr) -> Iterator[str]:
    """The literal strings that an expression may evaluate to."""
    if isinstance(value, ast.Constant):
        yield str(value.value)
    elif isinstance(value, ast.IfExp):
        yield from literals(value.body)
        yield from literals(value.orelse)
    elif isinstance(value, ast.BoolOp):
        for part in value.values:
            yield from literals(part)


def words(name: str, label: str) -> set[str]:
    return set(KNOWN[name].words[label])


class WordTests(SynchronousTestCase):
    def test_what_stands_in_the_code_is_declared(self) -> None:
        seen: set[str] = set()
        wrong = []
        for path in Path(hospproxy.__file__).parent.rglob("*.py"):
            for name, labels in counted(ast.parse(path.read_text("utf-8"))):
                seen.add(name)
                wrong += [
                    f"{path.name}: {name}{{{label}={word!r}}}"
                    for label, value in labels.items()
                    for word in literals(value)
                    if word not in KNOWN[name].words.get(label, (word,))
                ]
        self.assertEqual(wrong, [])
        self.assertGreater(len(seen), 60)

    def test_every_label_is_closed_or_known_to_be_open(self) -> None:
        def open_labels(metric: Metric) -> set[str]:
            return {label for label in metric.labels if label not in metric.words}

        for metric in KNOWN.values():
            self.assertLessEqual(open_labels(metric), OPEN, metric.name)
            for label, known in metric.words.items():
                self.assertIn(label, metric.labels)
                self.assertEqual(len(set(known)), len(known), metric.name)
            self.assertEqual(len(set(metric.labels)), len(metric.labels), metric.name)

    def test_enums_are_declared_whole(self) -> None:
        self.assertEqual(words("gate_refused_total", "reason"), {*(one.value for one in SlotRefusal), "away"})
        self.assertLessEqual({one.value for one in BreakerState}, words("breaker_events_total", "event"))
        again = {one.value for one in RetrySafety} - {RetrySafety.NO.value}
        self.assertLessEqual(again, words("retries_total", "reason"))
        verdicts = {kind.__name__.lower() for kind in (Found, NotThere, NotKnowable)}
        self.assertEqual(words("looks_total", "result"), {*verdicts, "none"})

    def test_what_an_attempt_can_come_to(self) -> None:
        outcomes = {kind.outcome for kind in (NotSent, FailedAfterSending, BadAnswer, ProxyError)}
        classes = {status_class(status) for status in range(100, 1000)}
        self.assertEqual(words("upstream_requests_total", "outcome"), outcomes | classes | {"cancelled"})
