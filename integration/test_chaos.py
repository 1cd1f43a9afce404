"""The short form of ``make chaos``, and the functions that judge it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import pytest_twisted

from benchmarks.chaos.clients import Answer, Person, Write
from benchmarks.chaos.exhausted import Record, exhausted
from benchmarks.chaos.verdict import Verdict, judge, lateness_s

from .processes import Processes

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = ("kill", "ambiguous", "keys", "storm", "surge", "outage", "stall", "revocation")
LIMIT_S = 850.0
WHO = Person(1, "staff1", "password1")


@pytest_twisted.ensureDeferred
async def test_short_form(processes: Processes) -> None:
    """Each scenario meets its targets."""
    named = [word for name in SCENARIOS for word in ("--scenario", name)]
    command = (sys.executable, "-m", "benchmarks.chaos", "--short", "--at-once", "4", *named)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    chaos = await processes.run("chaos", *command, timeout_s=LIMIT_S, cwd=ROOT, env={"PYTHONPATH": path})
    assert chaos.status == 0, chaos.log
    for name in SCENARIOS:
        assert f"── {name}: met" in chaos.log


def write(*told: Answer) -> Write:
    return Write(WHO, "a note", 1, told=list(told))


def answer(status: int, **document: object) -> Answer:
    return Answer(status, 0.0, 0.1, document=document)


def note(number: int, staff: int = 1) -> dict[str, object]:
    return {"id": number, "body": "a note", "patient_id": 1, "staff_id": staff}


UNKNOWN = answer(504, outcome="unknown")
NOTHING = Answer(0, 0.0, 0.1)


@pytest.mark.parametrize(
    ("writes", "stored", "broken"),
    [
        ([write(answer(201, id=7))], [note(7)], {}),
        ([write(answer(201, id=7))], [], {"lost": 1, "contradicted": 1}),
        ([write(answer(201, id=7))], [note(7), note(8)], {"doubled": 1}),
        ([write(answer(201, id=7))], [note(8)], {"contradicted": 1}),
        ([write(answer(201, id=7))], [note(7, staff=2)], {"wrong_author": 1}),
        ([write(answer(500))], [note(7)], {"contradicted": 1}),
        ([write(answer(500))], [], {}),
        ([write(answer(503))], [], {}),
        ([write(UNKNOWN)], [note(7)], {"unknown": 1}),
        ([write(UNKNOWN)], [note(7), note(8)], {"unknown": 1, "doubled": 1}),
        ([write(NOTHING)], [], {"unanswered": 1}),
        ([write(NOTHING, answer(201, id=7))], [note(7)], {}),
        ([write(NOTHING, UNKNOWN, answer(500))], [note(7)], {"contradicted": 1}),
        ([write(answer(201, id=7)), write(answer(201, id=8))], [note(7), note(8)], {}),
        ([write(answer(201, id=7)), write(answer(201, id=7))], [note(7)], {"lost": 1, "contradicted": 1}),
        ([write(answer(201, id=7)), write(answer(500))], [note(7), note(8)], {"contradicted": 1}),
    ],
)
def test_judge(writes: list[Write], stored: list[dict[str, object]], broken: dict[str, int]) -> None:
    """The judge compares what clients were told with what HOSP stored."""
    acknowledged = sum(each.answer is not None and each.answer.succeeded for each in writes)
    assert judge(writes, stored) == Verdict(writes=len(writes), acknowledged=acknowledged, **broken)


def record(**fields: object) -> Record:
    usual = {"time": "2026-01-01T12:00:00.000Z", "duration_ms": 900.0, "request_id": "r1", "status": 500}
    names = ("on_behalf_of", "cache", "route", "record_id", "patient_id")
    return {**usual, **dict.fromkeys(names), "action": "read", "attempts": 1, **fields}


OTHERS = [record(request_id=f"r{number}", attempts=2) for number in range(2, 60)]


@pytest.mark.parametrize(
    ("failed", "others", "why"),
    [
        (record(), [], None),
        (record(attempts=4), [], None),
        (record(attempts=5), [], "attempts"),
        (record(action="create", attempts=2), [], None),
        (record(action="create", attempts=3), [], "attempts"),
        (record(duration_ms=27_700.0), [], None),
        (record(duration_ms=27_900.0), [], "deadline"),
        (record(action="update", duration_ms=27_300.0), [], "deadline"),
        (record(attempts=0), [record(request_id="r2", attempts=5)], None),
        (
            record(attempts=0),
            [record(request_id="r2", attempts=5, on_behalf_of={"request_id": "r1"})],
            "attempts",
        ),
        (record(attempts=0, cache="collapsed"), [record(request_id="r2", attempts=5)], "attempts"),
        (record(attempts=0, cache="collapsed"), [record(request_id="r2", attempts=4)], None),
        (record(), OTHERS[:48], None),
        (record(), OTHERS[:50], "budget"),
        (record(time="2026-01-01T12:02:00.000Z"), OTHERS, None),
    ],
)
def test_exhausted(failed: Record, others: list[Record], why: str | None) -> None:
    """HOSP's failure may be passed on only if the trail shows what was used up."""
    assert exhausted(failed, [failed, *others]) == why


def test_lateness() -> None:
    """Lateness is computed for late commits only, matched by request."""
    faults = [
        {"request": 1, "at": 10.0, "fault": "late_commit"},
        {"request": 2, "at": 11.0, "fault": "error_after"},
    ]
    stored = [{"request": 1, "at": 14.5}, {"request": 2, "at": 11.5}, {"request": 3, "at": 12.0}]
    assert lateness_s(faults, stored) == [4.5]
