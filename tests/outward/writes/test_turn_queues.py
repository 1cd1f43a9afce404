"""Turns: one write at a time, in the order of arrival."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import OverCapacity
from hospproxy.outward.writes.turn_queues import TurnQueues


class TurnQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = TurnQueues(self.clock)

    def take(self, turn: bytes = b"t", deadline: float = 10.0) -> Deferred[None]:
        return Deferred.fromCoroutine(self.turns.take(turn, deadline))

    def test_one_after_the_other_in_their_order(self) -> None:
        first, second, third = self.take(), self.take(), self.take()
        self.successResultOf(first)
        self.turns.give(b"t")
        self.successResultOf(second)
        self.assertNoResult(third)
        self.turns.give(b"t")
        self.successResultOf(third)
        self.turns.give(b"t")
        self.assertEqual(len(self.turns), 0)

    def test_who_is_too_late_is_passed_over(self) -> None:
        self.take()
        late, third = self.take(deadline=1.0), self.take()
        self.clock.advance(2)
        self.failureResultOf(late, OverCapacity)
        self.turns.give(b"t")
        self.successResultOf(third)

    def test_what_two_processes_left_is_waited_for_until_both_are_settled(self) -> None:
        """Without Redis, two workers can each have sent a change of the same record."""
        self.turns.hold(b"t")
        self.turns.hold(b"t")
        mine = self.take()
        self.turns.give(b"t")
        self.assertNoResult(mine)
        self.turns.give(b"t")
        self.successResultOf(mine)

    def test_others_do_not_wait(self) -> None:
        self.turns.hold(b"t")
        self.successResultOf(self.take(b"u"))
        self.turns.give(b"nobody's")
