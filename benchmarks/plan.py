"""The seeded plan: the requests of a working day at several hospitals, in order, with their senders. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from attrs import evolve, field, frozen

STAFF = 12
"""Members of staff whose credentials are used."""

_KINDS = ("hospitals", "patients", "record", "note", "screening", "bad")
_JSON = {"Content-Type": "application/json"}


@frozen
class Planned:
    """One request.

    :param kind: one of hospitals, patients, record, note, screening, bad.
    :param staff: id of the member of staff who sends it; 0 for nobody.
    :param password: theirs, or a wrong one.
    :param body: as sent; None for no body.
    :param marker: a note's body, unique among all notes.
    :param patient: the patient of a note or screening.
    """

    kind: str
    method: str
    path: str
    staff: int
    password: str = ""
    body: bytes | None = None
    headers: Mapping[str, str] = field(factory=dict)
    marker: str | None = None
    patient: int = 0

    @property
    def valid(self) -> bool:
        """Whether a healthy HOSP would respond with success."""
        return self.kind != "bad"


@frozen
class World:
    """Ids that the plan may use: those of the stand-in's seed."""

    hospitals: Sequence[int]
    patients: Sequence[int]
    notes: Sequence[int]
    passwords: Mapping[int, str]


def world_of(seed: Mapping[str, Sequence[Mapping[str, Any]]]) -> World:
    """Ids in a stand-in's seed."""

    def ids(name: str) -> list[int]:
        return [record["id"] for record in seed[name]]

    passwords = {record["id"]: record["password"] for record in seed["staffs"][:STAFF]}
    return World(ids("hospitals"), ids("patients"), ids("notes"), passwords)


def make_plan(requests: int, seed: int, world: World) -> list[Planned]:
    """Make the requests of one run, in the order in which clients take them.

    45 % hospitals, 30 % patients of one hospital, 10 % notes, 3⅓ % screenings, 2 % bad ones, the rest single records.

    :param requests: how many.
    :param seed: the same seed gives the same plan.
    """
    chance = random.Random(f"{seed} plan")
    numbers = {
        "hospitals": round(requests * 0.45),
        "patients": round(requests * 0.30),
        "note": requests // 10,
        "screening": requests // 30,
        "bad": max(requests // 50, len(_BAD)),
    }
    numbers["record"] = max(0, requests - sum(numbers.values()))
    pairs = [(staff, patient) for staff in world.passwords for patient in world.patients]
    screened = iter(chance.sample(pairs, numbers["screening"]))
    makers: dict[str, Callable[[int], Planned]] = {
        "hospitals": lambda _: _read("hospitals", "/hospitals"),
        "patients": lambda _: _read("patients", f"/patients?hospital_id={chance.choice(world.hospitals)}"),
        "record": lambda _: _read("record", _record(chance, world)),
        "note": lambda number: _note(number, chance, world),
        "screening": lambda number: _screening(number, *next(screened)),
        "bad": lambda number: _BAD[number % len(_BAD)],
    }
    plan = [makers[kind](number) for kind in _KINDS for number in range(numbers[kind])]
    plan = [_signed(each, chance, world) for each in plan]
    chance.shuffle(plan)
    return plan


def _read(kind: str, path: str) -> Planned:
    return Planned(kind, "GET", path, staff=-1)


def _signed(planned: Planned, chance: random.Random, world: World) -> Planned:
    """Add credentials, if the request needs some and has none yet."""
    if planned.staff < 0:
        planned = evolve(planned, staff=chance.choice(list(world.passwords)))
    if planned.staff and not planned.password:
        planned = evolve(planned, password=world.passwords[planned.staff])
    return planned


def _record(chance: random.Random, world: World) -> str:
    return chance.choice(
        (
            "/staffs/me",
            f"/hospitals/{chance.choice(world.hospitals)}",
            f"/patients/{chance.choice(world.patients)}",
            f"/notes/{chance.choice(world.notes)}",
            f"/staffs/{chance.choice(list(world.passwords))}",
        )
    )


def _note(number: int, chance: random.Random, world: World) -> Planned:
    """A note. A third of them name no author, a third the sender, a third somebody else."""
    staff, patient = chance.choice(list(world.passwords)), chance.choice(world.patients)
    marker = f"Note {number}, {chance.getrandbits(64):016x}"
    document: dict[str, object] = {"title": "Visit", "body": marker, "patient_id": patient}
    if number % 3 == 1:
        document["staff_id"] = staff
    elif number % 3 == 2:
        document["staff_id"] = chance.choice([other for other in world.passwords if other != staff])
    body = msgspec.json.encode(document)
    return Planned("note", "POST", "/notes", staff, body=body, headers=_JSON, marker=marker, patient=patient)


def _screening(number: int, staff: int, patient: int) -> Planned:
    """A screening. No two share both patient and author, so those two tell their notes apart."""
    images = [f"image {number}.{index}" for index in range(1 + number % 4)]
    body = msgspec.json.encode({"images": images})
    path = f"/patients/{patient}/screen"
    return Planned("screening", "POST", path, staff, body=body, headers=_JSON, patient=patient)


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_BAD = (
    Planned("bad", "GET", "/hospitals", staff=0),
    Planned("bad", "GET", "/hospitals", staff=1, password="not the password"),
    Planned("bad", "GET", "/nothing/here", staff=-1),
    Planned("bad", "GET", "/patients/999999", staff=-1),
    Planned("bad", "POST", "/notes", staff=-1, body=b'{"title": "cut of', headers=_JSON),
    Planned("bad", "POST", "/notes", staff=-1, body=b"note[staff_id]=1&note[body]=x", headers=_FORM),
    Planned("bad", "POST", "/patients/1/screen", staff=-1, body=b"{}", headers=_JSON),
)
