"""Fault plans: the faults of one world, and the errands of its people.

A plan is data, so it can be stored and shrunk. Swarm testing: each seed has only some kinds of faults. Otherwise a
frequent one hides the rest.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, field, frozen

from .clients.errand_plan import ALL_HABITS, NAMES, plan_errands
from .hosp.behaviour import FAULTS, HospPlan, Slow, plan_from, plan_to

SHAPES = ("one", "workers", "machines")
SETTLE_S = 800.0
"""Seconds after the last errand: the proxy may look for the outcome of lost writes for ten minutes."""
REPORTS = 'mode = "report"'
"""In the proxy's options: it passes on what its contract refuses, and only reports it."""
SEAMS = (
    "before ledger",
    "after ledger",
    "write ledger",
    "sync ledger",
    "before audit",
    "after audit",
    "before cache",
)

WORKER_SEAMS = ("event", "event", "event", "event", *SEAMS)
"""Of one worker that dies alone."""

COURIER_SEAMS = (
    "event", "event", "event", "before audit-files", "after audit-files", "open audit-files", "write audit-files",
    "sync audit-files", "rename audit-files", "unlink audit-files", "before audit-index", "after audit-index",
    "open audit-index", "write audit-index", "sync audit-index", "rename audit-index", "unlink audit-index",
    "before audit-http", "after audit-http", "write audit-http", "sync audit-http", "rename audit-http",
    "after audit-database", "write audit-database", "rename audit-database", "write audit-alert-rules",
)  # fmt: skip
"""Of the process that does everything with records after the journal."""


@frozen
class Fault:
    """One fault.

    :param at: when, in virtual seconds.
    :param kind: first word what, second word where, as in ``split hosp``.
    :param machine: for those that hit one machine.
    :param for_s: how long it lasts, or how long the machine stays down.
    :param args: further parameters.
    """

    at: float
    kind: str
    machine: int = 0
    for_s: float = 0.0
    args: Mapping[str, Any] = field(factory=dict)


@frozen
class Plan:
    """One world.

    :param seed: for what is not in the plan: the network's delays, the proxy's entropy.
    :param shape: ``one``, ``workers`` (two of them and Redis), ``machines`` (two machines and Redis, with one worker
        each unless `world` says how many).
    :param busy_s: people begin errands for so long; faults end somewhat earlier.
    :param settle_s: how long the world goes on after that.
    :param world: visible, marked, stamps_differ, imported, hosp_skew_s, options, workers.
    """

    seed: int
    shape: str = "one"
    busy_s: float = 240.0
    calm_at: float = 190.0
    hosp: HospPlan = field(factory=HospPlan)
    world: Mapping[str, Any] = field(factory=dict)
    faults: tuple[Fault, ...] = ()
    errands: tuple[Mapping[str, Any], ...] = ()
    settle_s: float = SETTLE_S

    @property
    def machines(self) -> int:
        """Number of machines."""
        return 2 if self.shape == "machines" else 1

    @property
    def workers(self) -> int:
        """Number of workers of each machine; 1: the proxy is one process."""
        if self.shape == "one":
            return 1
        return int(self.world.get("workers", 2 if self.shape == "workers" else 1))

    def to_json(self) -> str:
        """Serialise, for storing."""
        fields = asdict(self) | {"hosp": plan_to(self.hosp)}
        return json.dumps(fields, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Parse a stored plan."""
        fields = json.loads(text)
        fields["hosp"] = plan_from(fields.get("hosp", {}))
        fields["faults"] = tuple(Fault(**each) for each in fields.get("faults", ()))
        fields["errands"] = tuple(fields.get("errands", ()))
        return cls(**fields)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan from a file; a story holds one under ``plan``."""
        fields = json.loads(path.read_text())
        return cls.from_json(json.dumps(fields.get("plan", fields)))


def draw(seed: int, shape: str | None = None, busy_s: float = 240.0, habits: tuple[str, ...] = ()) -> Plan:
    """Draw the plan of a seed."""
    chance = random.Random(f"plan|{seed}")
    shape = shape or chance.choice(("one", "one", "one", "workers", "machines"))
    calm_at = busy_s * 0.8
    few = habits or tuple(name for name in ALL_HABITS if chance.random() < 0.7)
    plan = Plan(seed, shape, busy_s, calm_at)
    # A stream of its own: a world without a courier stays as it is.
    has_courier, deaths = _courier(random.Random(f"courier|{seed}"), plan)
    # So does one in which no worker dies alone.
    workers, alone = _alone(random.Random(f"workers|{seed}"), plan)
    return evolve(
        plan,
        hosp=_hosp(chance, seed, calm_at),
        world=_world(chance) | has_courier | workers,
        faults=tuple(sorted((*_faults(chance, plan), *deaths, *alone), key=lambda fault: fault.at)),
        errands=tuple(plan_errands(chance, busy_s, chance.choice((0.3, 0.6, 1.0)), few)),
    )


def _hosp(chance: random.Random, seed: int, calm_at: float) -> HospPlan:
    kinds = chance.sample(FAULTS, chance.choice((0, 1, 2, 3, 4)))
    rates = {kind: chance.choice((0.03, 0.1, 0.25)) for kind in kinds}
    total = sum(rates.values())
    if total > 0.6:
        rates = {kind: rate * 0.6 / total for kind, rate in rates.items()}
    slow: tuple[Slow, ...] = ()
    if chance.random() < 0.2:
        begins = chance.uniform(10.0, calm_at * 0.7)
        slow = (Slow(begins, min(calm_at, begins + chance.uniform(30.0, 120.0)), chance.uniform(3.0, 12.0)),)
    return HospPlan(str(seed), rates, chance.choice((0.1, 0.5, 1.5, 4.4)), slow=slow, until=calm_at)


def _world(chance: random.Random) -> dict[str, Any]:
    return {
        "visible": chance.choice(("all", "all", "own")),
        "marked": chance.random() < 0.5,
        "stamps_differ": chance.random() < 0.15,
        "imported": chance.random() < 0.25,
        "index": chance.random() < 0.1,
        "pieces": chance.choice((0.0, 0.0, 0.3)),
        "options": f"[validation]\n{REPORTS}\n" if chance.random() < 0.1 else "",
        "hosp_skew_s": chance.choice((0.0, 0.0, 1.0, -7.0, 90.0)),
    }


Drawer = Callable[[random.Random, Plan], list[Fault]]


def _faults(chance: random.Random, plan: Plan) -> tuple[Fault, ...]:
    drawers = [_deaths, _clocks, _disks, _networks, _outages, _behind]
    if plan.shape != "one":
        drawers.append(_redis)
    chosen = [drawer for drawer in drawers if chance.random() < 0.35]
    found = [fault for drawer in chosen for fault in drawer(chance, plan)]
    return tuple(sorted(found, key=lambda fault: fault.at))


def _courier(chance: random.Random, plan: Plan) -> tuple[dict[str, Any], list[Fault]]:
    """Whether a courier process follows the journal, with an index or without, and what happens to it."""
    if chance.random() >= 0.2:
        return {}, []
    found = _courier_deaths(chance, plan) if chance.random() < 0.7 else []
    found += _sink_troubles(chance, plan) if chance.random() < 0.4 else []
    return {"courier": True, "index": chance.random() < 0.5}, found


def _alone(chance: random.Random, plan: Plan) -> tuple[dict[str, Any], list[Fault]]:
    """Whether workers die alone; then machines have several, too."""
    if plan.shape == "one" or chance.random() >= 0.4:
        return {}, []
    workers = {"workers": 2} if plan.shape == "machines" else {}
    return workers, _worker_deaths(chance, plan)


def _moment(chance: random.Random, plan: Plan) -> float:
    return round(chance.uniform(5.0, plan.calm_at - 25.0), 3)


def _machine(chance: random.Random, plan: Plan) -> int:
    return chance.randrange(plan.machines)


def _deaths(chance: random.Random, plan: Plan) -> list[Fault]:
    found = []
    for _ in range(chance.choice((1, 2, 4, 8))):
        kind = chance.choice(("kill", "kill seam", "kill seam", "power cut", "restart"))
        args: dict[str, Any] = {}
        if kind == "kill seam":
            args = {"seam": chance.choice(SEAMS), "nth": chance.randint(1, 6)}
        if kind == "power cut" and chance.random() < 0.3:
            args = {"wall_step_s": chance.choice((-3600.0, -7.0, 0.0))}
        down = round(chance.choice((0.5, 2.0, 10.0)), 3)
        found.append(Fault(_moment(chance, plan), kind, _machine(chance, plan), down, args))
    return found


def _clocks(chance: random.Random, plan: Plan) -> list[Fault]:
    found = []
    for _ in range(chance.choice((1, 2, 3))):
        kind = chance.choice(("clock proxy", "clock hosp"))
        step = chance.choice((-3600.0, -120.0, -2.0, 2.0, 120.0, 3600.0, 8 * 86400.0))
        found.append(Fault(_moment(chance, plan), kind, _machine(chance, plan), 0.0, {"step_s": step}))
    return found


def _disks(chance: random.Random, plan: Plan) -> list[Fault]:
    found = []
    for _ in range(chance.choice((1, 2))):
        kind = chance.choice(("disk full", "disk slow", "disk fail"))
        lasts = round(chance.uniform(1.0, 20.0), 3)
        args: dict[str, Any] = {}
        if kind == "disk fail":
            args = {
                "what": chance.choice(("sync", "write")),
                "name": chance.choice(("ledger", "audit", "answers")),
            }
        found.append(Fault(_moment(chance, plan), kind, _machine(chance, plan), lasts, args))
    return found


def _networks(chance: random.Random, plan: Plan) -> list[Fault]:
    links = ["clients", "hosp"] + (["redis"] if plan.shape != "one" else [])
    found = []
    for _ in range(chance.choice((1, 2, 4))):
        kind = f"{chance.choice(('delay', 'reset', 'split'))} {chance.choice(links)}"
        args: dict[str, Any] = {"max_s": chance.choice((0.2, 2.0, 8.0))} if kind.startswith("delay") else {}
        if plan.machines > 1 and chance.random() < 0.5:
            args["one_machine"] = True
        lasts = 0.0 if kind.startswith("reset") else round(chance.uniform(1.0, 25.0), 3)
        found.append(Fault(_moment(chance, plan), kind, _machine(chance, plan), lasts, args))
    return found


def _outages(chance: random.Random, plan: Plan) -> list[Fault]:
    lasts = chance.choice((3.0, 15.0, 60.0))
    return [Fault(_moment(chance, plan), "hosp away", 0, min(lasts, plan.calm_at / 3))]


def _redis(chance: random.Random, plan: Plan) -> list[Fault]:
    found = []
    for _ in range(chance.choice((1, 2, 3))):
        kind = chance.choice(("redis away", "redis empty", "redis slow"))
        found.append(Fault(_moment(chance, plan), kind, 0, round(chance.uniform(0.5, 25.0), 3)))
    return found


def _behind(chance: random.Random, plan: Plan) -> list[Fault]:
    found = []
    for _ in range(chance.choice((1, 3, 6))):
        args: dict[str, Any] = {"resource": "notes", "id": chance.randint(1, 6), "do": "update"}
        args["fields"] = {"title": chance.choice(("A", "B", "C"))}
        if chance.random() < 0.3:
            args = {
                "resource": "notes",
                "id": 0,
                "do": "create",
                "fields": {"title": "behind", "patient_id": 1, "staff_id": 2},
            }
        found.append(Fault(_moment(chance, plan), "behind", 0, 0.0, args))
    return found


def _slow_to_hosp(chance: random.Random, plan: Plan) -> list[Fault]:
    """Now and then bytes to HOSP take seconds."""
    moments = [chance.uniform(3.0, plan.calm_at) for _ in range(6)]
    return [Fault(round(at, 3), "delay hosp", _machine(chance, plan), 3.0, {"max_s": 9.0}) for at in moments]


def _clock_of_hosp(chance: random.Random, plan: Plan) -> list[Fault]:
    """HOSP's clock is set again and again."""
    steps = [chance.choice((-3600.0, -120.0, -5.0, 5.0, 120.0)) for _ in range(8)]
    return [Fault(_moment(chance, plan), "clock hosp", 0, 0.0, {"step_s": step}) for step in steps]


def _often_behind(chance: random.Random, plan: Plan) -> list[Fault]:
    """Titles are often changed directly at HOSP, bypassing the proxy."""
    found = []
    for _ in range(60):
        args = {"resource": "notes", "id": chance.randint(1, 12), "do": "update", "fields": {"title": "C"}}
        found.append(Fault(round(chance.uniform(3.0, plan.calm_at), 3), "behind", 0, 0.0, args))
    return found


def _early_outage(_chance: random.Random, _plan: Plan) -> list[Fault]:
    return [Fault(5.0, "hosp away", 0, 10.0)]


def _no_redis(_chance: random.Random, plan: Plan) -> list[Fault]:
    """Redis is away for most of the time, once each worker knows its share of HOSP's slots."""
    return [Fault(20.0, "redis away", 0, plan.calm_at - 22.0)]


def _silences(chance: random.Random, plan: Plan) -> list[Fault]:
    """HOSP accepts requests, and sends no response for a while."""
    at = round(chance.uniform(plan.calm_at * 0.65, plan.calm_at - 20.0), 3)
    return [Fault(at, "hosp silent", 0, 18.0)]


def _kills_in_the_ledger(chance: random.Random, plan: Plan) -> list[Fault]:
    """A process is often killed just before or after a task of its ledger."""
    found = []
    for _ in range(12):
        args = {"seam": chance.choice(("before ledger", "after ledger")), "nth": chance.randint(1, 6)}
        found.append(Fault(_moment(chance, plan), "kill seam", _machine(chance, plan), 0.5, args))
    return found


def _passwords_behind(chance: random.Random, plan: Plan) -> list[Fault]:
    """Passwords are changed directly at HOSP, and set back after a while."""
    found = []
    for _ in range(6):
        at, number = chance.uniform(10.0, plan.calm_at - 5.0), chance.randrange(len(NAMES))
        for moment, password in ((at, "behind"), (at + chance.uniform(5.0, 40.0), f"{NAMES[number]}-first")):
            args = {"resource": "staffs", "id": number + 1, "do": "update", "fields": {"password": password}}
            found.append(Fault(round(moment, 3), "behind", 0, 0.0, args))
    return found


def _slow_disk(chance: random.Random, plan: Plan) -> list[Fault]:
    return [Fault(2.0, "disk slow", _machine(chance, plan), plan.calm_at - 5.0)]


def _courier_deaths(chance: random.Random, plan: Plan) -> list[Fault]:
    """The courier dies alone: at any event, while it packs, fills the index, saves how far a sink has come."""
    found = []
    for _ in range(chance.choice((4, 8, 16))):
        seam = chance.choice(COURIER_SEAMS)
        args = {"seam": seam, "nth": chance.randint(1, 400) if seam == "event" else chance.randint(1, 3)}
        at = round(chance.uniform(3.0, plan.calm_at), 3)
        found.append(Fault(at, "courier dies", _machine(chance, plan), 0.0, args))
    return found


def _worker_deaths(chance: random.Random, plan: Plan) -> list[Fault]:
    """One worker dies alone at any event, or at a task of its ledger, journal or cache; at times its successor, too."""
    found = []
    for _ in range(chance.choice((2, 4, 8))):
        slot, machine = chance.randrange(2), _machine(chance, plan)
        seam = chance.choice(WORKER_SEAMS)
        nth = chance.randint(1, 400) if seam == "event" else chance.randint(1, 6)
        at = round(chance.uniform(3.0, plan.calm_at), 3)
        found.append(Fault(at, "kill worker", machine, 0.0, {"slot": slot, "seam": seam, "nth": nth}))
        if chance.random() < 0.3:
            # While it takes over what the dead one held.
            seam = chance.choice(("event", "before ledger", "after ledger"))
            nth = chance.randint(1, 60) if seam == "event" else chance.randint(1, 8)
            soon = round(at + chance.uniform(0.1, 3.0), 3)
            found.append(Fault(soon, "kill worker", machine, 0.0, {"slot": slot, "seam": seam, "nth": nth}))
    return found


def _sink_troubles(chance: random.Random, plan: Plan) -> list[Fault]:
    """The way to the receiver of records is cut, or breaks."""
    found = []
    for _ in range(chance.choice((1, 3))):
        kind = chance.choice(("reset sink", "split sink", "delay sink"))
        args: dict[str, Any] = {"max_s": 8.0} if kind.startswith("delay") else {}
        lasts = 0.0 if kind.startswith("reset") else round(chance.uniform(1.0, 15.0), 3)
        at = round(chance.uniform(3.0, plan.calm_at - 16.0), 3)
        found.append(Fault(at, kind, _machine(chance, plan), lasts, args))
    return found


DRAWERS: Mapping[str, Drawer] = {
    "deaths": _deaths, "clocks": _clocks, "disks": _disks, "networks": _networks, "outages": _outages,
    "redis": _redis, "behind": _behind, "slow to HOSP": _slow_to_hosp,
    "HOSP's clock": _clock_of_hosp, "passwords behind": _passwords_behind, "slow disk": _slow_disk,
    "early outage": _early_outage, "silences": _silences, "often behind": _often_behind,
    "kills in the ledger": _kills_in_the_ledger, "courier's deaths": _courier_deaths, "sinks": _sink_troubles,
    "worker's deaths": _worker_deaths, "no Redis": _no_redis,
}  # fmt: skip
"""Kinds of faults by name, for scenes; those that an ordinary world may have are in `_faults`."""
