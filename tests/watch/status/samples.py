"""Snapshots of workers, for tests of the status page."""

from __future__ import annotations

from hospproxy.watch.merge import Overview
from hospproxy.watch.metrics import Metrics
from hospproxy.watch.status.counts import NEEDED


def served(
    meter: Metrics, times: int, status_class: str = "2xx", cache: str = "miss", seconds: float = 0.2
) -> None:
    """Count requests of users as the proxy does."""
    for _ in range(times):
        meter.count("requests_total", method="GET", route="/notes", status_class=status_class, cache=cache)
        meter.observe("request_seconds", seconds, route="/notes")


def attempted(meter: Metrics, times: int, outcome: str = "2xx", seconds: float = 4.0) -> None:
    """Count attempts at HOSP."""
    for _ in range(times):
        meter.count("upstream_requests_total", route="/notes", outcome=outcome)
        meter.observe("upstream_seconds", seconds, route="/notes")


def overview(*meters: Metrics) -> Overview:
    """The snapshots of some workers."""
    return Overview({slot: meter.snapshot({}, NEEDED) for slot, meter in enumerate(meters)}, {})
