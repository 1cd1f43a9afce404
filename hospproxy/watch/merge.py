"""Merges the metrics and health of several workers into one response. Rules without I/O.

Counters and histograms are summed; gauges and all of ``process_*`` describe one process and get a label ``worker``. The
counts of a worker stay in the sum after its end: Prometheus takes a falling counter for one that was reset, and would
count everything that the other workers have counted a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric as Exposed

from .table import OF_WORKERS, PREFIX

_SUMMED = ("counter", "histogram")
_ONE_PROCESS = "process_"


class MetricSeries(msgspec.Struct, frozen=True, array_like=True):
    """One sample of a metric, in a form that the workers' channel carries.

    :param name: of the sample: the family's name with ``_total``, ``_bucket`` … appended.
    """

    name: str
    labels: dict[str, str]
    value: float


class MetricFamily(msgspec.Struct, frozen=True, array_like=True):
    """All series of one metric, with its name, type and help text.

    :param kind: "counter", "gauge", "histogram" …, as Prometheus calls them.
    """

    name: str
    kind: str
    help: str
    series: list[MetricSeries]


class Snapshot(msgspec.Struct, frozen=True):
    """The metrics and health of one worker at one moment.

    :param reasons: why it should get no requests: check → reason.
    """

    families: list[MetricFamily]
    reasons: dict[str, str]


class Overview(msgspec.Struct, frozen=True):
    """The snapshots of all workers. Keys are the workers' numbers.

    :param seen: snapshots of the workers that have answered.
    :param missing: why the other workers have not answered.
    :param rest: counts of workers that have ended, and the last known counts of those that do not answer.
    :param restarts: how often each worker was replaced.
    :param failures: how often each worker has not answered in time.
    """

    seen: dict[int, Snapshot]
    missing: dict[int, str]
    rest: list[MetricFamily] = []
    restarts: dict[int, int] = {}
    failures: dict[int, int] = {}


def snapshot_of(collectors: Iterable[Any], reasons: Mapping[str, str]) -> Snapshot:
    """Take a snapshot of prometheus-client registries or metrics."""
    families = [
        MetricFamily(
            family.name,
            family.type,
            family.documentation,
            [
                MetricSeries(sample.name, dict(sample.labels), float(sample.value))
                for sample in family.samples
            ],
        )
        for collector in collectors
        for family in collector.collect()
    ]
    return Snapshot(families, dict(reasons))


def summable(families: Iterable[MetricFamily]) -> list[MetricFamily]:
    """Return the families whose counts stay in the sum after their worker has ended."""
    return [each for each in families if each.kind in _SUMMED and not each.name.startswith(_ONE_PROCESS)]


def summed(families: Iterable[MetricFamily]) -> list[MetricFamily]:
    """Merge families of the same name, and sum their series."""
    merged = _Merged()
    for family in families:
        merged.add(family)
    return list(merged.families())


class _Merged:
    """Sums of series, by family, then by name and labels, in the order of their arrival."""

    def __init__(self) -> None:
        self._heads: dict[str, MetricFamily] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}

    def add(self, family: MetricFamily, **labels: str) -> None:
        """Add a family of one worker to the sums, series by series.

        :param labels: labels to add to each of its series.
        """
        self._heads.setdefault(family.name, family)
        values = self._values.setdefault(family.name, {})
        for series in family.series:
            key = (series.name, tuple({**series.labels, **labels}.items()))
            values[key] = values.get(key, 0.0) + series.value

    def families(self) -> Iterator[MetricFamily]:
        for name, head in self._heads.items():
            series = [MetricSeries(key[0], dict(key[1]), value) for key, value in self._values[name].items()]
            yield MetricFamily(name, head.kind, head.help, series)


def merged(overview: Overview) -> bytes:
    """Render the metrics of all workers in Prometheus's text exposition format."""
    found = _Merged()
    for slot, snapshot in sorted(overview.seen.items()):
        sums = {id(each) for each in summable(snapshot.families)}
        for family in snapshot.families:
            if id(family) in sums:
                found.add(family)
            else:
                found.add(family, worker=str(slot))
    for family in (*overview.rest, *_of_workers(overview)):
        found.add(family)
    return _exposed(found.families())


def _of_workers(overview: Overview) -> Iterator[MetricFamily]:
    """Build the metrics about the workers themselves."""
    slots = sorted({*overview.seen, *overview.missing})
    numbers: dict[str, list[tuple[dict[str, str], float]]] = {
        "workers_running": [({}, float(len(overview.seen)))],
        "worker_up": [({"worker": str(slot)}, float(slot in overview.seen)) for slot in slots],
        "worker_restarts_total": [
            ({"worker": str(slot)}, float(overview.restarts.get(slot, 0))) for slot in slots
        ],
        "worker_scrape_failed_total": [
            ({"worker": str(slot)}, float(overview.failures.get(slot, 0))) for slot in slots
        ],
    }
    for metric in OF_WORKERS:
        name = f"{PREFIX}_{metric.name}"
        series = [MetricSeries(name, labels, value) for labels, value in numbers[metric.name]]
        family = name.removesuffix("_total") if metric.kind == "counter" else name
        yield MetricFamily(family, metric.kind, metric.help, series)


def _exposed(families: Iterable[MetricFamily]) -> bytes:
    made = []
    for family in families:
        one = Exposed(family.name, family.help, family.kind)
        for series in family.series:
            one.add_sample(series.name, series.labels, series.value)
        made.append(one)
    return generate_latest(_Fixed(made))


class _Fixed:
    """Passes a fixed list of families to prometheus-client as a registry."""

    def __init__(self, families: list[Exposed]) -> None:
        self._families = families

    def collect(self) -> list[Exposed]:
        return self._families


class KeptCounts:
    """The last counts of every worker, so that sums never fall."""

    def __init__(self) -> None:
        self._latest: dict[int, list[MetricFamily]] = {}
        self._ended: list[MetricFamily] = []

    def saw(self, slot: int, snapshot: Snapshot) -> None:
        """Note the counts of a worker."""
        self._latest[slot] = summable(snapshot.families)

    def ended(self, slot: int) -> None:
        """Add the counts of an ended worker to the ended sums; its successor starts at zero."""
        self._ended = summed((*self._ended, *self._latest.pop(slot, ())))

    def without(self, seen: Iterable[int]) -> list[MetricFamily]:
        """Sum the counts of all workers, ended ones included, that are not in ``seen``."""
        silent = [family for slot in self._latest.keys() - set(seen) for family in self._latest[slot]]
        return summed((*self._ended, *silent))


DRAINING = "draining"
"""The check that fails while a process stops."""


def _leaving(overview: Overview) -> set[int]:
    """Return the workers that drain while others do not: they take no new connections, and will be replaced."""
    leaving = {slot for slot, snapshot in overview.seen.items() if DRAINING in snapshot.reasons}
    return leaving if leaving != set(overview.seen) else set()


def reasons(overview: Overview) -> dict[str, str]:
    """Return why requests should go elsewhere, by worker and check.

    A missing worker is no reason, and neither is one that drains alone: it takes no connections, but the others do.
    """
    leaving = _leaving(overview)
    return {
        f"worker {slot} {check}": words
        for slot, snapshot in sorted(overview.seen.items())
        if slot not in leaving
        for check, words in snapshot.reasons.items()
    }


def missing(overview: Overview) -> dict[str, str]:
    """Return the missing workers, and why each is missing."""
    found = {**overview.missing, **dict.fromkeys(_leaving(overview), "it drains, and will be replaced")}
    return {f"worker {slot}": words for slot, words in sorted(found.items())}
