from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import hospproxy
from hospproxy.watch.table import METRICS

KINDS = {
    "count": "counter",
    "counter": "counter",
    "observe": "histogram",
    "timer": "histogram",
    "gauge": "gauge",
}


def uses(source: str) -> Iterator[tuple[str, str, frozenset[str]]]:
    """(kind, name, labels) of each metric call with a literal name."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        kind, name = KINDS.get(node.func.attr), node.args[0]
        on = ast.unparse(node.func.value).lower()
        if kind and on.endswith("meter") and isinstance(name, ast.Constant):
            yield kind, str(name.value), frozenset(str(keyword.arg) for keyword in node.keywords)


class EveryPartCountsByTheTable(SynchronousTestCase):
    """In production a wrong metric name is only logged, so this test finds it."""

    def test_names_kinds_and_labels(self) -> None:
        table = {(metric.kind, metric.name, frozenset(metric.labels)) for metric in METRICS}
        found = 0
        for path in Path(hospproxy.__file__).parent.rglob("*.py"):
            for use in uses(path.read_text()):
                found += 1
                self.assertIn(use, table, path.name)
        self.assertGreater(found, 5)

    def test_a_wrong_label_would_be_seen(self) -> None:
        [use] = uses("self._meter.count('looks_total', 2, outcome='x')")
        self.assertEqual(use, ("counter", "looks_total", frozenset({"outcome"})))
