"""Applies each fault of a plan to the world: one function for each kind, which also notes it in the history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from .faults import Fault
from .history import History, Trouble

LONG_S = 250.0
"""A longer cut from Redis is one of those of docs/scale.md, "Where never stale ends"."""


class Stage(Protocol):
    """What strikes need from the world."""

    history: History
    simulation: Any
    hosp: Any
    redis: Any
    machines: list[Any]

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Run a function later."""

    def running(self, machine: int) -> list[Any]:
        """Processes of a machine."""

    def couriers(self, machine: int) -> list[Any]:
        """Courier processes of a machine."""

    def supervisor(self, machine: int) -> Any:
        """What starts the processes of a machine; see ``supervisor.Supervisor``."""

    def links(self, where: str) -> list[Any]:
        """Links of the network: of ``clients``, ``hosp``, ``redis`` or ``sink`` with each machine."""


def strike(stage: Stage, fault: Fault) -> None:
    """Apply a fault now."""
    until = stage.simulation.seconds() + fault.for_s
    kind = fault.kind + (" long" if fault.kind == "split redis" and fault.for_s > LONG_S else "")
    stage.history.add(Trouble(stage.simulation.seconds(), kind, f"m{fault.machine}", until))
    words = fault.kind.split(" ")
    _STRIKES[words[0]](stage, fault, " ".join(words[1:]))


def _kill(stage: Stage, fault: Fault, where: str) -> None:
    if where == "worker":
        _kill_worker(stage, fault)
        return
    stage.supervisor(fault.machine).stay_down(fault.for_s)
    for process in stage.running(fault.machine):
        if where == "seam":
            # Counted from now on; if the process never reaches it, the fault does not happen.
            seam = fault.args["seam"]
            process.kill_at(seam, process.reached().get(seam, 0) + fault.args["nth"])
        else:
            process.kill()


def _kill_worker(stage: Stage, fault: Fault) -> None:
    """Kill one worker alone, now or at a seam. Its siblings go on serving, and its supervisor starts another."""
    supervisor, slot = stage.supervisor(fault.machine), fault.args.get("slot", 0)
    process = supervisor.worker(slot)
    if process is None:
        return
    seam = fault.args.get("seam", "")
    if seam:
        # Counted from now on; if the worker never reaches it, the fault does not happen.
        nth = process.reached().get(seam, 0) + fault.args["nth"]
        process.at(seam, nth, partial(supervisor.kill, slot, process))
    else:
        supervisor.kill(slot, process)


def _courier(stage: Stage, fault: Fault, _: str) -> None:
    """Kill the courier alone, now or at a seam; its service goes on."""
    for process in stage.couriers(fault.machine):
        seam = fault.args.get("seam", "")
        if seam:
            # Counted from now on; if the courier never reaches it, the fault does not happen.
            process.kill_at(seam, process.reached().get(seam, 0) + fault.args["nth"])
        else:
            process.kill()


def _power(stage: Stage, fault: Fault, _: str) -> None:
    stage.supervisor(fault.machine).stay_down(fault.for_s)
    stage.machines[fault.machine].power_cut()
    step = fault.args.get("wall_step_s", 0.0)
    if step:
        stage.machines[fault.machine].wall.step(step)


def _restart(stage: Stage, fault: Fault, _: str) -> None:
    for process in stage.running(fault.machine):
        process.stop()


def _clock(stage: Stage, fault: Fault, whose: str) -> None:
    if whose == "hosp":
        stage.hosp.offset += fault.args["step_s"]
    else:
        stage.machines[fault.machine].wall.step(fault.args["step_s"])


def _disk(stage: Stage, fault: Fault, how: str) -> None:
    disk = stage.machines[fault.machine].disk
    if how == "fail":
        disk.fail_next(fault.args.get("what", "sync"), fault.args.get("name", ""))
        return
    if how == "full":
        disk.full = True
        stage.later(fault.for_s, lambda: setattr(disk, "full", False))
        return
    disk.slow = 0.5
    stage.later(fault.for_s, lambda: setattr(disk, "slow", 0.0))


def _links(stage: Stage, fault: Fault, where: str) -> list[Any]:
    """The links of all machines, or only of the fault's own: then the others go on, and no longer agree with it."""
    links = stage.links(where)
    return [links[fault.machine]] if fault.args.get("one_machine") else links


def _delay(stage: Stage, fault: Fault, where: str) -> None:
    for link in _links(stage, fault, where):
        link.slow_down(fault.args["max_s"])
        stage.later(fault.for_s, partial(link.speed_up, fault.args["max_s"]))


def _reset(stage: Stage, fault: Fault, where: str) -> None:
    for link in _links(stage, fault, where):
        link.reset_all()


def _split(stage: Stage, fault: Fault, where: str) -> None:
    for link in _links(stage, fault, where):
        link.cut()
        stage.later(fault.for_s, link.heal)


def _hosp(stage: Stage, fault: Fault, how: str) -> None:
    if how == "silent":
        stage.hosp.silent_until = stage.simulation.seconds() + fault.for_s
        return
    stage.hosp.go_away()
    stage.later(fault.for_s, stage.hosp.begin)


def _redis(stage: Stage, fault: Fault, how: str) -> None:
    redis = stage.redis
    if redis is None:
        return
    if how == "empty":
        redis.empty()
    elif how == "away":
        redis.away()
        stage.later(fault.for_s, redis.back)
    else:
        redis.slow(1.0)
        stage.later(fault.for_s, lambda: redis.slow(0.0))


def _behind(stage: Stage, fault: Fault, _: str) -> None:
    args = fault.args
    stage.hosp.change(args["do"], args["resource"], args["id"], args.get("fields", {}))


_STRIKES: Mapping[str, Callable[[Stage, Fault, str], None]] = {
    "kill": _kill, "courier": _courier, "power": _power, "restart": _restart, "clock": _clock, "disk": _disk,
    "delay": _delay, "reset": _reset, "split": _split, "hosp": _hosp, "redis": _redis, "behind": _behind,
}  # fmt: skip
