"""What can be seen from outside of how a worker stands with the others."""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from ..interfaces import IMeter
from .members import View

_log = Logger()


class Complaints:
    """Says each thing once: nothing that is said here holds what was asked, so there are few."""

    def __init__(self, meter: IMeter) -> None:
        self._meter = meter
        self._said: set[str] = set()

    def __call__(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            _log.error("{what}", what=what)

    def nonsense(self, what: str) -> None:
        """Redis has said what none of our scripts says."""
        self._meter.count("redis_values_refused_total", reason="nonsense")
        self(f"Redis talks nonsense: {what}")


class Standing(Protocol):
    """What is shown."""

    member: bytes

    @property
    def may_serve(self) -> bool: ...

    @property
    def sees_others(self) -> bool: ...

    @property
    def held_back(self) -> bool: ...

    @property
    def view(self) -> View: ...


def offer_gauges(meter: IMeter, worker: Standing) -> None:
    """Let metrics read it."""

    def vanished() -> float:
        return float(len(worker.view.vanished(worker.member)))

    meter.gauge("sharing_lease", lambda: float(worker.may_serve))
    meter.gauge("sharing_held_back", lambda: float(worker.held_back))
    meter.gauge("sharing_members", lambda: len(worker.view.members) - vanished(), state="live")
    meter.gauge("sharing_members", vanished, state="vanished")


def trouble_of(worker: Standing) -> str | None:
    """Why nothing is served from memory at present, in a few words; None if it is."""
    if worker.may_serve:
        return None
    if not worker.sees_others:
        return "Redis is away"
    return "others have vanished, or Redis has begun anew" if worker.held_back else "Redis is slow"
