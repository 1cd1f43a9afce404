"""Hooks: something happens in one part, and others are told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.hook import Hook


class HookTests(SynchronousTestCase):
    def test_each_listener_is_told_each_time_in_the_order_of_arrival(self) -> None:
        hook: Hook[[int, str]] = Hook()
        told: list[tuple[str, int, str]] = []
        hook.tell(0, "nobody listens yet")
        hook.listen(lambda number, text: told.append(("first", number, text)))
        hook.tell(1, "one")
        hook.listen(lambda number, text: told.append(("second", number, text)))
        hook.tell(2, "both")
        self.assertEqual(told, [("first", 1, "one"), ("first", 2, "both"), ("second", 2, "both")])
