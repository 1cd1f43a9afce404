"""Plans of defects that were found once, or are planted: without the defect none of them breaks a promise."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simulation import runner
from simulation.faults import Plan
from simulation.mutants import MUTANTS
from simulation.mutants import injection as mutants

STORIES = Path(runner.__file__).parent / "stories"


class StoriesTests(SynchronousTestCase):
    def test_each_plan_keeps_every_promise(self) -> None:
        runner.prepare()
        for path in sorted([*STORIES.glob("*.json"), *mutants.STORIES.glob("*.json")]):
            result = runner.run(Plan.read(path))
            self.assertEqual(result.failure, "", path.name)
            self.assertEqual([each.text for each in result.violations], [], path.name)

    def test_each_says_what_it_broke(self) -> None:
        for path in [*STORIES.glob("*.json"), *mutants.STORIES.glob("*.json")]:
            story = json.loads(path.read_text())
            self.assertTrue(story["broke"], path.name)
            self.assertEqual(story["name"], path.stem)

    def test_each_of_the_mutants_has_the_name_of_one(self) -> None:
        stories = {path.stem for path in mutants.STORIES.glob("*.json")}
        self.assertTrue(stories)
        self.assertEqual(stories - set(MUTANTS), set())
