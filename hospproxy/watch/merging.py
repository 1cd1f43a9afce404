"""Several workers' numbers and states become one answer: rules without I/O.

Counters and histograms are summed; what is a state of one process (gauges, and all of ``process_*``) is told apart by
a label ``worker``. What a worker had counted stays in the sum after its end: Prometheus takes a counter that falls for
one that began anew, and would count all that the others have counted once more.
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


class Series(msgspec.Struct, frozen=True, array_like=True):
    """One number.

    :param name: of the sample: that of its family, with ``_total``, ``_bucket`` … after it.
    """

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """All series of one metric.

    :param kind: "counter", "gauge", "histogram" …, as Prometheus calls them.
    """

    name: str
    kind: str
    help: str
    series: list[Series]


class Snapshot(msgspec.Struct, frozen=True):
    """One worker, at one moment.

    :param reasons: why it should be given no requests: check → words.
    """

    families: list[Family]
    reasons: dict[str, str]


class Overview(msgspec.Struct, frozen=True):
    """All workers.

    :param seen: those that have answered, by slot.
    :param missing: those that have not: why.
    :param rest: sums of those that have ended, and the last that is known of those that do not answer.
    :param restarts: by slot: how often it was replaced.
    :param failures: by slot: how often it has not answered in time.
    """

    seen: dict[int, Snapshot]
    missing: dict[int, str]
    rest: list[Family] = []
    restarts: dict[int, int] = {}
    failures: dict[int, int] = {}


def snapshot_of(registry: Any, reasons: Mapping[str, str]) -> Snapshot:
    """What a registry of prometheus-client holds."""
    families = [
        Family(
            family.name,
            family.type,
            family.documentation,
            [Series(sample.name, dict(sample.labels), float(sample.value)) for sample in family.samples],
        )
        for family in registry.collect()
    ]
    return Snapshot(families, dict(reasons))


def summable(families: Iterable[Family]) -> list[Family]:
    """Those that may go on counting after their worker has ended."""
    return [each for each in families if each.kind in _SUMMED and not each.name.startswith(_ONE_PROCESS)]


def summed(families: Iterable[Family]) -> list[Family]:
    """Each family once, with the sum of each of its series."""
    merged = _Merged()
    for family in families:
        merged.add(family)
    return list(merged.families())


class _Merged:
    """Families by name, series by name and labels, in the order in which they came."""

    def __init__(self) -> None:
        self._heads: dict[str, Family] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}

    def add(self, family: Family, **labels: str) -> None:
        """Sum it to what there is.

        :param labels: that each of its series gets.
        """
        self._heads.setdefault(family.name, family)
        values = self._values.setdefault(family.name, {})
        for series in family.series:
            key = (series.name, tuple({**series.labels, **labels}.items()))
            values[key] = values.get(key, 0.0) + series.value

    def families(self) -> Iterator[Family]:
        for name, head in self._heads.items():
            series = [Series(key[0], dict(key[1]), value) for key, value in self._values[name].items()]
            yield Family(name, head.kind, head.help, series)


def merged(overview: Overview) -> bytes:
    """All workers' metrics, as Prometheus reads them (text exposition format)."""
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


def _of_workers(overview: Overview) -> Iterator[Family]:
    """What is known of the workers themselves."""
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
        series = [Series(name, labels, value) for labels, value in numbers[metric.name]]
        family = name.removesuffix("_total") if metric.kind == "counter" else name
        yield Family(family, metric.kind, metric.help, series)


def _exposed(families: Iterable[Family]) -> bytes:
    made = []
    for family in families:
        one = Exposed(family.name, family.help, family.kind)
        for series in family.series:
            one.add_sample(series.name, series.labels, series.value)
        made.append(one)
    return generate_latest(_Fixed(made))


class _Fixed:
    """Stands where prometheus-client wants a registry."""

    def __init__(self, families: list[Exposed]) -> None:
        self._families = families

    def collect(self) -> list[Exposed]:
        return self._families


class Kept:
    """What workers have counted, so that a sum never falls."""

    def __init__(self) -> None:
        self._latest: dict[int, list[Family]] = {}
        self._ended: list[Family] = []

    def saw(self, slot: int, snapshot: Snapshot) -> None:
        """This worker has counted so far."""
        self._latest[slot] = summable(snapshot.families)

    def ended(self, slot: int) -> None:
        """This worker counts no more; its successor begins anew."""
        self._ended = summed((*self._ended, *self._latest.pop(slot, ())))

    def without(self, seen: Iterable[int]) -> list[Family]:
        """The sums of all that are not among those seen now."""
        silent = [family for slot in self._latest.keys() - set(seen) for family in self._latest[slot]]
        return summed((*self._ended, *silent))


DRAINING = "draining"
"""The check that fails while a process stops."""


def _leaving(overview: Overview) -> set[int]:
    """Workers that stop while others do not: they take no connections any more, and will be replaced."""
    leaving = {slot for slot, snapshot in overview.seen.items() if DRAINING in snapshot.reasons}
    return leaving if leaving != set(overview.seen) else set()


def reasons(overview: Overview) -> dict[str, str]:
    """Why requests should go elsewhere.

    A worker that is missing is no reason, and neither is one that stops alone:
    it takes no connection, and the others do.
    """
    leaving = _leaving(overview)
    return {
        f"worker {slot} {check}": words
        for slot, snapshot in sorted(overview.seen.items())
        if slot not in leaving
        for check, words in snapshot.reasons.items()
    }


def missing(overview: Overview) -> dict[str, str]:
    """Which workers are missing, and why."""
    found = {**overview.missing, **dict.fromkeys(_leaving(overview), "it stops, and will be replaced")}
    return {f"worker {slot}": words for slot, words in sorted(found.items())}
