"""The rule on the order of writes: it finds a small history that breaks it, and lets one pass that does not."""

from __future__ import annotations

from attrs import evolve

from simulation.history import Broke, Committed, Credentials, Trouble

from .stories import Story, note, shown
from .test_checker import RuleCase


class OrderTests(RuleCase):
    def late(self, told: int, land: float = 9.0, house: str = "", **premises: str) -> Story:
        story = Story(**premises)
        first = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"}, house=house)
        body = {"outcome": "unknown"} if told == 504 else shown(note(1, "B"))
        second = story.ask(4.0, "PATCH", "/notes/1", {"title": "C"})
        story.tell(3.0, first, told, body)
        story.updated(5.0, note(), note(1, "C"), second)
        story.tell(6.0, second, 200, shown(note(1, "C")))
        story.updated(land, note(1, "C"), note(1, "B"), first)
        return story

    def test_an_earlier_write_lands_on_alater_one(self) -> None:
        self.broken(self.late(504), "order.undone")
        self.broken(self.late(200), "order.undone", "writes.lost")

    def test_without_redis_two_machines_do_not_know_and_the_workers_of_one_do(self) -> None:
        for shape, house, rules in (
            ("machines", "other", ()),
            ("machines", "", ("order.undone",)),
            ("workers", "", ("order.undone",)),
        ):
            story = self.late(504, house=house, shape=shape)
            story.add(Trouble(0.5, "redis away", "m0", 20.0))
            self.broken(story, *rules)

    def test_a_client_that_left_before_its_write_was_sent_may_come_later(self) -> None:
        for received, rules in ((2.0, ("order.undone",)), (7.0, ())):
            story = Story()
            first = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"})
            story.breaks(3.0, first, "left")
            second = story.ask(4.0, "PATCH", "/notes/1", {"title": "C"})
            story.updated(5.0, note(), note(1, "C"), second)
            story.tell(6.0, second, 200, shown(note(1, "C")))
            story.updated(9.0, note(1, "C"), note(1, "B"), first)
            landed = list(story.history.of(Committed))[-1]
            story.history.events[story.history.events.index(landed)] = evolve(landed, received=received)
            self.broken(story, *rules)

    def test_what_akey_repeats_was_wished_when_it_was_first_asked(self) -> None:
        """The retry gets the outcome of an old write while another user's later write is in flight."""
        story = Story()
        first = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"}, key="k", intent="i")
        story.updated(2.0, note(), note(1, "B"), first)
        story.tell(3.0, first, 504, {"outcome": "unknown"})
        later = story.ask(4.0, "PATCH", "/notes/1", {"title": "C"})
        story.add(Broke(5.0, later, "left"))
        again = story.ask(6.0, "PATCH", "/notes/1", {"title": "B"}, key="k", intent="i")
        story.tell(7.0, again, 200, shown(note(1, "B")))
        story.updated(8.0, note(1, "B"), note(1, "C"), later)
        self.assertNotIn("order.undone", story.rules())

    def test_writes_at_one_time_may_land_in_any_order(self) -> None:
        story = Story()
        first = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"})
        second = story.ask(1.0, "PATCH", "/notes/1", {"title": "C"})
        story.updated(2.0, note(), note(1, "C"), second)
        story.tell(3.0, second, 200, shown(note(1, "C")))
        story.updated(4.0, note(1, "C"), note(1, "B"), first)
        story.tell(5.0, first, 200, shown(note(1, "B")))
        self.good(story)

    def test_a_change_is_not_sent_again_on_top_of_another(self) -> None:
        for between, rules in ((True, ("order.repeated",)), (False, ())):
            story = Story()
            op = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"})
            story.updated(2.0, note(), note(1, "B"), op)
            if between:
                story.updated(3.0, note(1, "B"), note(1, "C"))
            story.updated(4.0, note(1, "C" if between else "B"), note(1, "B"), op)
            story.tell(5.0, op, 200, shown(note(1, "B")))
            self.broken(story, *rules)

    def test_a_key_stays_ones_own_with_anew_password(self) -> None:
        """The retry gets the outcome of the first request, which came before another user's later write."""
        story = Story()
        first = story.ask(1.0, "PATCH", "/notes/1", {"title": "B"}, key="k", intent="i")
        story.updated(2.0, note(), note(1, "B"), first)
        story.tell(3.0, first, 504, {"outcome": "unknown"})
        story.add(Credentials(4.0, "ann", "ann-2", 1, "1.1"))
        other = story.ask(5.0, "PATCH", "/notes/1", {"title": "C"}, name="bob")
        story.updated(6.0, note(1, "B"), note(1, "C"), other)
        story.tell(7.0, other, 200, shown(note(1, "C")))
        again = story.ask(8.0, "PATCH", "/notes/1", {"title": "B"}, key="k", intent="i", password="ann-2")
        story.tell(9.0, again, 200, shown(note(1, "B")))
        self.assertNotIn("writes.lost", story.rules())
