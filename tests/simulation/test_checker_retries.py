"""The rules on retries: which equal write may get the response of an earlier one."""

from __future__ import annotations

from .stories import Story, note, shown
from .test_checker import RuleCase


class RetriesTests(RuleCase):
    def changed_outside(self, *, told: bool = False, key: str | None = None, shape: str = "one") -> Story:
        """A change whose response is lost; a change that bypasses the proxy; the first change again, replayed."""
        story = Story(shape=shape)
        first = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"}, key=key)
        story.updated(1.5, note(), note(1, "B"), first)
        if told:
            story.tell(2.0, first, 200, shown(note(1, "B")))
        else:
            story.breaks(2.0, first)
        story.updated(3.0, note(1, "B"), note(1, "C"))
        return story

    def again(self, story: Story, at: float = 9.0) -> Story:
        again = story.ask(at, "PATCH", "/notes/1", {"title": "B"})
        story.tell(at + 1.0, again, 200, shown(note(1, "B")))
        return story

    def test_a_retry_gets_the_first_response_though_somebody_bypassed_the_proxy(self) -> None:
        self.good(self.again(self.changed_outside()))
        self.broken(self.again(self.changed_outside(told=True)), "writes.lost")
        self.broken(self.again(self.changed_outside(key="k")), "writes.lost")
        self.broken(self.again(self.changed_outside(), 140.0), "writes.lost")

    def test_several_workers_ask_hosp_first(self) -> None:
        for shape in ("workers", "machines"):
            self.broken(self.again(self.changed_outside(shape=shape)), "writes.lost")

    def test_a_change_that_was_shown_or_came_through_the_proxy_ends_the_window(self) -> None:
        for target, body in (("/notes/1", shown(note(1, "C"))), ("/notes", [shown(note(1, "C"))])):
            story = self.changed_outside()
            story.tell(5.0, story.ask(4.0, "GET", target), 200, body)
            self.broken(self.again(story), "writes.lost")
        story = self.changed_outside()
        other = story.ask(4.0, "PATCH", "/notes/1", {"title": "D"}, name="bob")
        story.updated(5.0, note(1, "C"), note(1, "D"), other, staff=2)
        story.tell(6.0, other, 200, shown(note(1, "D")))
        self.broken(self.again(story), "writes.lost")
