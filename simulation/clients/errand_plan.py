"""Draws the errands of a simulated day from a seed: who does what, when. The result is data (JSON)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

Args = dict[str, Any]
NAMES = ("ann", "bob", "cid", "dora", "eve", "finn")
PATIENTS = (1, 2, 3, 4)
NOTES = (1, 2, 3, 4, 5, 6)
WORDS = ("A", "B", "C")
LISTS = (
    "/hospitals", "/patients", "/patients?hospital_id=1", "/patients?hospital_id=2", "/notes?patient_id=1",
    "/notes?patient_id=2", "/staffs", "/staffs/me", "/notes",
)  # fmt: skip
FILTERED = (
    "/notes?staff_id=1", "/notes?staff_id=2", "/notes?staff_id=3&patient_id=1", "/patients?hospital_id=1&hospital_id=2",
    "/notes?patient_id=2&patient_id=1", "/staffs?hospital_id=2", "/hospitals?name=North",
)  # fmt: skip
ALL_HABITS = (
    "read",
    "note",
    "twice",
    "edit",
    "delete",
    "password",
    "guess",
    "flood",
    "screen",
    "mistake",
    "misuse",
    "careful",
    "again",
    "odd",
    "held",
    "meddle",
)
_WEIGHTS: Mapping[str, float] = {
    "read": 8.0, "note": 4.0, "twice": 0.7, "edit": 6.0, "delete": 1.0, "password": 1.0, "guess": 0.7,
    "flood": 0.15, "screen": 1.0, "mistake": 0.7, "misuse": 0.6,
    "careful": 0.7, "again": 0.4, "odd": 0.2, "held": 0.3, "meddle": 0.4,
}  # fmt: skip


def plan_errands(
    chance: random.Random,
    until_s: float,
    rate: float,
    habits: tuple[str, ...] = ALL_HABITS,
    *,
    even: bool = False,
) -> list[dict[str, Any]]:
    """Draw errands.

    :param until_s: the last one begins before this moment.
    :param rate: errands a second, on average; a part of them comes in bursts.
    :param habits: those that occur in this world; reading always does.
    :param even: only those, all equally often.
    """
    names = habits if even else tuple(dict.fromkeys(("read", *habits)))
    weights = [1.0 if even else _WEIGHTS[name] for name in names]
    errands: list[dict[str, Any]] = []
    now = chance.uniform(0.5, 3.0)
    while now < until_s:
        habit = chance.choices(names, weights)[0]
        args = _ARGS[habit](chance)
        number = len(errands)
        if habit == "read" and number % 3 == 2:
            args["again"] = 2 + number % 5
        errands.append(
            {
                "id": f"e{number}",
                "at": round(now, 3),
                "who": chance.choice(NAMES),
                "habit": habit,
                "args": args,
            }
        )
        now += chance.expovariate(rate * 5) if chance.random() < 0.5 else chance.expovariate(rate / 1.8)
    return errands


def _manners(chance: random.Random) -> Args:
    """How somebody writes: with a key, leaving, and what they do about an unknown outcome."""
    args: Args = {
        "keyed": chance.random() < 0.4,
        "unknown": chance.choice(("again", "again", "ask", "leave it")),
    }
    if chance.random() < 0.15:
        args["leave_after_s"] = round(chance.choice((chance.uniform(0.0, 0.2), chance.uniform(0.2, 6.0))), 3)
    return args


def _change(chance: random.Random, field: str | None = None) -> Args:
    name = field or chance.choice(("title", "body"))
    value = None if chance.random() < 0.12 else chance.choice(WORDS)
    return {name: value}


def _read(chance: random.Random) -> Args:
    few = FILTERED if chance.random() < 0.1 else LISTS
    target = chance.choice((*few, f"/notes/{chance.choice(NOTES)}", f"/patients/{chance.choice(PATIENTS)}"))
    args: Args = {"target": target, "reload": chance.random() < 0.15}
    if chance.random() < 0.05:
        args["leave_after_s"] = round(chance.uniform(0.0, 4.0), 3)
    return args


def _note(chance: random.Random) -> Args:
    args = {"patient": chance.choice(PATIENTS[:2]), **_manners(chance)}
    if chance.random() < 0.3:
        args["staff_id"] = chance.choice((1, 2, 3, 99))
    if chance.random() < 0.2:
        args["then_delete"] = True
    return args


def _edit(chance: random.Random) -> Args:
    target = f"/notes/{chance.choice(NOTES)}"
    if chance.random() < 0.2:
        target = f"/patients/{chance.choice(PATIENTS)}"
        values = [{"name": chance.choice(WORDS)} for _ in range(chance.choice((1, 2)))]
    elif chance.random() < 0.4:
        first, second = chance.sample(WORDS, 2)
        values = [{"title": first}, {"title": second}, {"title": first}]
    else:
        values = [_change(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
    look = chance.random() < 0.7
    return {"target": target, "values": values, "look": look, **_manners(chance)}


def _twice(chance: random.Random) -> Args:
    return {"patient": chance.choice(PATIENTS[:2]), "keyed": chance.random() < 0.5}


def _delete(chance: random.Random) -> Args:
    kind = "patients" if chance.random() < 0.1 else "notes"
    highest = 8 if kind == "patients" else 30
    return {"target": f"/{kind}/{chance.randint(5, highest)}", **_manners(chance)}


def _password(chance: random.Random) -> Args:
    return {"keyed": chance.random() < 0.3}


def _guess(chance: random.Random) -> Args:
    args: Args = {"times": chance.randint(1, 4)}
    if chance.random() < 0.5:
        args["name"] = chance.choice(NAMES)
    if chance.random() < 0.4:
        args["leave_after_s"] = round(chance.uniform(0.05, 1.5), 3)
    return args


def _flood(chance: random.Random) -> Args:
    if chance.random() < 0.5:
        return {"times": chance.randint(6, 25), "leave_after_s": round(chance.uniform(0.1, 1.0), 3)}
    target = chance.choice(("/notes/1", "/patients/1", "/notes?patient_id=1"))
    return {"times": chance.randint(6, 20), "unknown_names": False, "target": target}


def _screen(chance: random.Random) -> Args:
    args: Args = {"patient": chance.choice(PATIENTS), "images": chance.choice((1, 2, 3))}
    if chance.random() < 0.3:
        args["leave_after_s"] = round(chance.uniform(0.1, 5.0), 3)
    if chance.random() < 0.1:
        args |= {"images": 40, "length": 2000}
    return args


_MISTAKES: tuple[Args, ...] = (
    {"method": "PUT", "target": "/patients/1"},
    {"method": "POST", "target": "/notes", "body": {"title": 7, "patient_id": 1, "body": "x"}},
    {"method": "GET", "target": "/patients?hospital_id=x"},
    {"method": "PATCH", "target": "/notes/1", "body": {"patient_id": "x"}},
    {"method": "GET", "target": "/nothing/here"},
    {"method": "DELETE", "target": "/patients/999999"},
    {"method": "POST", "target": "/patients", "body": {"name": "M", "hospital_id": 1, "birthdate": "banana"}},
    {"method": "POST", "target": "/patients/2/screen", "body": {"images": list(range(30))}},
    {"method": "POST", "target": "/notes", "body": {"title": "M", "patient_id": 1}, "values": 20_100},
)


def _mistake(chance: random.Random) -> Args:
    return dict(chance.choice(_MISTAKES))


def _misuse(chance: random.Random) -> Args:
    first, second = chance.choice((({"title": None}, {"body": None}), ({"title": "A"}, {"title": "B"})))
    return {"target": f"/notes/{chance.choice(NOTES)}", "values": [first, second]}


def _careful(chance: random.Random) -> Args:
    return {
        "target": f"/notes/{chance.choice(NOTES[:3])}",
        "values": [{"title": chance.choice(WORDS)} for _ in range(chance.choice((1, 2)))],
        "thinks_s": round(chance.choice((0.1, 2.0, 8.0)), 3),
        "weak": chance.random() < 0.2,
        "keyed": chance.random() < 0.3,
    }


def _again(chance: random.Random) -> Args:
    return {
        "patient": chance.choice(PATIENTS[:2]),
        "times": chance.choice((2, 3)),
        "pause": chance.choice((0.5, 20.0)),
    }


def _odd(chance: random.Random) -> Args:
    return {"patient": chance.choice(PATIENTS[:2]), "title": chance.choice((5, 1.5, 20260101, True))}


def _meddle(chance: random.Random) -> Args:
    return {"patient": chance.choice(PATIENTS[:2]), **_manners(chance)}


def _held(chance: random.Random) -> Args:
    length = chance.choice((10, 10, 70_000))
    wrong = chance.random() < 0.5
    return {"length": length, "wrong": wrong, "expects": not wrong or length < 1000 or chance.random() < 0.5}


_ARGS: Mapping[str, Callable[[random.Random], Args]] = {
    "read": _read, "note": _note, "twice": _twice, "edit": _edit, "delete": _delete, "password": _password,
    "guess": _guess, "flood": _flood, "screen": _screen, "mistake": _mistake, "misuse": _misuse,
    "careful": _careful, "again": _again, "odd": _odd, "held": _held, "meddle": _meddle,
}  # fmt: skip
