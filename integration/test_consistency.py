"""The short forms of ``make consistency`` and ``make machines-kill``, and the function that judges the first."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import pytest_twisted

from benchmarks.consistency.checker import Life, Seen, floors, judge, marks, versions

from .processes import Processes, Running

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 600.0


async def trial(processes: Processes, name: str, *options: str) -> Running:
    """Run one of the trials in its short form."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = (sys.executable, "-m", f"benchmarks.{name}", "--short", *options)
    return await processes.run(name, *command, timeout_s=LIMIT_S, cwd=ROOT, env={"PYTHONPATH": path})


@pytest_twisted.ensureDeferred
async def test_nobody_is_shown_what_was_before_a_write(processes: Processes) -> None:
    """Four workers on two machines; Redis, workers and machines are killed, cut off and paused."""
    ran = await trial(processes, "consistency")
    assert ran.status == 0, ran.log


@pytest_twisted.ensureDeferred
async def test_the_trial_finds_what_is_stale(processes: Processes) -> None:
    """With two proxies on one HOSP that share nothing, the trial finds every kind of violation."""
    ran = await trial(processes, "consistency", "--expect-stale")
    assert ran.status == 0, ran.log


@pytest_twisted.ensureDeferred
async def test_killed_workers_and_machines_store_each_note_once(processes: Processes) -> None:
    ran = await trial(processes, "machines")
    assert ran.status == 0, ran.log


def life(sent: int, answered: int, ended: int | None = None) -> Life:
    return Life(number=7, author=1, patient=3, id=70, sent=sent, answered=answered, ended=ended)


@pytest.mark.parametrize(
    ("record", "shown", "wrong"),
    [
        (life(2, 2), 2, []),
        (life(2, 2), 1, ["old"]),
        (life(3, 2), 2, []),  # the third version is in flight
        (life(3, 2), 3, []),
        (life(3, 2), 1, ["old"]),
        (life(3, 2), 4, ["impossible"]),
        (life(2, 2), None, ["missing"]),
        (life(1, 0), None, []),  # its creation is in flight
        (life(1, 0), 1, []),
        (life(3, 2, ended=3), None, []),  # its deletion is in flight
        (life(3, 2, ended=3), 2, []),
        (life(3, 2, ended=3), 1, ["old"]),
        (life(3, 3, ended=3), None, []),
        (life(3, 3, ended=3), 2, ["old"]),  # it was deleted, and is shown all the same
    ],
)
def test_judge(record: Life, shown: int | None, wrong: list[str]) -> None:
    """Compare what a read shows with the writes that were acknowledged before it was sent."""
    assert judge({} if shown is None else {7: shown}, floors([record])) == wrong


def test_what_is_answered_after_the_sending_does_not_count() -> None:
    """Only earlier responses count, because the read and the write may overlap."""
    record = life(2, 1)
    before = floors([record])
    record.answered = 2
    assert judge({7: 1}, before) == []
    assert judge({7: 1}, floors([record])) == ["old"]


def test_versions() -> None:
    one, other = {"body": "record 7 version 3"}, {"body": "record 8 version 12"}
    assert versions(one) == {7: 3}
    assert versions([one, other, {"body": "No findings."}, {"id": 3}]) == {7: 3, 8: 12}
    assert versions({"body": "record 7 version 3, and more"}) == {}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", (False, "")),
        ("hospproxy; hit; ttl=41", (True, "")),
        ("hospproxy; fwd=uri-miss; fwd-status=200; stored; ttl=60", (False, "")),
        ("hospproxy; hit; ttl=-9; detail=stale-while-revalidate", (True, "stale-while-revalidate")),
        ("hospproxy; fwd=stale; ttl=0; detail=stale-if-error", (False, "stale-if-error")),
        ("hospproxy; hit; ttl=-3", (True, "past its time")),
        ("hospproxy; fwd=stale; fwd-status=200; detail=invalidated", (False, "")),
    ],
)
def test_marks(field: str, expected: tuple[bool, str]) -> None:
    assert marks(field) == expected


def test_what_is_marked_is_not_judged() -> None:
    seen = Seen()
    seen.read("hospproxy; hit; ttl=-9; detail=stale-if-error", ["old"], "one", "it")
    assert (sum(seen.wrong.values()), seen.marked_older["stale-if-error"]) == (0, 1)
    seen.read("hospproxy; hit; ttl=9", ["old", "old"], "one", "it")
    assert (seen.wrong["old"], seen.by_worker) == (1, {"one": [2, 2]})
    assert seen.examples == ["old, old: it (hospproxy; hit; ttl=9)"]
