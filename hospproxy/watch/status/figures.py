"""Success rates, percentiles and series of a window of the history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final

from ..table import METRICS
from .history import Bucket, Window

Counts = Mapping[str, float]
QUANTILES: Final = (0.5, 0.95, 0.99)
_BAD_ATTEMPTS: Final = frozenset({"5xx", "not sent", "failed after sending", "bad answer", "failed"})
_FAILED: Final = frozenset({"5xx", "none"})
FROM_MEMORY: Final = frozenset({"hit", "stale", "hidden", "collapsed"})
"""What the cache answers without a request of its own to HOSP."""
AWAY: Final = "away"
"""Key of the seconds in which the breaker was open, as seen every few seconds."""
_HIGHEST: Final = ("gate_waiting", "arrival_connections")
MOST_ROUTES: Final = 12
_SLOW: Final = next(metric.buckets for metric in METRICS if metric.name == "request_seconds")
_BOUNDS: Final = tuple("+Inf" if bound == inf else repr(bound) for bound in (*_SLOW, inf))
"""Bounds of the buckets of both histograms, as prometheus-client writes them."""


def total(buckets: Iterable[Bucket]) -> dict[str, float]:
    """Sum the counts of buckets, key by key."""
    found: dict[str, float] = {}
    for bucket in buckets:
        for key, count in bucket.counts.items():
            found[key] = found.get(key, 0.0) + count
    return found


def of_kind(counts: Counts, kind: str) -> dict[str, float]:
    """Return the counts of one kind, by the rest of their key."""
    begin = len(kind) + 1
    return {key[begin:]: count for key, count in counts.items() if key.startswith(kind + "|")}


def sums(counts: Counts, kind: str) -> float:
    """Sum the counts of a kind over the rest of their keys."""
    return sum(count for key, count in counts.items() if key == kind or key.startswith(kind + "|"))


def quantile(counts: Counts, kind: str, share: float) -> float | None:
    """Estimate a percentile in seconds from a histogram, as Prometheus does; None if nothing was counted.

    :param kind: "took" or "hosp_took".
    :param share: 0.95 for the 95th percentile.
    """
    bars = [counts.get(f"{kind}|{upper}", 0.0) for upper in _BOUNDS]
    target, below = share * sum(bars), 0.0
    if not target:
        return None
    lower = 0.0
    for upper, count in zip(map(float, _BOUNDS), bars, strict=True):
        if below + count >= target and count:
            # Above the highest bound nothing more is known.
            return lower if upper == inf else lower + (upper - lower) * (target - below) / count
        below, lower = below + count, upper
    return lower


def percentiles(counts: Counts, kind: str) -> dict[str, float | None]:
    """Return p50, p95 and p99 in seconds."""
    return {f"p{share * 100:.0f}": quantile(counts, kind, share) for share in QUANTILES}


def requests(counts: Counts) -> tuple[float, float]:
    """Return the number of client requests, and of those that failed: 5xx, or no response."""
    every = failed = 0.0
    for key, count in of_kind(counts, "request").items():
        every += count
        failed += count if key.rpartition("|")[2] in _FAILED else 0.0
    return every, failed


def attempts(counts: Counts) -> tuple[float, float]:
    """Return the number of attempts at HOSP whose end is known, and of those that failed."""
    every = failed = 0.0
    for outcome, count in of_kind(counts, "hosp").items():
        every += count if outcome != "cancelled" else 0.0
        failed += count if outcome in _BAD_ATTEMPTS else 0.0
    return every, failed


def success(every: float, failed: float) -> float | None:
    """Return the share that succeeded; None if there was nothing."""
    return (every - failed) / every if every else None


def totals(buckets: Sequence[Bucket]) -> dict[str, Any]:
    """Return the figures of a window."""
    counts = total(buckets)
    watched_s = sum(bucket.seconds for bucket in buckets)
    every, failed = requests(counts)
    sent, unanswered = attempts(counts)
    cache = of_kind(counts, "cache")
    lookups = sum(cache.values())
    return {
        "watched_s": round(watched_s, 1),
        "users": {
            "requests": every,
            "failed": failed,
            "success": success(every, failed),
            "per_s": every / watched_s if watched_s else 0.0,
            **percentiles(counts, "took"),
        },
        "hosp": {
            "attempts": sent,
            "failed": unanswered,
            "success": success(sent, unanswered),
            "outcomes": of_kind(counts, "hosp"),
            **percentiles(counts, "hosp_took"),
        },
        "cache": {
            "lookups": lookups,
            "hit_rate": sum(cache.get(word, 0.0) for word in FROM_MEMORY) / lookups if lookups else None,
            "words": cache,
        },
        "away_s": round(counts.get(AWAY, 0.0)),
        "highest": {
            name: max((each.peaks[name] for each in buckets if name in each.peaks), default=None)
            for name in _HIGHEST
        },
        "refused": of_kind(counts, "refused"),
        "writes": of_kind(counts, "write"),
        "retries": sums(counts, "retry"),
        "alerts": of_kind(counts, "alert"),
        "arrival_refusals": of_kind(counts, "arrival"),
        "admission_refused": of_kind(counts, "admission"),
        "failed_logins": counts.get("failed log-in", 0.0),
        "bugs": counts.get("bug", 0.0),
        "routes": _routes(counts),
    }


def _routes(counts: Counts) -> list[dict[str, Any]]:
    """Return the routes with the most requests, and those with the most errors."""
    found: dict[str, dict[str, float]] = {}
    for key, count in of_kind(counts, "request").items():
        route, _, status = key.rpartition("|")
        by_status = found.setdefault(route, {})
        by_status[status] = by_status.get(status, 0.0) + count

    def errors(route: str) -> float:
        return sum(found[route].get(status, 0.0) for status in _FAILED)

    busiest = sorted(found, key=lambda route: -sum(found[route].values()))[:MOST_ROUTES]
    sickest = sorted((route for route in found if errors(route)), key=lambda route: -errors(route))
    chosen = dict.fromkeys((*busiest, *sickest[:MOST_ROUTES]))
    return [
        {"route": route, "requests": sum(found[route].values()), "by_status": found[route]}
        for route in chosen
    ]


Line = list[float | None]


def series(buckets: Sequence[Bucket], window: Window, now: float) -> dict[str, Line]:
    """Return the lines of the charts: one value for each step of the window, None where the proxy did not run."""
    by_start = {bucket.start: bucket for bucket in buckets}
    newest = int(now // window.step_s) * window.step_s
    starts = [newest - window.step_s * back for back in reversed(range(window.buckets))]
    lines: dict[str, Line] = {"time": [float(start) for start in starts]}
    for start in starts:
        bucket = by_start.get(start)
        for name, value in _points(bucket).items():
            lines.setdefault(name, []).append(value)
    return lines


def _points(bucket: Bucket | None) -> dict[str, float | None]:
    counts = bucket.counts if bucket is not None else {}
    peaks = bucket.peaks if bucket is not None else {}
    every, failed = requests(counts)
    sent, unanswered = attempts(counts)
    took, hosp = percentiles(counts, "took"), percentiles(counts, "hosp_took")
    watched_s = bucket.seconds if bucket is not None else 0.0

    def rate(number: float) -> float | None:
        return number / watched_s if watched_s else None

    return {
        "requests_per_s": rate(every),
        "failed_per_s": rate(failed),
        "attempts_per_s": rate(sent),
        "refused_per_s": rate(sums(counts, "refused")),
        "success": success(every, failed),
        "hosp_success": success(sent, unanswered),
        **took,
        **{f"hosp_{name}": value for name, value in hosp.items()},
        "waiting": peaks.get("gate_waiting"),
        "in_flight": peaks.get("gate_in_flight"),
        "breaker": peaks.get("breaker_open"),
    }
