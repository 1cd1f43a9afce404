"""The dashboard, alert rules and recording rules in deploy/ use only metrics, labels and values that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.table import METRICS, OF_WORKERS, PREFIX

ROOT = Path(__file__).resolve().parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "hospproxy.json"
KNOWN = {f"{PREFIX}_{metric.name}": metric for metric in (*METRICS, *OF_WORKERS)}
OTHERS = {"up", "process_resident_memory_bytes"}
_NAME = re.compile(r"(?<![\w:\"])((?:job:)?(?:hospproxy|process)_\w+(?::\w+)?|up)(?![\w(\"])(\{[^}]*\})?")
_MATCH = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_BY = re.compile(r"\bby \(([^)]*)\)")
_LABELS = {"job", "instance", "worker", "le"}


def rules(name: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((PROMETHEUS / name).read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules("recording.yml")}


def expressions() -> Iterator[tuple[str, str]]:
    """Where an expression stands, and the expression."""
    for name in ("recording.yml", "alerts.yml"):
        for rule in rules(name):
            yield f"{name}: {rule.get('record', rule.get('alert'))}", rule["expr"]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"dashboard: {panel['title']}", target["expr"]
    for each in dashboard["annotations"]["list"]:
        yield f"dashboard: {each['name']}", each["expr"]
    for each in dashboard["templating"]["list"]:
        if each["type"] == "query":
            yield f"dashboard: {each['name']}", each["query"]["query"]


def mistakes(expression: str, series: set[str]) -> list[str]:
    """What an expression uses that does not exist.

    :param series: names of recording rules.
    """
    found: list[str] = []
    labels: set[str] = set(_LABELS)
    names = _NAME.findall(expression)
    for name, selector in names:
        metric = KNOWN.get(re.sub(r"_(bucket|count|sum)$", "", name)) if name not in KNOWN else KNOWN[name]
        if metric is None:
            if name not in series | OTHERS:
                found.append(name)
            continue
        if (metric.kind == "histogram") is (name in KNOWN):
            found.append(f"{name}: a histogram is read by its _bucket, _sum or _count")
        labels |= set(metric.labels)
        for label, how, value in _MATCH.findall(selector):
            if label not in {*metric.labels, *_LABELS}:
                found.append(f"{name}{{{label}}}")
            words = metric.words.get(label)
            for word in value.split("|") if "~" in how else [value]:
                if words is not None and word not in words:
                    found.append(f"{name}{{{label}={word}}}")
    for by in _BY.findall(expression):
        found += [f"by {label}" for label in re.split(r",\s*", by) if label not in labels]
    return found if names else [f"no metric in {expression}"]


class Monitoring(SynchronousTestCase):
    def test_every_expression_uses_what_exists(self) -> None:
        checked = 0
        for where, expression in expressions():
            self.assertEqual(mistakes(expression, recorded()), [], where)
            checked += 1
        self.assertGreater(checked, 40)

    def test_brackets_are_closed(self) -> None:
        for where, expression in expressions():
            for begin, end in ("()", "[]", "{}"):
                self.assertEqual(expression.count(begin), expression.count(end), where)

    def test_mistakes_are_found(self) -> None:
        for expression in (
            "sum(rate(hospproxy_request_total[5m]))",
            "rate(hospproxy_request_seconds[5m])",
            'hospproxy_writes_total{outcome="lost"}',
            'hospproxy_writes_total{result="unknown"}',
            "sum by (route) (hospproxy_writes_total)",
            "job:hospproxy_nothing:rate5m",
            "vector(1)",
        ):
            self.assertNotEqual(mistakes(expression, recorded()), [], expression)

    def test_every_recorded_series_is_used(self) -> None:
        used = "\n".join(expression for _, expression in expressions())
        self.assertEqual([name for name in recorded() if name not in used], [])

    def test_alerts_have_a_severity_and_say_what_is_wrong(self) -> None:
        names = [rule["alert"] for rule in rules("alerts.yml")]
        self.assertEqual(len(names), len(set(names)))
        for rule in rules("alerts.yml"):
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
            self.assertGreater(len(rule["annotations"]["summary"]), 20)
            for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
                self.assertIn(label, rule["expr"] + ("instance" if rule["expr"].startswith("up") else ""))

    def test_panels_do_not_lie_over_each_other(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertEqual(taken & cells, set(), panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells
