"""What the status page and the surge rules need of the metrics of all workers, at one moment. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import field, frozen

from ..merge import MetricFamily, MetricSeries, Overview, summable
from ..table import PREFIX

NEEDED: Final = (
    "requests_total", "request_seconds", "upstream_requests_total", "upstream_seconds", "gate_refused_total",
    "writes_total", "retries_total", "alerts_total", "arrival_refusals_total", "admission_failures_total",
    "admission_refused_total", "unhandled_errors_total", "gate_in_flight", "gate_left_behind", "gate_waiting",
    "gate_limit", "gate_surge", "places_owned", "breaker_open", "upstream_stalled", "cache_bytes", "cache_entries",
    "cache_disk_bytes", "ledger_open", "screening_pending", "redis_up", "sharing_lease", "sharing_members",
    "record_disk_full", "record_writer_up", "record_writer_behind_records", "arrival_connections", "alerts_recent",
    "certificate_expiry_seconds",
)  # fmt: skip
"""Metrics that are read, without the prefix."""

_SUMMED: Final = (
    "gate_in_flight", "gate_left_behind", "gate_waiting", "places_owned", "cache_bytes", "cache_entries",
    "cache_disk_bytes", "screening_pending", "arrival_connections", "alerts_recent",
)  # fmt: skip
"""Gauges of which every worker has its own part."""
_LARGEST: Final = (
    "gate_limit",
    "gate_surge",
    "breaker_open",
    "upstream_stalled",
    "ledger_open",
    "record_disk_full",
)
"""Gauges by which all workers describe the same thing, or where the worst worker counts."""
_SMALLEST: Final = ("redis_up", "sharing_lease")

MOST_KEYS: Final = 1000
"""Most counters of one sample: the metrics are bounded, and this is what the buckets of a week can hold."""


@frozen(slots=True)
class Sample:
    """The counters and gauges of all workers at one moment.

    :param counters: sums since the start: kind and labels → count, such as ``request|GET /notes|2xx``.
    :param gauges: name → value over all workers.
    :param files: seconds until a certificate expires, by its file.
    :param sinks: audit sink → (accepts records, records that it has not got yet).
    """

    counters: Mapping[str, float] = field(factory=dict)
    gauges: Mapping[str, float] = field(factory=dict)
    files: Mapping[str, float] = field(factory=dict)
    sinks: Mapping[str, tuple[bool, float]] = field(factory=dict)


def _request(labels: Mapping[str, str]) -> Iterable[str]:
    yield f"request|{labels['method']} {labels['route']}|{labels['status_class']}"
    if labels["cache"] != "none":
        yield f"cache|{labels['cache']}"


def _one(kind: str, *names: str) -> Callable[[Mapping[str, str]], Iterable[str]]:
    def keys(labels: Mapping[str, str]) -> Iterable[str]:
        yield "|".join((kind, *(labels[name] for name in names)))

    return keys


_COUNTERS: Final[Mapping[str, Callable[[Mapping[str, str]], Iterable[str]]]] = {
    "requests_total": _request,
    "request_seconds_bucket": _one("took", "le"),
    "upstream_requests_total": _one("hosp", "outcome"),
    "upstream_seconds_bucket": _one("hosp_took", "le"),
    "upstream_seconds_sum": _one("hosp_seconds"),
    "gate_refused_total": _one("refused", "reason"),
    "writes_total": _one("write", "outcome"),
    "retries_total": _one("retry", "reason"),
    "alerts_total": _one("alert", "rule"),
    "arrival_refusals_total": _one("arrival", "status"),
    "admission_failures_total": _one("failed log-in"),
    "admission_refused_total": _one("admission", "reason"),
    "unhandled_errors_total": _one("bug"),
}


def sample_of(overview: Overview) -> Sample:
    """Read a sample from the snapshots of all workers. Series that are missing count as nothing."""
    counters: dict[str, float] = {}
    families = [family for seen in overview.seen.values() for family in summable(seen.families)]
    for name, series in _series((*families, *overview.rest)):
        keys = _COUNTERS.get(name)
        for key in () if keys is None else keys(series.labels):
            if key in counters or len(counters) < MOST_KEYS:
                counters[key] = counters.get(key, 0.0) + series.value
    _apart(counters, "took|")
    _apart(counters, "hosp_took|")
    gauges: dict[str, float] = {}
    files: dict[str, float] = {}
    sinks: dict[str, tuple[bool, float]] = {}
    for seen in overview.seen.values():
        for name, series in _series(family for family in seen.families if family.kind == "gauge"):
            _read_gauge(gauges, name, series)
            if name == "certificate_expiry_seconds":
                file = series.labels["file"]
                files[file] = min(series.value, files.get(file, series.value))
            elif name in ("record_writer_up", "record_writer_behind_records"):
                up, behind = sinks.get(series.labels["writer"], (True, 0.0))
                sinks[series.labels["writer"]] = (
                    (up and series.value > 0, behind)
                    if name == "record_writer_up"
                    else (up, behind + series.value)
                )
    return Sample(counters, gauges, files, sinks)


def _series(families: Iterable[MetricFamily]) -> Iterable[tuple[str, MetricSeries]]:
    begin = len(PREFIX) + 1
    for family in families:
        for series in family.series:
            yield series.name[begin:], series


def _read_gauge(gauges: dict[str, float], name: str, series: MetricSeries) -> None:
    value = series.value
    if value != value:  # NaN: a gauge that could not be read
        return
    if name in _SUMMED:
        gauges[name] = gauges.get(name, 0.0) + value
    elif name in _LARGEST:
        gauges[name] = max(gauges.get(name, value), value)
    elif name in _SMALLEST:
        gauges[name] = min(gauges.get(name, value), value)
    elif name == "sharing_members":
        key = f"members_{series.labels['state']}"
        gauges[key] = max(gauges.get(key, value), value)


def _apart(counters: dict[str, float], kind: str) -> None:
    """Turn the cumulative buckets of a histogram into counts of their own."""
    below = 0.0
    for key in sorted((each for each in counters if each.startswith(kind)), key=lambda each: bound(each)):
        counters[key], below = counters[key] - below, counters[key]


def bound(key: str) -> float:
    """Return the upper bound of a histogram's bucket in seconds, from its key."""
    return float(key.rpartition("|")[2])


def since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """Return what was counted between two samples; only what is not 0.

    A counter that fell was reset by a restart: all of it is new.
    """
    grown = {}
    for key, value in now.items():
        last = before.get(key, 0.0)
        growth = value - last if value >= last else value
        if growth > 0:
            grown[key] = growth
    return grown
