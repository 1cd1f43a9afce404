"""Plans of defects that were found once: none of them may break a promise again."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simulation import running
from simulation.faults import Plan

STORIES = Path(running.__file__).parent / "stories"


class StoriesTests(SynchronousTestCase):
    def test_each_plan_keeps_every_promise(self) -> None:
        running.prepare()
        for path in sorted(STORIES.glob("*.json")):
            result = running.run(Plan.read(path))
            self.assertEqual(result.failure, "", path.name)
            self.assertEqual([each.text for each in result.violations], [], path.name)

    def test_each_says_what_it_broke(self) -> None:
        for path in STORIES.glob("*.json"):
            story = json.loads(path.read_text())
            self.assertTrue(story["broke"], path.name)
            self.assertEqual(story["name"], path.stem)
