"""Builds the document of ``/status.json``, which the status page draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from attrs import frozen

from ...options.source import NO_RELOAD, OptionsState
from .. import merge
from . import changes, figures
from .history import WINDOWS, Window
from .machines import Machine
from .recorder import Recorder
from .surges import Watch


@frozen(slots=True)
class About:
    """What changes only with the options.

    :param slots: ``gate.concurrency``.
    :param max_queue: ``gate.max_queue``.
    :param options: what has become of the options since the start.
    :param max_connections: of clients, over all workers.
    """

    version: str
    workers: int
    slots: int
    max_queue: int
    shares: bool
    options: OptionsState = NO_RELOAD
    max_connections: int = 0


def window_named(name: str) -> Window | None:
    """Return the window of this name; None if there is none."""
    return next((window for window in WINDOWS if window.name == name), None)


def document(
    recorder: Recorder, about: About, window: Window, reasons: Mapping[str, str], now: float
) -> dict[str, Any]:
    """Build the document of ``/status.json``.

    :param reasons: why requests should not go to this process, as in ``/ready``. With several workers all count.
    :param now: seconds since the epoch.
    """
    if about.workers > 1 and recorder.overview is not None:
        reasons = merge.reasons(recorder.overview)
    gauges = dict(recorder.latest.gauges) if recorder.latest is not None else {}
    buckets = recorder.history.shown(window, now)
    return {
        "v": 1,
        "time": round(now, 3),
        "version": about.version,
        "options": {
            "generation": about.options.generation,
            "applied": about.options.applied_at or None,
            "refused": about.options.refused_at or None,
        },
        "started": round(recorder.started_at, 3),
        "ready": not reasons,
        "reasons": dict(reasons),
        "now": _now(recorder, about, gauges, now),
        "surges": _surges(recorder),
        "workers": _workers(recorder, about),
        "machines": _machines(recorder, about, gauges, now),
        "certificates": _certificates(recorder, now),
        "sinks": _sinks(recorder),
        "window": {"name": window.name, "step_s": window.step_s, "length_s": window.length_s},
        "totals": figures.totals(buckets),
        "success": {each.name: _success(recorder, each, now) for each in WINDOWS},
        "series": figures.series(buckets, window, now),
    }


def _now(recorder: Recorder, about: About, gauges: Mapping[str, float], now: float) -> dict[str, Any]:
    newest = [bucket for bucket in recorder.history.shown(WINDOWS[0], now) if bucket.start > now - 30]
    watched_s = sum(bucket.seconds for bucket in newest)
    every, _ = figures.requests(figures.total(newest))
    breaker = gauges.get("breaker_open")
    return {
        "requests_per_s": every / watched_s if watched_s else None,
        "slots": about.slots,
        "limit": gauges.get("gate_limit"),
        "in_flight": gauges.get("gate_in_flight"),
        "left_behind": gauges.get("gate_left_behind"),
        "waiting": gauges.get("gate_waiting"),
        "max_queue": about.max_queue,
        "breaker": None if breaker is None else ("open" if breaker else "closed"),
        "stalled": bool(gauges.get("upstream_stalled")),
        "surplus_waits": bool(gauges.get("gate_surge")),
        "connections": gauges.get("arrival_connections"),
        "max_connections": about.max_connections,
        "cache_entries": gauges.get("cache_entries"),
        "cache_bytes": gauges.get("cache_bytes"),
        "cache_disk_bytes": gauges.get("cache_disk_bytes"),
        "writes_open": gauges.get("ledger_open"),
        "screening_pending": gauges.get("screening_pending"),
        "disk_full": bool(gauges.get("record_disk_full")),
        "alerts_last_hour": gauges.get("alerts_recent"),
    }


def _active(recorder: Recorder) -> list[tuple[int, Watch]]:
    """Return the surges that go on, and over how many machines each is counted."""
    number = recorder.together.machines
    found = {watch.signal: (number, watch) for watch in recorder.together.surges.watches if watch.active}
    for watch in recorder.surges.watches:
        if watch.active:
            found.setdefault(watch.signal, (1, watch))
    return list(found.values())


def _surges(recorder: Recorder) -> dict[str, Any]:
    return {
        "active": [
            {
                "signal": watch.signal,
                "since_s": watch.since_s,
                "value": watch.recent.value,
                "usual": watch.usual,
                "machines": machines,
            }
            for machines, watch in _active(recorder)
        ],
        "recent": [
            {
                "time": round(when, 3),
                "signal": change.signal,
                "began": change.began,
                "text": changes.words(change),
            }
            for when, change in list(recorder.shown)[:10]
        ],
    }


def _workers(recorder: Recorder, about: About) -> dict[str, Any]:
    overview = recorder.overview
    missing = {} if overview is None else merge.missing(overview)
    return {
        "configured": about.workers,
        "running": 0 if overview is None else len(overview.seen),
        "missing": missing,
        "restarts": 0 if overview is None else sum(overview.restarts.values()),
    }


def _machines(
    recorder: Recorder, about: About, gauges: Mapping[str, float], now: float
) -> dict[str, Any] | None:
    if not about.shares:
        return None
    seen = recorder.machines.seen if recorder.machines is not None else None
    return {
        "redis": bool(gauges.get("redis_up")),
        "lease": bool(gauges.get("sharing_lease")),
        "workers": gauges.get("members_live"),
        "vanished": gauges.get("members_vanished"),
        "counted_together": recorder.together.machines,
        "others": None if seen is None else [_machine(each, now) for _, each in sorted(seen.items())],
    }


def _machine(machine: Machine, now: float) -> dict[str, Any]:
    figures = machine.figures
    return {
        "name": figures.name,
        "version": figures.version,
        "ready": figures.ready,
        "running_s": round(max(0.0, now - figures.started)),
        "workers": figures.workers,
        "running": figures.running,
        "in_flight": figures.in_flight,
        "waiting": figures.waiting,
        "age_s": round(machine.age_s, 1),
    }


def _certificates(recorder: Recorder, now: float) -> list[dict[str, Any]]:
    files = recorder.latest.files if recorder.latest is not None else {}
    return [
        {"file": PurePath(file).name, "expires": round(now + left_s), "left_s": round(left_s)}
        for file, left_s in sorted(files.items(), key=lambda each: each[1])
    ]


def _sinks(recorder: Recorder) -> list[dict[str, Any]]:
    sinks = recorder.latest.sinks if recorder.latest is not None else {}
    return [{"name": name, "up": up, "behind": behind} for name, (up, behind) in sorted(sinks.items())]


def _success(recorder: Recorder, window: Window, now: float) -> dict[str, float | None]:
    counts = figures.total(recorder.history.shown(window, now))
    return {
        "users": figures.success(*figures.requests(counts)),
        "hosp": figures.success(*figures.attempts(counts)),
    }
