from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from simulation import runner
from simulation.checker import Violation
from simulation.faults import Fault, Plan, draw
from simulation.history import Asked, Committed, History, Told
from simulation.hosp.behaviour import HospPlan
from simulation.runner import Result
from simulation.shrink import shrink
from simulation.story import tell

from .stories import Story, note, shown

QUIET = Plan(
    7,
    busy_s=30.0,
    calm_at=20.0,
    settle_s=20.0,
    hosp=HospPlan("7", mean_s=0.2),
    errands=(
        {"id": "e0", "at": 2.0, "who": "ann", "habit": "note", "args": {"patient": 1}},
        {"id": "e1", "at": 3.0, "who": "bob", "habit": "read", "args": {"target": "/notes/1"}},
    ),
)


class PlanTests(SynchronousTestCase):
    def test_a_plan_is_text_and_comes_back(self) -> None:
        for seed in range(20):
            plan = draw(seed)
            self.assertEqual(Plan.from_json(plan.to_json()).to_json(), plan.to_json())

    def test_the_same_seed_gives_the_same_plan_whatever_the_hash_seed(self) -> None:
        code = "from simulation.faults import draw; print([draw(n).to_json() for n in range(10)])"
        texts = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        self.assertEqual(len(texts), 1)

    def test_each_seed_has_only_some_kinds_of_faults(self) -> None:
        kinds = [frozenset(fault.kind.split()[0] for fault in draw(seed).faults) for seed in range(40)]
        self.assertIn(frozenset(), kinds)
        self.assertGreater(len(set(kinds)), 10)


class RunningTests(SynchronousTestCase):
    def setUp(self) -> None:
        runner.prepare()

    def test_a_quiet_world_keeps_every_promise(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder, "history")
            result = runner.run(QUIET, kept)
            self.assertEqual(result.failure, "")
            history = History.read(kept)
        self.assertEqual([each.text for each in result.violations], [])
        self.assertEqual(len([asked for asked in history.of(Asked) if asked.method == "POST"]), 1)
        self.assertEqual(sorted(told.status for told in history.of(Told)), [200] * 4 + [201])
        self.assertEqual(len([one for one in history.of(Committed) if one.request_id]), 1)

    def test_the_same_plan_gives_the_same_digest(self) -> None:
        self.assertEqual(runner.run(QUIET).digest, runner.run(QUIET).digest)
        self.assertNotEqual(runner.run(QUIET).digest, runner.run(evolve(QUIET, seed=8)).digest)

    def test_a_world_that_cannot_be_run_says_why(self) -> None:
        broken = evolve(QUIET, errands=({"id": "e0", "at": 1.0, "who": "nobody", "habit": "x", "args": {}},))
        self.assertTrue(runner.run(broken).failure or runner.run(broken).violations)


class ShrinkTests(SynchronousTestCase):
    def test_what_has_nothing_to_do_with_it_goes(self) -> None:
        plan = evolve(
            QUIET,
            errands=tuple(
                {"id": f"e{n}", "at": float(n), "who": "ann", "habit": "read", "args": {}} for n in range(20)
            ),
            faults=tuple(Fault(float(n), "behind") for n in range(10)),
        )

        def attempt(tried: Plan) -> Result:
            ids = {errand["id"] for errand in tried.errands}
            broken = {"e3", "e17"} <= ids and any(fault.at == 4.0 for fault in tried.faults)
            return Result(tried, (Violation("r", 18.0, "t"),) if broken else ())

        small = shrink(attempt(plan), "r", attempt=attempt).plan
        self.assertEqual([errand["id"] for errand in small.errands], ["e3", "e17"])
        self.assertEqual([fault.at for fault in small.faults], [4.0])


class TellingTests(SynchronousTestCase):
    def test_a_story_names_what_was_asked_told_and_committed(self) -> None:
        story = Story()
        op = story.ask(1.0, "DELETE", "/notes/7")
        story.tell(2.0, op, 200, "deleted")
        other = story.ask(1.0, "GET", "/patients/3")
        story.tell(2.0, other, 200, shown(note()))
        text = tell(story.history, next(each for each in story.violations() if each.rule == "writes.lost"))
        self.assertIn("ann asks #1 (i1): DELETE /notes/7", text)
        self.assertIn("#1 is told 200", text)
        self.assertNotIn("/patients/3", text)
