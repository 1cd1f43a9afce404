"""Scenes: short worlds with only some habits and faults, in which one kind of defect shows soon. For mutants.

An ordinary world has everything in it and takes seconds of the processor. A scene has few errands, on few records,
and no last looks unless it asks for them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from .clients.errand_plan import FILTERED, plan_errands
from .faults import DRAWERS, REPORTS, SETTLE_S, Fault, Plan
from .hosp.behaviour import HospPlan


@frozen
class Scene:
    """How the worlds of a scene are drawn.

    :param habits: of its people; reading is always among them, unless all are `even`.
    :param faults: HOSP's, with their rates.
    :param strikes: kinds of other faults, as in `faults.DRAWERS`; each is drawn once for each time it is listed.
    :param world: as in `Plan.world`; of a list one is drawn.
    :param args: arguments of errands by habit, instead of drawn ones; of a list one is drawn each time.
    :param rate: errands a second.
    :param mean_s: mean time that HOSP takes.
    :param even: only its habits occur, all equally often.
    :param settle_s: seconds that the world goes on after its last errand.
    :param settles: whether the world goes on until everything has settled, with last looks.
    """

    habits: tuple[str, ...]
    faults: Mapping[str, float] = field(factory=dict)
    strikes: tuple[str, ...] = ()
    world: Mapping[str, Any] = field(factory=dict)
    args: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    busy_s: float = 70.0
    rate: float = 0.6
    mean_s: float = 0.5
    settle_s: float = 60.0
    settles: bool = False
    even: bool = False


_KEYS = [True, False, False]
_HOT_NOTE = {"target": ["/notes/1", "/notes/2"], "keyed": _KEYS}
_HOT_EDIT = {"edit": _HOT_NOTE}
_A_B_A = {
    "values": [[{"title": "A"}, {"title": "B"}, {"title": "A"}], [{"body": "A"}, {"body": "B"}, {"body": "A"}]],
    "target": [f"/notes/{id_}" for id_ in range(1, 13)],
    "keyed": False, "tries": 1, "unknown": "leave it", "leaves": [[0], [0, 1]],
    "leave_after_s": [0.1, 0.3, 0.6, 1.0], "look": [True, False],
}  # fmt: skip
"""Somebody writes A, leaves before the response, writes B, and A again."""
_SAME_NOTE = {"note": {"patient": 1, "keyed": _KEYS}}
_LOST = {"reset_after": 0.2, "error_after": 0.15, "late_reset": 0.1, "error_before": 0.1}
_LATE = {"late_reset": 0.35, "late_timeout": 0.1}
_WORKERS = {"workers": 2}

SCENES: Mapping[str, Scene] = {
    "late edits": Scene(("edit",), _LATE, args=_HOT_EDIT),
    "late edits, deaths": Scene(("edit",), _LATE, ("deaths", "deaths"), args=_HOT_EDIT),
    "failed edits": Scene(("edit",), {"error_before": 0.3, "reset_before": 0.2, "reset_after": 0.1}, args=_HOT_EDIT),
    "A, B, A": Scene(("edit",), {"error_before": 0.05}, args={"edit": _A_B_A}, mean_s=1.0),
    "A, B, A, deaths": Scene(("edit",), {}, ("deaths", "deaths"), args={"edit": _A_B_A | {"pause": [2.0, 6.0, 12.0]}}),
    "A, changed outside, A": Scene(
        ("edit",), {}, ("often behind",), rate=0.4, mean_s=1.0,
        args={"edit": _A_B_A | {"values": [[{"title": "A"}, {"title": "A"}]], "pause": [4.0, 8.0], "look": True}},
    ),
    "A, changed outside, A, deaths": Scene(
        ("edit",), {}, ("often behind", "slow disk", "kills in the ledger"), rate=1.0, mean_s=0.1, even=True,
        args={"edit": _A_B_A | {
            "values": [[{"title": "A"}, {"title": "A"}]], "leaves": [[0]], "leave_after_s": [0.6, 1.0, 1.5],
            "pause": [2.0, 4.0, 8.0], "look": True,
        }},
    ),
    "failed edits, deaths": Scene(
        ("edit",), {"error_before": 0.2, "reset_before": 0.2, "reset_after": 0.2}, ("deaths",), args=_HOT_EDIT
    ),
    "failed edits, others": Scene(
        ("edit",), {"reset_before": 0.2, "reset_after": 0.3}, ("behind", "behind"), args=_HOT_EDIT
    ),
    "keys for two": Scene(("misuse",), {"error_before": 0.2}),
    "lost notes": Scene(("note", "twice"), _LOST, args=_SAME_NOTE, world={"imported": [True, False]}),
    "twins": Scene(
        ("twice",), {"error_before": 0.4}, args={"twice": {"keyed": False, "in_turn": [True, True, False]}},
        mean_s=0.1, rate=1.0,
    ),
    "lost notes, clocks": Scene(
        ("note", "twice"), _LOST, ("clocks", "clocks"), {}, _SAME_NOTE
    ),
    "lost notes, deaths": Scene(
        ("note", "twice"), _LOST, ("deaths", "deaths", "clocks"), {"imported": [True, False]}, _SAME_NOTE
    ),
    "lost notes, slow network": Scene(
        ("note",), {"late_reset": 0.6}, ("slow to HOSP",), args={"note": {"patient": 1, "then_delete": False}},
        rate=1.0, even=True),
    "lost notes, Redis": Scene(("note", "twice"), _LOST, ("redis", "redis"), args={"note": {"patient": 1}}),
    "edits among many": Scene(("edit",), {}, ("redis", "redis"), args=_HOT_EDIT, rate=1.5, mean_s=0.2),
    "lost notes among many": Scene(("note", "twice"), {"reset_after": 0.3, "error_after": 0.2}, args=_SAME_NOTE),
    "numbers for texts": Scene(
        ("odd",), {"error_after": 0.5}, even=True,
        world={"options": f"[validation]\n{REPORTS}\n"},
    ),
    "unseen deletes": Scene(("delete",), {"error_before": 0.4, "reset_before": 0.2}, world={"visible": "own"}),
    "screenings": Scene(("screen",), {"reset_after": 0.2}, ("disks",), args={"screen": {"length": 0}}),
    "long screenings": Scene(
        ("screen",), {"reset_before": 0.3, "reset_after": 0.1}, ("deaths",), rate=0.5, settles=True,
        args={"screen": {"images": 40, "length": 2000, "patient": 1}},
    ),
    "lost edits, clocks": Scene(
        ("edit",), {"error_after": 0.3, "reset_after": 0.3}, ("HOSP's clock", "often behind"), args=_HOT_EDIT,
        mean_s=3.0,
    ),
    "refused edits": Scene(("edit",), {"error_before": 0.3}, args=_HOT_EDIT, mean_s=0.1),
    "hidden by a move": Scene(
        ("edit", "delete"), {"error_before": 0.4}, world={"visible": "own"}, rate=1.0,
        args={
            "edit": {"target": [f"/patients/{id_}" for id_ in range(1, 9)], "values": [[{"hospital_id": 2}]]},
            "delete": {
                "target": [f"/patients/{id_}" for id_ in range(1, 9)],
                "look_first": True,
                "thinks_s": [5.0, 15.0],
            },
        },
        even=True,
    ),
    "others' changed notes": Scene(
        ("note",), {"error_after": 0.4}, world={"stamps_differ": True},
        args={"note": {"patient": 1, "then_delete": False, "staff_id": 1}}, rate=1.0,
    ),
    "stamps a millisecond apart": Scene(
        ("note",), {"error_after": 0.4}, world={"stamps_differ": 0.001}, busy_s=45.0, rate=2.0, mean_s=1.5,
        args={"note": {"patient": 1, "then_delete": False, "staff_id": 1}}, even=True,
    ),
    "left screenings": Scene(
        ("screen",), {}, ("slow disk",), settles=True, even=True,
        args={"screen": {"leave_after_s": [0.3, 0.6, 1.0, 1.5]}},
    ),
    "unknown names that leave": Scene(("flood", "guess"), rate=0.5, mean_s=4.0),
    "guesses that leave": Scene(
        ("guess",), rate=1.0, mean_s=0.8, even=True,
        args={"guess": {"name": "", "same": True, "leave_after_s": [0.1, 0.3, 5.0], "pause": [1.5, 2.5]}},
    ),
    # Each thing is read seldom, so that most of what is in memory has expired.
    "silent HOSP": Scene(("read",), {}, ("silences",), busy_s=200.0, rate=1.0, mean_s=0.2, args={
        "read": {"target": [f"/notes/{id_}" for id_ in range(1, 13)], "reload": False, "leave_after_s": None},
    }),
    "500s after an outage": Scene(
        ("read",), {"error_before": 0.1}, ("early outage",), {"retries": 10}, rate=3.0, mean_s=0.1,
        args={"read": {"reload": True}},
    ),
    "slow deletes": Scene(("delete",), rate=1.5, mean_s=6.0, even=True),
    "odd answers": Scene(
        ("note", "edit"),
        {"bare_lf": 0.1, "unasked_304": 0.1, "unasked_206": 0.1, "too_many": 0.1, "busy": 0.05, "busy_wait": 0.1},
        world={"says": [["ranges"]]},
    ),
    "odd answers, plain": Scene(("note",), world={"says": [["no_date"], ["no_cache"]], "hosp_skew_s": 0.0}),
    "careful edits": Scene(("careful", "edit"), args=_HOT_EDIT, rate=1.0),
    "careful edits, failing reads": Scene(
        ("careful",), {"error_before": 0.1, "reset_before": 0.5}, rate=1.0, even=True
    ),
    "keys again": Scene(("again",), {"reset_after": 0.2}),
    "keys again, clocks": Scene(("again",), {}, ("clocks",) * 6, rate=1.0, even=True),
    "reads in an outage": Scene(("read",), {}, ("outages", "outages"), rate=3.0),
    "passwords changed outside": Scene(("read",), {}, ("passwords behind",), rate=4.0, mean_s=0.1),
    "filters": Scene(("read", "note"), args={"read": {"target": list(FILTERED)}}, rate=1.0),
    # Corrections of cache entries are shown only while HOSP is away.
    "filters not applied": Scene(
        ("read", "edit"), {}, ("outages", "outages"), {"passes_over": True},
        {"read": {"target": list(FILTERED)}, **_HOT_EDIT}, rate=3.0, mean_s=0.1,
    ),
    "mistakes": Scene(("mistake", "held"), rate=1.0),
    "huge ids": Scene(("note", "read"), {"error_after": 0.4}, world={"huge_id": True}, args=_SAME_NOTE),
    "courier": Scene(
        ("read", "note", "edit"), {}, ("courier's deaths", "courier's deaths", "sinks"),
        {"courier": True, "index": True}, busy_s=60.0, rate=3.0, mean_s=0.1, settle_s=160.0,
    ),
    "courier and service": Scene(
        ("read", "note", "edit"), {}, ("courier's deaths", "deaths", "disks", "sinks"),
        {"courier": True, "index": True}, busy_s=60.0, rate=3.0, mean_s=0.1, settle_s=160.0,
    ),
    "lost notes, workers die": Scene(
        ("note", "twice"), _LOST, ("worker's deaths", "worker's deaths"), {"imported": [True, False], **_WORKERS},
        _SAME_NOTE, rate=1.0,
    ),
    "late edits, workers die": Scene(
        ("edit",), _LATE, ("worker's deaths", "worker's deaths"), _WORKERS, _HOT_EDIT
    ),
    "late edits, workers without Redis": Scene(
        ("edit",), _LATE, ("no Redis",), _WORKERS, even=True, busy_s=90.0, mean_s=0.2,
        args={"edit": {"target": [f"/notes/{id_}" for id_ in range(1, 7)], "keyed": False}},
    ),
    "keys again, workers die": Scene(
        ("again",), {"reset_after": 0.2}, ("worker's deaths", "worker's deaths"), _WORKERS, rate=1.0
    ),
    "slow HOSP, workers die": Scene(
        ("read", "note"), {}, ("worker's deaths", "worker's deaths"), _WORKERS, rate=2.0, mean_s=4.0,
        settles=True,
    ),
    "lost notes that others change": Scene(
        ("note", "meddle"), {"reset_after": 0.3, "late_reset": 0.3}, world={"imported": True}, rate=1.2,
        args={"note": {"patient": 1, "then_delete": False}, "meddle": {"patient": 1}}, even=True),
}  # fmt: skip


def scene_of(name: str, seed: int, shape: str = "one") -> Plan:
    """Draw the plan of a seed in a scene."""
    scene = SCENES[name]
    chance = random.Random(f"scene|{name}|{seed}")
    calm_at = scene.busy_s * 0.8
    hosp = HospPlan(str(seed), dict(scene.faults), scene.mean_s, until=calm_at)
    plan = Plan(seed, shape, scene.busy_s, calm_at, hosp, _drawn(chance, scene.world))
    return evolve(
        plan,
        faults=_faults(chance, plan, scene),
        errands=tuple(_errands(chance, scene)),
        settle_s=SETTLE_S if scene.settles else scene.settle_s,
    )


def _faults(chance: random.Random, plan: Plan, scene: Scene) -> tuple[Fault, ...]:
    found = [fault for name in scene.strikes for fault in DRAWERS[name](chance, plan)]
    return tuple(sorted(found, key=lambda fault: fault.at))


def _errands(chance: random.Random, scene: Scene) -> list[dict[str, Any]]:
    errands = plan_errands(chance, scene.busy_s, scene.rate, scene.habits, even=scene.even)
    for errand in errands:
        errand["args"] |= _drawn(chance, scene.args.get(errand["habit"], {}))
    return errands


def _drawn(chance: random.Random, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: chance.choice(value) if isinstance(value, list) else value for name, value in values.items()
    }
