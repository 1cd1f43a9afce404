"""The rules on guesses that were sent, on retries after an outage, and on reads while HOSP is silent."""

from __future__ import annotations

from simulation.history import InHand, Trouble

from .stories import Story, note, shown
from .test_checker import RuleCase


def at_hosp(
    story: Story, number: int, op: int, target: str, begins: float, ends: float, status: int = 0
) -> None:
    """HOSP works on a client's request."""
    story.add(InHand(begins, number, "begins", "GET", target, f"sim-{op}"))
    story.add(InHand(ends, number, "ends", "GET", target, f"sim-{op}", status=status))


class GuessTests(RuleCase):
    def guessed(self, again_at: float, *, status: int = 401) -> Story:
        """A guess whose client leaves; HOSP refuses it at 3.0; the same guess again reaches HOSP."""
        story = Story()
        first = story.ask(1.0, "GET", "/staffs/me", password="guess", name="ann")
        story.breaks(1.5, first, "left")
        at_hosp(story, 1, first, "/staffs/me", 1.1, 3.0, status)
        again = story.ask(again_at, "GET", "/staffs/me", password="guess", name="ann")
        at_hosp(story, 2, again, "/staffs/me", again_at + 0.1, again_at + 0.5, 401)
        story.tell(again_at + 0.6, again, 401, record=False)
        story.record(again, status=401, who={"id": None, "certainty": "claimed"})
        return story

    def test_hosp_is_not_asked_again_what_it_has_refused(self) -> None:
        self.broken(self.guessed(4.0), "load.guess_again")
        self.good(self.guessed(8.5))
        self.good(self.guessed(2.0))
        self.good(self.guessed(4.0, status=500))
        story = self.guessed(4.0)
        story.add(Trouble(2.9, "reset hosp", "m0", 2.9))
        self.good(story)

    def dropped(self, password: str, at: float) -> Story:
        story = Story()
        guess = story.ask(1.0, "GET", "/staffs/me", password=password)
        story.breaks(1.5, guess, "left")
        story.add(InHand(1.1, 1, "begins", "GET", "/staffs/me", f"sim-{guess}"))
        story.add(InHand(at, 1, "deserted", "GET", "/staffs/me", f"sim-{guess}"))
        return story

    def test_a_guess_that_was_sent_is_finished(self) -> None:
        self.broken(self.dropped("guess", 1.6), "load.guess_dropped")
        self.good(self.dropped("guess", 25.0))
        self.good(self.dropped("ann-1", 1.6))


class RetryTests(RuleCase):
    def failed(self, *, repeats: int = 0, attempts: int = 1) -> Story:
        """A read that is told 500, after others were repeated."""
        story = Story(retries=2)
        for number in range(repeats):
            other = story.ask(10.0 + number, "GET", "/notes/1")
            for attempt in (0.1, 0.3):
                at = 10.0 + number + attempt
                at_hosp(story, 10 * number + int(attempt * 10), other, "/notes/1", at, at + 0.1, 500)
            story.tell(10.5 + number, other, 200, shown(note()))
        read = story.ask(20.0, "GET", "/notes/1")
        for number in range(attempts):
            at_hosp(story, 100 + number, read, "/notes/1", 20.1 + number, 20.2 + number, 500)
        story.tell(20.3 + attempts, read, 500, {"error": "x"})
        return story

    def test_a_500_is_passed_on_only_without_budget(self) -> None:
        self.broken(self.failed(), "load.passed_on")
        self.broken(self.failed(repeats=1), "load.passed_on")
        self.good(self.failed(repeats=2))
        self.good(self.failed(attempts=5))


class SilenceTests(RuleCase):
    def read(self, until: float, *, took: float = 0.2, before: bool = True, headers: bool = False) -> Story:
        """HOSP responds quickly, and is silent from 60 to 78; a read is sent at 70."""
        story = Story()
        for number in range(25):
            at = 30.0 + number
            op = story.ask(at, "GET", "/notes/1" if before else "/notes")
            at_hosp(story, number, op, "/notes/1", at + 0.01, at + took)
            story.tell(at + took + 0.1, op, 200, shown(note()) if before else [shown(note())])
        story.add(Trouble(60.0, "hosp silent", "m0", 78.0))
        waits = story.ask(61.0, "GET", "/notes/2", name="bob")
        at_hosp(story, 90, waits, "/notes/2", 61.1, 78.0, 404)
        story.tell(78.1, waits, 404)
        more = {"headers": (("X-Request-Id", "sim-27"), ("Cache-Control", "no-cache"))} if headers else {}
        read = story.ask(70.0, "GET", "/notes/1", **more)
        story.tell(until, read, 200, shown(note()))
        return story

    def test_what_was_read_before_does_not_wait(self) -> None:
        self.broken(self.read(77.0), "reads.silence")
        self.good(self.read(70.5))

    def test_unless_hosp_was_slow_or_must_be_asked(self) -> None:
        self.good(self.read(77.0, took=3.0))
        self.good(self.read(77.0, before=False))
        self.good(self.read(77.0, headers=True))
