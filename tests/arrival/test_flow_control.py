from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.arrival.budget import BodyBudget
from hospproxy.arrival.flow_control import FlowControl


class OutflowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.budget, self.room = Clock(), BodyBudget(1000), 0
        self.outflow = FlowControl(self.clock, self.budget, 60, self.has_room)

    def has_room(self) -> None:
        self.room += 1

    def test_interface(self) -> None:
        verifyObject(IPushProducer, self.outflow)

    def test_the_clock_is_not_wound_up_again(self) -> None:
        self.outflow.expect(10)
        self.outflow.pauseProducing()
        self.clock.advance(5)
        self.outflow.pauseProducing()
        self.assertEqual((self.outflow.deadline, self.budget.used), (60, 10))

    def test_room_again(self) -> None:
        self.outflow.expect(10)
        self.outflow.pauseProducing()
        self.outflow.resumeProducing()
        self.outflow.resumeProducing()
        self.assertEqual((self.outflow.blocked, self.room, self.budget.used), (False, 1, 0))

    def test_a_handshake_is_not_an_answer(self) -> None:
        self.outflow.pauseProducing()
        self.outflow.resumeProducing()
        self.assertEqual((self.outflow.blocked, self.room), (False, 0))

    def test_gone(self) -> None:
        self.outflow.expect(10)
        self.outflow.pauseProducing()
        self.outflow.stopProducing()
        self.outflow.stopProducing()
        self.assertEqual((self.outflow.blocked, self.room, self.budget.used), (False, 0, 0))


class TakenTests(SynchronousTestCase):
    """The handler that made a response learns whether its client has received it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.outflow = FlowControl(self.clock, BodyBudget(1000), 60, lambda: None)
        self.told: list[bool] = []

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(0)

    def test_a_short_answer_is_there_after_the_reactors_next_round(self) -> None:
        self.outflow.when_taken(self.told.append)
        self.assertEqual(self.told, [])
        self.rounds(2)
        self.assertEqual(self.told, [True])

    def test_what_the_system_has_taken_is_told_before_anything_else_is_read(self) -> None:
        class Sent:
            has_sent_all = True

            def writeSequence(self, pieces: object) -> None:
                pass

        self.outflow.send(Sent(), [b"head", b"body"])
        self.outflow.when_taken(self.told.append)
        self.assertEqual(self.told, [True])
        self.outflow.stopProducing()
        self.outflow.when_taken(self.told.append)
        self.assertEqual(self.told, [True, False])

    def test_a_connection_that_goes_before_that_takes_it_along(self) -> None:
        self.outflow.when_taken(self.told.append)
        self.outflow.stopProducing()
        self.rounds(2)
        self.assertEqual(self.told, [False])

    def test_a_long_answer_is_there_when_there_is_room_again(self) -> None:
        self.outflow.expect(10)
        self.outflow.pauseProducing()
        self.outflow.when_taken(self.told.append)
        self.rounds(3)
        self.assertEqual(self.told, [])
        self.outflow.resumeProducing()
        self.outflow.stopProducing()
        self.assertEqual(self.told, [True])

    def test_a_long_answer_that_is_cut_off_is_lost(self) -> None:
        self.outflow.expect(10)
        self.outflow.pauseProducing()
        self.outflow.when_taken(self.told.append)
        self.outflow.stopProducing()
        self.outflow.stopProducing()
        self.assertEqual(self.told, [False])
