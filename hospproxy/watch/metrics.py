"""Counts and durations for Prometheus. Which there are stands in one table, from which docs/metrics.md is made too."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
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
from .merging import Snapshot, snapshot_of
from .table import METRICS, PREFIX, Metric

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""What ``Metrics.render`` gives (Prometheus text exposition format)."""

MAX_SERIES = 500
"""Label combinations of one metric; whatever comes beyond them is counted under "other", so that memory is bounded."""

MAX_COMPLAINTS = 1000
"""Mistakes that are logged, each once."""

OTHER = "other"


@implementer(IMeter)
class Metrics:
    """All metrics of one process, in a registry of its own.

    :param version: of the program, for ``build_info``.
    :param strict: an unknown name, label or word is a KeyError. Otherwise it is logged once; a name or label is dropped
        and a word counted as "other": a wrong counter is no reason to fail a request.
    """

    _log = Logger()

    def __init__(self, version: str = "", *, strict: bool = False) -> None:
        # Or each counter has a second series of its time of birth, of use to nobody here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._strict = strict
        self._registry = CollectorRegistry()
        self._known = {metric.name: metric for metric in METRICS}
        self._families = {metric.name: self._family(metric) for metric in METRICS}
        self._children: dict[str, dict[tuple[str, ...], Any]] = {metric.name: {} for metric in METRICS}
        self._complained: set[str] = set()
        ProcessCollector(registry=self._registry)
        self._families["build_info"].labels(version=version, python=platform.python_version()).set(1)

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        child = self._child("counter", name, labels)
        if child is not None:
            child.inc(amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        child = self._child("histogram", name, labels)
        if child is not None:
            child.observe(seconds)

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        gauge = self._child("gauge", name, labels)
        if gauge is not None:
            gauge.set_function(self._guarded(name, read))

    def value(self, name: str, **labels: str) -> float | None:
        """One sample as it stands, or None: for tests and for the status page.

        :param name: without prefix; of a histogram with ``_count`` or ``_sum``.
        """
        return self._registry.get_sample_value(f"{PREFIX}_{name}", labels)

    def render(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)

    def snapshot(self, reasons: Mapping[str, str]) -> Snapshot:
        """Everything, to be merged with that of other workers.

        :param reasons: of ``Health``.
        """
        return snapshot_of(self._registry, reasons)

    def _family(self, metric: Metric) -> Any:
        given: dict[str, Any] = {"namespace": PREFIX, "registry": self._registry}
        if metric.kind == "histogram":
            return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, **given)
        kind = Counter if metric.kind == "counter" else Gauge
        return kind(metric.name, metric.help, metric.labels, **given)

    def _child(self, kind: str, name: str, labels: dict[str, str]) -> Any:
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
            self._log.error("There is no {what} in the table of metrics", what=what)

    def _guarded(self, name: str, read: Callable[[], float]) -> Callable[[], float]:
        def guarded() -> float:
            try:
                return float(read())
            except Exception:  # one part that cannot say must not take the others' numbers away
                self._log.failure("Gauge {name} cannot be read", name=name)
                return float("nan")

        return guarded


@implementer(IMeter)
class NullMeter:
    """Counts nothing."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        pass

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        pass

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        pass
