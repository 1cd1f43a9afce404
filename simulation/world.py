"""One simulated world: the machines of the proxy, HOSP, Redis, people, and the plan of faults."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .clients.errand_plan import LISTS, NAMES, NOTES, PATIENTS
from .clients.habits import HABITS, Errand
from .clients.more_habits import MORE
from .clients.people import Hospital, Person, Wish
from .collection import due, indexed, left, open_writes, trail
from .fault_actions import strike
from .faults import REPORTS, SETTLE_S, Fault, Plan
from .history import CourierLife, History, Life, Premises, Unhandled
from .hosp.behaviour import DEFINITE
from .hosp.server import START, Hosp
from .receiver import Receiver
from .supervisor import Supervisor

HOSP_ADDRESS = "10.0.0.1"
CLIENTS_ADDRESS = "10.0.1.1"
MACHINE_ADDRESSES = ("10.0.2.1", "10.0.2.2")
REDIS_ADDRESS = "10.0.3.1"
RECEIVER_ADDRESS = "10.0.4.1"
_WATCH_S = 1.0
OPTIONS = """
state_dir = "{state}"
trusted_proxies = ["10.0.1.0/24"]
{workers}
[[listeners]]
url = "http://{address}:8000"
plain = "serve"
[upstream]
url = "http://10.0.0.1:3000"
[audit]
commit = "thread"
{rotate}
[admin]
enabled = false
[status]
enabled = false
[audit_database]
enabled = {index}
{redis}
{sink}
{more}
"""
_SMALL_FILES = "rotate_bytes = 65536"
"""So that a short world packs and indexes some."""
_SINK = f"""
[audit_http]
enabled = true
url = "http://{RECEIVER_ADDRESS}/records"
timeout_s = 10.0
"""
_DUE_S = 200.0
"""Seconds before the end at which everything on disk is due at the sinks by the end, or less in a short world."""


class World:
    """Everything in one place, in virtual time.

    :param plan: what happens.
    :param folder: for the machines' disks.
    :param simulation: the kernel's world.
    """

    def __init__(self, plan: Plan, simulation: Any) -> None:
        self.plan = plan
        self.simulation = simulation
        self.history = History()
        world = plan.world
        premises = Premises(
            late_commit_s=plan.hosp.late_commit_s, visible=world.get("visible", "all"),
            marked=world.get("marked", False), shape=plan.shape, calm_at=plan.calm_at,
            filters="own" if world.get("passes_over") else "all", says=tuple(world.get("says", ())),
            fails="definitely" if plan.hosp.kinds <= DEFINITE and not plan.hosp.slow else "",
            retries=world.get("retries", 50), refuses=REPORTS not in world.get("options", ""),
        )  # fmt: skip
        self.history.add(premises)
        self.clients = simulation.host("clients", CLIENTS_ADDRESS)
        self.machines = [
            simulation.machine(f"m{number}", MACHINE_ADDRESSES[number]) for number in range(plan.machines)
        ]
        self.redis = None if plan.shape == "one" else self._redis()
        self.hosp = self._hosp(world)
        self.has_courier = bool(world.get("courier"))
        if self.has_courier:
            host = simulation.host("receiver", RECEIVER_ADDRESS)
            names = {machine.address: machine.name for machine in self.machines}
            Receiver(host.reactor, RECEIVER_ADDRESS, self.history, names, self._stream, plan.calm_at)
        self.hospital = Hospital(
            self.clients.reactor, self.history, list(MACHINE_ADDRESSES[: plan.machines]), self._stream
        )
        self._tasks: list[Deferred[None]] = []
        self._supervisors = [
            Supervisor(plan.workers, simulation.seconds, self.later, partial(self._start, number))
            for number in range(plan.machines)
        ]

    def run(self) -> History:
        """Run the world to its end."""
        self.hosp.begin()
        _people(self.hosp, self.hospital)
        for link in self.links("hosp") + self.links("clients"):
            # Bytes may come in small pieces.
            link.split = self.plan.world.get("pieces", 0.0)
        self._watch()
        for fault in self.plan.faults:
            self.later(fault.at, partial(self._strike, fault))
        for errand in self.plan.errands:
            self.later(errand["at"], partial(self._begin, errand))
        end = self.plan.busy_s + self.plan.settle_s
        if self.plan.settle_s >= SETTLE_S:
            self.later(end - 150.0, self._last_looks)
        if self.has_courier:
            self.later(end - min(_DUE_S, self.plan.settle_s / 2), self._note_due)
        self.simulation.run_until(end)
        self._collect()
        return self.history

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Run a function later, at the clients' host, which never fails."""
        self.clients.reactor.callLater(max(0.0, seconds), do)

    def running(self, machine: int) -> list[Any]:
        """Processes of a machine."""
        return list(self.machines[machine].processes.values())

    def couriers(self, machine: int) -> list[Any]:
        """Courier processes of a machine."""
        found = [process.courier for process in self.running(machine) if process.courier is not None]
        return [courier for courier in found if courier.running]

    def supervisor(self, machine: int) -> Supervisor:
        """What starts the processes of a machine."""
        return self._supervisors[machine]

    def _watch(self) -> None:
        for supervisor in self._supervisors:
            supervisor.look()
        self.later(_WATCH_S, self._watch)

    def _start(self, machine: int, slot: int, boot_s: float | None) -> Any:
        more = {} if boot_s is None else {"boot_s": boot_s}
        options = self._options(machine)
        return self.machines[machine].start(options, slot, has_courier=self.has_courier, **more)

    def links(self, where: str) -> list[Any]:
        """Links between machines and the clients, HOSP, Redis, or the receiver of records."""
        other = {
            "clients": CLIENTS_ADDRESS,
            "hosp": HOSP_ADDRESS,
            "redis": REDIS_ADDRESS,
            "sink": RECEIVER_ADDRESS,
        }[where]
        return [self.simulation.network.between(machine.address, other) for machine in self.machines]

    def _strike(self, fault: Fault) -> None:
        strike(self, fault)

    def _stream(self, name: str) -> random.Random:
        stream: random.Random = self.simulation.random(name)
        return stream

    def _options(self, machine: int) -> str:
        redis = "" if self.redis is None else f'[redis]\nenabled = true\nurl = "redis://{REDIS_ADDRESS}:6379"'
        retries = self.plan.world.get("retries")
        budget = "" if retries is None else f"[retry]\nbudget_min = {retries}\nbudget_ratio = 0.0\n"
        workers = f"workers = {self.plan.workers}" if self.plan.workers > 1 else ""
        place = self.machines[machine]
        return OPTIONS.format(
            state=place.state_dir, address=place.address, redis=redis, workers=workers,
            index=str(self.plan.world.get("index", False)).lower(), rotate=_SMALL_FILES if self.has_courier else "",
            sink=_SINK if self.has_courier else "", more=budget + self.plan.world.get("options", ""),
        )  # fmt: skip

    def _hosp(self, world: Mapping[str, Any]) -> Hosp:
        host = self.simulation.host("hosp", HOSP_ADDRESS)
        skew = self.machines[0].wall.now() - START + world.get("hosp_skew_s", 0.0)
        hosp = Hosp(
            host.reactor, self.history, self.plan.hosp, visible=world.get("visible", "all"),
            marked=world.get("marked", False), stamps_differ=world.get("stamps_differ", False),
            wall_offset=skew, address=HOSP_ADDRESS, passes_over=world.get("passes_over", False),
            says=tuple(world.get("says", ())),
        )  # fmt: skip
        furnish(hosp, imported=world.get("imported", False), huge=world.get("huge_id", False))
        return hosp

    def _redis(self) -> Any:
        """One Redis for all, and one master key on all machines."""
        from .kernel.redis import Redis

        for machine in self.machines:
            machine.put("master.key", bytes(range(32)))
        return Redis(self.simulation, REDIS_ADDRESS)

    def _begin(self, plan: Mapping[str, Any]) -> None:
        person = self.hospital.people[plan["who"]]
        errand = Errand(
            plan["id"], self.hospital, person, plan["args"], self.simulation.random(f"errand|{plan['id']}")
        )
        self._go({**HABITS, **MORE}[plan["habit"]](errand))

    def _go(self, coroutine: Any) -> None:
        task = Deferred.fromCoroutine(coroutine)
        self._tasks.append(task)
        task.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        raise RuntimeError(f"the simulation itself failed: {failure.getTraceback()}")

    def _last_looks(self) -> None:
        """Every person reads everything once more, from the cache and from HOSP."""
        targets = [*LISTS, *(f"/notes/{id_}" for id_ in NOTES), *(f"/patients/{id_}" for id_ in PATIENTS)]
        for number, name in enumerate(NAMES[:3]):
            self.later(number * 5.0, partial(self._look, name, targets))

    def _look(self, name: str, targets: list[str]) -> None:
        async def looking() -> None:
            person = self.hospital.people[name]
            house = self.hospital.houses[len(name) % len(self.hospital.houses)]
            for target in targets:
                for headers in ((), (("Cache-Control", "no-cache"),)):
                    wish = Wish("GET", target, headers=headers)
                    await self.hospital.ask(person, wish, f"last/{name}{target}", house)
            for wish in _last_writes(name):
                await self.hospital.ask(person, wish, f"last/{name} {wish.method}", house)

        self._go(looking())

    def _note_due(self) -> None:
        for machine in self.machines:
            for each in due(Path(machine.state_dir) / "audit", machine.name, self.simulation.seconds()):
                self.history.add(each)

    def _collect(self) -> None:
        """Collect what the kernel and the disks show at the end."""
        now = self.simulation.seconds()
        for number, machine in enumerate(self.machines):
            for process in self.running(number):
                process.kill()
            for line in trail(Path(machine.state_dir) / "audit", machine.name, now):
                self.history.add(line)
            if self.has_courier:
                for file in left(Path(machine.state_dir) / "audit", machine.name, now):
                    self.history.add(file)
                for row in indexed(Path(machine.state_dir) / "audit-index", machine.name, now):
                    self.history.add(row)
            if self.plan.settle_s < SETTLE_S:
                continue
            for measured in open_writes(Path(machine.state_dir), machine.name, now):
                self.history.add(measured)
        for entry in self.simulation.entries:
            if entry.kind in ("start", "end"):
                self.history.add(life_of(entry, now))
            elif entry.kind in ("courier start", "courier end"):
                self.history.add(courier_life_of(entry))
        for error in self.simulation.errors:
            self.history.add(Unhandled(error.time, error.process, error.words))


def life_of(entry: Any, end: float) -> Life:
    """The start or end of a process, from the kernel's log."""
    machine, _, pid = entry.fields["process"].partition("/")
    what = (
        "started"
        if entry.kind == "start"
        else "killed"
        if entry.fields["why"] in ("kill", "power")
        else "ended"
    )
    if entry.time >= end and what == "killed":
        what = "over"
    return Life(entry.time, machine, what, int(pid), entry.fields.get("status"))


def courier_life_of(entry: Any) -> CourierLife:
    """The start or end of a courier, from the kernel's log."""
    machine, _, pid = entry.fields["process"].partition("/")
    ends = "killed" if entry.fields.get("why") in ("kill", "power") else "ended"
    what = "started" if entry.kind == "courier start" else ends
    return CourierLife(entry.time, machine, what, int(pid), entry.fields.get("status"))


def _last_writes(name: str) -> tuple[Wish, ...]:
    note = {"title": f"last of {name}", "body": "x", "patient_id": 1}
    return Wish("POST", "/notes", note), Wish("PATCH", f"/notes/{NAMES.index(name) + 1}", {"title": name})


def furnish(hosp: Hosp, *, imported: bool = False, huge: bool = False) -> None:
    """Create HOSP's initial records: two hospitals, people in both, a few hot patients and notes."""
    hosp.import_record("hospitals", 1, {"name": "North"})
    hosp.import_record("hospitals", 2, {"name": "South"})
    for id_, name in enumerate(NAMES, 1):
        fields = {"name": name, "hospital_id": 1 if id_ <= 4 else 2, "password": f"{name}-first"}
        hosp.import_record("staffs", id_, fields)
    for id_ in (*PATIENTS, 5, 6, 7, 8):
        fields = {"name": f"P{id_}", "hospital_id": 1 if id_ != 4 else 2, "birthdate": "2020-01-01"}
        hosp.import_record("patients", id_, fields)
    for id_ in (*NOTES, *range(7, 31)):
        fields = {"title": f"N{id_}", "body": "x", "patient_id": 1 + id_ % 4, "staff_id": 1 + id_ % 6}
        hosp.import_record("notes", id_, fields)
    for resource, highest in (("hospitals", 2), ("staffs", 6), ("patients", 8), ("notes", 30)):
        hosp.application.records.go_on_from(resource, highest)
    if imported:
        fields = {"title": "imported", "body": "x", "patient_id": 1, "staff_id": 1}
        hosp.import_record("notes", 900_000, fields)
    if huge:
        fields = {"title": "huge", "body": "x", "patient_id": 1, "staff_id": 1}
        hosp.import_record("notes", 2**63, fields)


def _people(hosp: Hosp, hospital: Hospital) -> None:
    for id_, name in enumerate(NAMES, 1):
        staff = hosp.application.records.get("staffs", id_)
        assert staff is not None
        hospital.people[name] = Person(name, id_, f"{name}-first", int(str(staff["hospital_id"])))
