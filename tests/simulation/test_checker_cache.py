"""The rules on what the cache may serve: to whom, and for how long."""

from __future__ import annotations

from simulation.history import Credentials, Told

from .stories import Story, Trouble, note, shown
from .test_checker import RuleCase


class CacheTests(RuleCase):
    def refused(self, *, shape: str = "one", good_again: bool = False, asked: float = 6.0) -> Story:
        """A password that was changed outside; HOSP refuses the old one; a later read with it is answered."""
        story = Story(shape=shape)
        story.add(Credentials(2.0, "ann", "ann-1", None, behind=True))
        story.tell(4.0, story.ask(3.0, "GET", "/notes/1"), 401)
        if good_again:
            story.add(Credentials(5.0, "ann", "ann-1", 1, "1.2"))
        story.tell(7.0, story.ask(asked, "GET", "/notes/1"), 200, shown(note()), cache="hit; ttl=9")
        return story

    def test_credentials_that_hosp_has_refused_read_nothing(self) -> None:
        self.broken(self.refused(), "reads.refused_before")

    def test_unless_they_are_good_again_or_the_read_was_sent_before(self) -> None:
        self.good(self.refused(good_again=True))
        self.good(self.refused(asked=3.5))
        self.good(self.refused(shape="workers"))

    def aged(self, age: int, cache: str = "hit; ttl=-70", target: str = "/notes/1") -> Story:
        story = Story()
        op = story.ask(200.0, "GET", target)
        body = shown(note()) if target == "/notes/1" else []
        headers = {"x-request-id": f"sim-{op}", "cache-status": f"hospproxy; {cache}", "age": str(age)}
        story.add(Told(201.0, op, 200, headers, body))
        story.record(op, status=200)
        return story

    def test_a_response_is_not_served_for_ever(self) -> None:
        self.broken(self.aged(130), "reads.too_old")
        self.broken(self.aged(700, target="/hospitals"), "reads.too_old")

    def test_but_for_its_lifetime_or_while_hosp_fails(self) -> None:
        self.good(self.aged(80))
        self.good(self.aged(95))  # its lifetime began with HOSP's response, its age with the request
        self.good(self.aged(500, target="/hospitals"))
        self.good(self.aged(130, "hit; ttl=-70; detail=stale-if-error"))
        story = self.aged(130)
        story.add(Trouble(1.0, "clock proxy", "m0", 1.0))
        self.good(story)
