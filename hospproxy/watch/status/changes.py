"""Log lines for changes of state that no part sees by itself: one when it begins, one when it ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from .counts import Sample
from .figures import of_kind
from .surges import Change

CALM_S = 30.0
"""Seconds without a refusal after which the queue counts as well again."""

_WHAT = {
    "traffic": "requests: {value:.1f}/s, usually {usual:.1f}/s",
    "refusals": "requests without a slot at HOSP: {value:.1f}/s, usually below {usual:.1f}/s",
    "errors": "failed requests: {value:.0%}, usually below {usual:.0%}",
    "hosp_errors": "failed attempts at HOSP: {value:.0%}, usually below {usual:.0%}",
    "hosp_latency": "HOSP's mean response time: {value:.1f} s, usually {usual:.1f} s",
}


@frozen(slots=True)
class LogLine:
    """A line for the log that says what has changed.

    :param text: with names of fields in braces.
    """

    level: str
    text: str
    fields: Mapping[str, Any]


def words(change: Change) -> str:
    """Say in one sentence what began or ended."""
    told = _WHAT[change.signal].format(value=change.value, usual=change.usual)
    where = f"{change.signal}, over {change.machines} machines" if change.machines > 1 else change.signal
    if change.began:
        return f"surge begins ({where}): {told}"
    return f"surge ends ({where}) after {change.lasted_s:.0f} s; highest: {told}"


@define(slots=True)
class StateChanges:
    """Notices when requests are refused for want of a slot, when a surge has to wait, and when a lease is lost."""

    _refused: dict[str, float] = field(factory=dict, init=False)
    _began: float | None = field(default=None, init=False)
    _last: float = field(default=0.0, init=False)
    _tight: float | None = field(default=None, init=False)
    _lease: bool = field(default=False, init=False)
    _held: bool = field(default=False, init=False)

    def observe(self, now: float, grown: Mapping[str, float], sample: Sample) -> list[LogLine]:
        """Return the lines to log after a sample.

        :param now: monotonic seconds.
        :param grown: what was counted since the last sample.
        """
        return [*self._queue(now, grown, sample), *self._surge(now, sample), *self._leases(sample)]

    def _surge(self, now: float, sample: Sample) -> list[LogLine]:
        goes_on = sample.gauges.get("gate_surge", 0.0) > 0
        if goes_on and self._tight is None:
            self._tight = now
            return [
                LogLine(
                    "warn",
                    "a surge fills the queue: known users at a usual rate go first, the rest waits",
                    {},
                )
            ]
        if not goes_on and self._tight is not None:
            lasted_s, self._tight = now - self._tight, None
            text = "the surge in the queue is over after {lasted_s:.0f} s: all take turns again"
            return [LogLine("info", text, {"lasted_s": lasted_s})]
        return []

    def _queue(self, now: float, grown: Mapping[str, float], sample: Sample) -> list[LogLine]:
        # "away" is the breaker's, which logs its changes itself.
        refused = {reason: n for reason, n in of_kind(grown, "refused").items() if reason != "away"}
        for reason, number in refused.items():
            self._refused[reason] = self._refused.get(reason, 0.0) + number
        if refused:
            self._last = now
            if self._began is None:
                self._began = now
                return [
                    LogLine(
                        "warn",
                        "requests are refused, for want of a slot at HOSP in time: {refused}; {waiting:.0f} wait",
                        {"refused": _told(refused), "waiting": sample.gauges.get("gate_waiting", 0.0)},
                    )
                ]
        elif self._began is not None and now - self._last >= CALM_S:
            line = LogLine(
                "info",
                "requests get a slot at HOSP in time again; refused within {lasted_s:.0f} s: {refused}",
                {"refused": _told(self._refused), "lasted_s": self._last - self._began},
            )
            self._began, self._refused = None, {}
            return [line]
        return []

    def _leases(self, sample: Sample) -> list[LogLine]:
        holds = sample.gauges.get("sharing_lease")
        if holds is None:
            return []
        before, self._lease = self._lease, holds > 0
        if self._lease == before:
            return []
        if not self._lease:
            return [
                LogLine(
                    "warn", "lease lost: a worker serves nothing from its cache, and asks HOSP each time", {}
                )
            ]
        first, self._held = not self._held, True
        return [] if first else [LogLine("info", "lease held again: all workers serve from their caches", {})]


def _told(refused: Mapping[str, float]) -> str:
    each = ", ".join(f"{reason}={number:.0f}" for reason, number in sorted(refused.items()))
    return f"{sum(refused.values()):.0f} ({each})"
