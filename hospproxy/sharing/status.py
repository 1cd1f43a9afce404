"""Shows the state of sharing: one-time log lines, gauges, and a text for the status page."""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from ..interfaces import IMeter
from .members import MembersView

_log = Logger()


class ProblemLog:
    """Logs each problem once. No text holds content of commands, so there are only few different ones."""

    def __init__(self, meter: IMeter) -> None:
        self._meter = meter
        self._said: set[str] = set()

    def __call__(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            _log.error("{what}", what=what)

    def nonsense(self, what: str) -> None:
        """Count an invalid reply or message of Redis, and log it."""
        self._meter.count("redis_values_refused_total", reason="nonsense")
        self(f"Redis sent an invalid reply ({what}): check that nothing else writes below redis.prefix")


class SharingState(Protocol):
    """The state to show; ``SharingMember`` provides it."""

    member: bytes

    @property
    def may_serve(self) -> bool: ...

    @property
    def sees_others(self) -> bool: ...

    @property
    def held_back(self) -> bool: ...

    @property
    def view(self) -> MembersView: ...


def offer_gauges(meter: IMeter, worker: SharingState) -> None:
    """Register the gauges of sharing."""

    def vanished() -> float:
        return float(len(worker.view.vanished(worker.member)))

    meter.gauge("sharing_lease", lambda: float(worker.may_serve))
    meter.gauge("sharing_held_back", lambda: float(worker.held_back))
    meter.gauge("sharing_members", lambda: len(worker.view.members) - vanished(), state="live")
    meter.gauge("sharing_members", vanished, state="vanished")


def trouble_of(worker: SharingState) -> str | None:
    """Say in a few words why nothing is served from the cache now; None if it is served."""
    if worker.may_serve:
        return None
    if not worker.sees_others:
        return "Redis is away"
    return "other workers are silent, or Redis has lost its data" if worker.held_back else "Redis is slow"
