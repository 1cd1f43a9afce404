"""Metrics for Prometheus. ``table.py`` defines them all; docs/metrics.md is generated from it too."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from twisted.logger import Logger
from zope.interface import implementer

from ..interfaces import IMeter
from .cells import CounterCell, TimerCell
from .merge import Snapshot, snapshot_of
from .table import METRICS, PREFIX, Metric

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""Content type of ``Metrics.render`` (Prometheus text exposition format)."""

MAX_SERIES = 500
"""Most label combinations of one metric; further ones count under "other", so that memory is bounded."""

MAX_READY = 5_000
"""Most combinations of a name and labels that are found without checking the labels again."""

MAX_COMPLAINTS = 1000
"""Most programming errors (unknown names, labels or words) that are logged, each once."""

OTHER = "other"


@implementer(IMeter)
class Metrics:
    """All metrics of one process, in their own registry.

    :param version: of the program, for ``build_info``.
    :param strict: raise KeyError for an unknown metric, label or label value. Otherwise log it once; an unknown metric
        or label is not counted, an unknown value counts as "other": a wrong counter must not fail a request.
    """

    _log = Logger()

    def __init__(self, version: str = "", *, strict: bool = False) -> None:
        # Without this each counter gets a second series with its creation time, which nothing here uses.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._strict = strict
        self._registry = CollectorRegistry()
        self._known = {metric.name: metric for metric in METRICS}
        self._families = {metric.name: self._family(metric) for metric in METRICS}
        self._children: dict[str, dict[tuple[str, ...], Any]] = {metric.name: {} for metric in METRICS}
        self._ready: dict[tuple[Any, ...], CounterCell | TimerCell] = {}
        """What counts for a kind, a name and labels."""
        self._complained: set[str] = set()
        self._cells: dict[Any, CounterCell | TimerCell] = {}
        ProcessCollector(registry=self._registry)
        self._families["build_info"].labels(version=version, python=platform.python_version()).set(1)

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        cell = self._cell("counter", name, labels)
        if cell is not None:
            cell.add(amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        cell = self._cell("histogram", name, labels)
        if cell is not None:
            cell.add(seconds)

    def counter(self, name: str, **labels: str) -> Callable[[], None]:
        cell = self._cell("counter", name, labels)
        return cell.add_one if isinstance(cell, CounterCell) else lambda: None

    def timer(self, name: str, **labels: str) -> Callable[[float], None]:
        cell = self._cell("histogram", name, labels)
        return (lambda _seconds: None) if cell is None else cell.add

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        gauge = self._checked_child("gauge", name, labels)
        if gauge is not None:
            gauge.set_function(self._guarded(name, read))

    def value(self, name: str, **labels: str) -> float | None:
        """Return the current value of one sample, or None; for tests and the status page.

        :param name: without the prefix; for a histogram, with ``_count`` or ``_sum``.
        """
        self._settle()
        return self._registry.get_sample_value(f"{PREFIX}_{name}", labels)

    def render(self) -> bytes:
        """Render all metrics in Prometheus's text exposition format."""
        self._settle()
        return generate_latest(self._registry)

    def _settle(self) -> None:
        """Add what the cells hold to the registry, before it is read."""
        for cell in self._cells.values():
            cell.settle()

    def snapshot(self, reasons: Mapping[str, str], only: Iterable[str] | None = None) -> Snapshot:
        """Take a snapshot of the metrics, to be merged with those of other workers.

        :param reasons: from ``Health.reasons``.
        :param only: names of the metrics to take, without the prefix; None: all.
        """
        self._settle()
        collectors = [self._registry] if only is None else [self._families[name] for name in only]
        return snapshot_of(collectors, reasons)

    def _family(self, metric: Metric) -> Any:
        given: dict[str, Any] = {"namespace": PREFIX, "registry": self._registry}
        if metric.kind == "histogram":
            return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, **given)
        kind = Counter if metric.kind == "counter" else Gauge
        return kind(metric.name, metric.help, metric.labels, **given)

    def _cell(self, kind: str, name: str, labels: dict[str, str]) -> CounterCell | TimerCell | None:
        key = (kind, name, *labels.items())
        cell = self._ready.get(key)
        if cell is None:
            child = self._checked_child(kind, name, labels)
            if child is None:
                return None
            cell = self._cells.get(child)
            if cell is None:
                buckets = self._known[name].buckets
                cell = CounterCell(child) if kind == "counter" else TimerCell(child, buckets)
                self._cells[child] = cell
            if len(self._ready) < MAX_READY:
                self._ready[key] = cell
        return cell

    def _checked_child(self, kind: str, name: str, labels: dict[str, str]) -> Any:
        metric = self._known.get(name)
        if metric is None or metric.kind != kind or set(labels) != set(metric.labels):
            return self._complain(f"{kind} {name}{{{','.join(sorted(labels))}}}")
        values = tuple(self._word(metric, label, labels[label]) for label in metric.labels)
        children = self._children[name]
        child = children.get(values)
        if child is None:
            if len(children) >= MAX_SERIES:
                values = (OTHER,) * len(values)
            family = self._families[name]
            child = children[values] = family.labels(*values) if values else family
        return child

    def _word(self, metric: Metric, label: str, value: str) -> str:
        known = metric.words.get(label)
        if known is None or value in known:
            return value
        self._complain(f"{metric.kind} {metric.name}{{{label}={value!r}}}")
        return OTHER

    def _complain(self, what: str) -> None:
        if self._strict:
            raise KeyError(what)
        if what not in self._complained and len(self._complained) < MAX_COMPLAINTS:
            self._complained.add(what)
            self._log.error("metric {what} is not defined in watch/table.py (a bug); see there", what=what)

    def _guarded(self, name: str, read: Callable[[], float]) -> Callable[[], float]:
        def guarded() -> float:
            try:
                return float(read())
            except Exception:  # one failing gauge must not hide the other metrics
                self._log.failure("gauge {name} cannot be read (a bug); it is reported as NaN", name=name)
                return float("nan")

        return guarded
