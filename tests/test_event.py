"""Events: something happens in one part, and others are told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.event import Event


class EventTests(SynchronousTestCase):
    def test_each_listener_is_told_each_time_in_the_order_of_arrival(self) -> None:
        event: Event[[int, str]] = Event()
        told: list[tuple[str, int, str]] = []
        event.tell(0, "nobody listens yet")
        event.listen(lambda number, text: told.append(("first", number, text)))
        event.tell(1, "one")
        event.listen(lambda number, text: told.append(("second", number, text)))
        event.tell(2, "both")
        self.assertEqual(told, [("first", 1, "one"), ("first", 2, "both"), ("second", 2, "both")])
