"""The rules on what follows the journal: each finds a small history that breaks it, and accepts one that does not."""

from __future__ import annotations

from simulation.history import CourierLife, Delivered, Due, Indexed, Left, Recorded

from .stories import Life, Story, Trouble
from .test_checker import RuleCase

FIRST, SECOND = "audit-w0-00000001-x.jsonl", "audit-w0-00000002-y.jsonl"


class DeliveryStory(Story):
    """A machine with two files of a journal: a closed one of two records, and one that is written, with the third."""

    def __init__(self) -> None:
        super().__init__()
        self.add(CourierLife(0.5, "m0", "started", 101))
        for seq in (1, 2, 3):
            file, packed = (FIRST, f"{FIRST}.gz") if seq < 3 else (SECOND, SECOND)
            line = {"kind": "digest", "seq": seq, "prev": f"h{seq - 1}"}
            self.add(Recorded(90.0, "m0", packed, seq, line, f"h{seq}"))
            self.add(Due(50.0, "m0", file, seq, f"h{seq}", file == FIRST))
        self.add(Left(90.0, "m0", f"{FIRST}.gz"))
        self.add(Left(90.0, "m0", SECOND))

    def delivered(self, *sequence: int) -> None:
        for at, seq in enumerate(sequence, 10):
            self.add(Delivered(float(at), "m0", "http", "w0", seq, f"h{seq}"))

    def indexed(self, *sequence: int) -> None:
        for seq in sequence:
            self.add(Indexed(90.0, "m0", FIRST if seq < 3 else SECOND, seq))

    def without(self, kind: type) -> None:
        events = self.history.events
        events[:] = [event for event in events if not isinstance(event, kind)]


class DeliveryTests(RuleCase):
    def story(self, *delivered: int, indexed: tuple[int, ...] = (1, 2)) -> DeliveryStory:
        story = DeliveryStory()
        story.delivered(*delivered)
        story.indexed(*indexed)
        return story

    def test_everything_came_some_of_it_twice(self) -> None:
        self.good(self.story(1, 2, 3))
        self.good(self.story(1, 2, 1, 2, 3))
        self.good(self.story(1, 2, 3, indexed=(1, 2, 3)))

    def test_a_record_never_came(self) -> None:
        self.broken(self.story(1, 2), "delivery.lost")

    def test_a_record_came_before_an_earlier_one(self) -> None:
        self.broken(self.story(1, 3, 2, 3), "delivery.order")

    def test_a_record_came_that_the_journal_does_not_hold(self) -> None:
        self.broken(self.story(1, 2, 3, 4), "delivery.taken_back")

    def test_the_index_has_a_record_twice_or_not_at_all_or_made_it_up(self) -> None:
        self.broken(self.story(1, 2, 3, indexed=(1, 1, 2)), "delivery.indexed_twice")
        self.broken(self.story(1, 2, 3, indexed=(1,)), "delivery.not_indexed")
        self.broken(self.story(1, 2, 3, indexed=(1, 2, 4)), "delivery.index_invents")

    def test_a_world_without_an_index(self) -> None:
        self.good(self.story(1, 2, 3, indexed=()))

    def test_a_closed_file_is_not_packed_or_exists_twice_or_half(self) -> None:
        for names in ((), (FIRST,), (FIRST, f"{FIRST}.gz"), (f"{FIRST}.gz", f"{FIRST}.gz.part")):
            story = self.story(1, 2, 3)
            story.without(Left)
            for name in (*names, SECOND):
                story.add(Left(90.0, "m0", name))
            self.broken(story, "delivery.not_packed")

    def test_a_packed_file_lacks_a_record(self) -> None:
        story = self.story(1, 2, 3)
        events = story.history.events
        events[:] = [event for event in events if not (isinstance(event, Recorded) and event.number == 2)]
        self.broken(story, "delivery.verify", "delivery.taken_back", "delivery.index_invents", "trail.chain")


class HarmedTests(RuleCase):
    def story(self, *faults: str) -> Story:
        story = DeliveryStory()
        story.delivered(1, 2, 3)
        for kind in faults:
            story.add(Trouble(20.0, kind, "m0", 20.0))
        return story

    def test_the_service_ends_with_its_courier(self) -> None:
        for faults, rules in (
            ((), ("delivery.harmed",)),
            (("courier dies",), ("delivery.harmed",)),
            (("kill",), ()),
        ):
            story = self.story(*faults)
            story.add(Life(30.0, "m0", "killed", 100))
            self.broken(story, *rules)

    def test_a_connection_breaks_when_the_courier_dies(self) -> None:
        for faults, rules in (
            (("courier dies", "reset sink"), ("delivery.harmed",)),
            (("courier dies", "reset clients"), ()),
        ):
            story = self.story(*faults)
            story.breaks(31.0, story.ask(30.0, "GET", "/notes/1"), "cut")
            self.broken(story, *rules)
