"""The rules on workers that die alone: each finds a small history that breaks it, and lets one pass that does not."""

from __future__ import annotations

from simulation.history import Life, Trouble

from .stories import Story
from .test_checker import RuleCase


class WorkersTests(RuleCase):
    def story(self, *kinds: str) -> Story:
        story = Story(shape="workers")
        for pid in (101, 102):
            story.add(Life(0.5, "m0", "started", pid))
        for kind in kinds:
            story.add(Trouble(10.0, kind, "m0", 10.0))
        return story

    def test_a_sibling_ends_with_it(self) -> None:
        for kinds, what, rules in (
            (("kill worker",), "ended", ("service.sibling_ended",)),
            (("kill worker",), "killed", ("service.sibling_ended",)),
            (("kill worker",), "over", ()),
            (("kill worker", "kill worker"), "killed", ()),
            (("kill worker", "kill"), "killed", ()),
        ):
            story = self.story(*kinds)
            story.add(Life(11.0, "m0", "killed", 101))
            story.add(Life(12.0, "m0", what, 102, 0))
            self.broken(story, *rules)

    def test_a_connection_is_refused_while_a_sibling_serves(self) -> None:
        for kind, dead, asked_at, rules in (
            ("kill worker", (101,), 32.0, ("service.turned_away",)),
            ("kill worker", (101,), 12.0, ()),  # its sibling has just started
            ("kill worker", (101, 102), 32.0, ()),
            ("restart", (101,), 32.0, ()),
        ):
            story = self.story(kind, kind)
            for pid in dead:
                story.add(Life(11.0, "m0", "killed", pid))
            story.breaks(asked_at + 0.5, story.ask(asked_at, "GET", "/notes/1"), "refused")
            self.broken(story, *rules)
