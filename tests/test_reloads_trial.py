"""The options and the mistakes of ``make reloads``: the trial runs seldom, and options are renamed."""

from __future__ import annotations

import tempfile
from itertools import permutations
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.reloads.choices import CHOICES, Choice, mistakes
from benchmarks.reloads.probes import expected
from benchmarks.reloads.site import Site
from hospproxy.checks import load_and_check
from hospproxy.config import ConfigError, Settings
from hospproxy.contract import document as contract_document
from hospproxy.options.changes import changes
from hospproxy.options.source import NO_ENVIRONMENT, source_of
from tests.control.test_commands import contract_of


class TrialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(contract_document, "load", contract_of)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.site = Site(self.folder, "http://127.0.0.1:3000")

    def settings(self, choice: Choice, more: str = "") -> Settings:
        self.site.write(choice, more)
        return load_and_check(source_of(self.folder / "hospproxy.toml"), NO_ENVIRONMENT)[0]

    def test_every_set_is_right_and_follows_every_other_without_a_restart(self) -> None:
        for one, other in permutations([self.settings(each) for each in CHOICES], 2):
            found = changes(one, other)
            self.assertTrue(found)
            self.assertEqual([each.path for each in found if not each.live], [])

    def test_every_pair_of_sets_differs_in_what_is_tried(self) -> None:
        for one, other in permutations(CHOICES, 2):
            self.assertNotEqual(expected(one), expected(other))

    def test_every_mistake_is_refused(self) -> None:
        right = self.settings(CHOICES[0])
        for each in mistakes(self.folder):
            try:
                found = changes(right, self.settings(CHOICES[0], each.lines))
            except ConfigError as error:
                self.assertIn(each.said, "\n".join(error.problems), each.name)
            else:
                said = " ".join(f"{change.path} cannot change" for change in found if not change.live)
                self.assertIn(each.said, said, each.name)
