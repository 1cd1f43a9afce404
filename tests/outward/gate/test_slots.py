from __future__ import annotations

from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from hospproxy.http.errors import BreakerOpen, NotSent, OverCapacity
from hospproxy.http.messages import Response
from hospproxy.interfaces import IProcessor
from hospproxy.options.gate_section import BreakerSettings, GateSettings
from hospproxy.outward.gate.breaker import BreakerState
from hospproxy.outward.gate.gate import Gate
from hospproxy.outward.gate.rules import PROBE
from hospproxy.outward.gate.slots import AllSlots, SlotUser
from hospproxy.watch.metrics import Metrics

from .test_gate import GateCase


class FakePlaces:
    def __init__(self, owned: int = 1, workers: int = 2, turn: int = 0) -> None:
        self.owned = self.usable = owned
        self.expected = max(1, owned)
        self.hopeless = False
        self.wait_s = 0.0
        self.workers, self.turn = workers, turn
        self.users: list[SlotUser] = []
        self.changes = 0

    def attach(self, user: SlotUser) -> None:
        self.users.append(user)

    def changed(self) -> None:
        self.changes += 1

    def start(self) -> None:
        pass

    def woken(self) -> None:
        pass

    async def stop(self) -> None:
        pass


class PlacesCase(GateCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.meter = Metrics(strict=True)
        self.places = FakePlaces()
        self.opened: list[Gate] = []
        settings, breaker = GateSettings(concurrency=5, max_queue=100), BreakerSettings(failures=2)
        self.gate = Gate(self.clock, settings, breaker, self.meter, self.opened.append, self.places)
        self.inside = []

    def give(self, owned: int, usable: int | None = None) -> None:
        self.places.owned, self.places.usable = owned, owned if usable is None else usable
        self.places.expected = max(1, self.places.usable)
        self.gate.told()

    def breakDown(self) -> None:
        self.clock.advance(3)
        for _ in range(2):
            answer = self.send("x")
            self.clock.advance(1.5)
            self.inside[-1][1].errback(NotSent("gone"))
            self.failureResultOf(answer, NotSent)


class OwningTests(PlacesCase):
    def test_no_more_than_are_owned_and_those_that_come_are_used_at_once(self) -> None:
        for name in "abcd":
            self.send(name)
        self.assertEqual(self.names(), ["a"])
        self.give(3)
        self.assertEqual(self.names(), ["a", "b", "c"])
        self.give(9)
        self.send("e")
        self.send("f")
        self.assertEqual(self.names(), ["a", "b", "c", "d", "e"])

    def test_with_none_one_waits(self) -> None:
        self.give(0)
        answer = self.send("a")
        self.assertNoResult(answer)
        self.give(1)
        self.assertEqual(self.names(), ["a"])

    def test_what_others_wait_for_is_not_taken_again(self) -> None:
        self.give(2)
        first = self.send("a")
        for name in "bc":
            self.send(name)
        self.give(2, usable=1)
        self.inside[0][1].callback(Response(200))
        self.successResultOf(first)
        self.assertEqual(self.names(), ["a", "b"])

    def test_they_are_told_of_who_waits_and_of_what_is_free(self) -> None:
        self.send("a")
        self.assertEqual(self.places.changes, 0)
        self.send("b")
        self.assertEqual(self.places.changes, 1)
        self.inside[0][1].callback(Response(200))
        self.assertEqual(self.places.changes, 2)
        self.assertEqual(self.places.users, [self.gate])

    def test_a_low_number_that_will_rise_is_no_reason_to_refuse(self) -> None:
        for n in range(12):
            self.send(str(n), deadline=self.clock.seconds() + 28)
            self.clock.advance(4.5)
            self.inside[-1][1].callback(Response(200))
        self.give(0)
        self.places.expected = 5
        deadline = self.clock.seconds() + 28
        for answer in [self.send(str(n), deadline=deadline) for n in range(20)]:
            self.assertNoResult(answer)
        self.places.expected = 1
        self.failureResultOf(self.send("late", deadline=deadline), OverCapacity)

    def test_where_nobody_can_give_one_nobody_waits(self) -> None:
        self.give(0)
        self.places.hopeless = True
        self.failureResultOf(self.send("a"), OverCapacity)

    def test_who_cannot_wait_until_there_is_one_is_told_when_to_ask_again(self) -> None:
        self.give(0)
        self.places.wait_s = 20.0
        refused = self.failureResultOf(self.send("a", deadline=19.0), OverCapacity)
        self.assertEqual(refused.value.retry_after_s, 20)
        waiting = self.send("b", deadline=26.0)
        self.assertNoResult(waiting)
        self.places.wait_s = 70.0
        refused = self.failureResultOf(self.send("c", deadline=28.0), OverCapacity)
        self.assertEqual(refused.value.retry_after_s, 30)

    def test_alone_all_are_mine(self) -> None:
        places = AllSlots(5)
        gate = Gate(
            self.clock,
            GateSettings(concurrency=5, max_queue=100),
            BreakerSettings(enabled=False),
            Metrics(),
            None,
            places,
        )
        self.assertTrue(verifyObject(IProcessor, gate))
        places.changed()
        self.assertEqual((places.owned, places.usable, places.expected, places.turn), (5, 5, 5, 0))


class UsingTests(PlacesCase):
    def test_what_it_makes_of_them(self) -> None:
        for name in "abc":
            self.send(name)
        using = self.gate.using()
        self.assertEqual((using.in_flight, using.waiting, using.opinion, using.gone), (1, 2, 5, False))
        self.assertIsNone(using.breaker)

    def test_an_old_opinion_counts_for_nobody_else(self) -> None:
        self.send("a")
        self.clock.advance(3)
        self.inside[0][1].callback(Response(503))
        self.assertEqual(self.gate.using().opinion, 4)
        self.clock.advance(31)
        self.assertEqual(self.gate.using().opinion, 5)

    def test_who_gets_afifth_of_the_answers_learns_as_fast_from_them(self) -> None:
        self.send("a")
        self.inside[0][1].callback(Response(503))
        self.send("b")
        self.inside[1][1].callback(Response(200))
        self.assertEqual(self.gate.using().opinion, 5)


class HearingTests(PlacesCase):
    def test_if_others_find_hosp_gone_it_is_gone(self) -> None:
        answer = self.send("a")
        waiting = self.send("b")
        self.clock.advance(5)
        self.gate.heard(BreakerState.OPEN, 4.0)
        self.failureResultOf(waiting, BreakerOpen)
        self.failureResultOf(self.send("c"), BreakerOpen)
        self.assertEqual(self.opened, [self.gate])
        self.assertIsNone(self.gate.using().breaker)
        self.assertTrue(self.gate.using().gone)
        self.inside[0][1].callback(Response(200))
        self.successResultOf(answer)
        self.assertEqual(self.gate.using().breaker, (BreakerState.CLOSED, 5.0))

    def test_what_hosp_has_said_here_since_counts_more(self) -> None:
        self.send("a")
        self.clock.advance(5)
        self.inside[0][1].callback(Response(200))
        self.clock.advance(10)
        self.gate.heard(BreakerState.OPEN, 4.0)
        self.assertIs(self.gate.state, BreakerState.CLOSED)

    def test_it_may_be_the_others_way_that_broke(self) -> None:
        self.send("a")
        self.clock.advance(5)
        self.inside[0][1].callback(Response(200))
        self.clock.advance(1)
        self.gate.heard(BreakerState.OPEN, 5.5)
        self.assertIs(self.gate.state, BreakerState.CLOSED)
        self.clock.advance(1)
        self.gate.heard(BreakerState.OPEN, 5.5)
        self.assertIs(self.gate.state, BreakerState.OPEN)

    def test_when_others_have_an_answer_it_is_back(self) -> None:
        self.breakDown()
        self.assertEqual(self.gate.using().breaker, (BreakerState.OPEN, 6.0))
        self.gate.heard(BreakerState.HALF_OPEN, 5.9)
        self.assertIs(self.gate.state, BreakerState.OPEN)
        self.gate.heard(BreakerState.HALF_OPEN, 6.1)
        self.assertIs(self.gate.state, BreakerState.HALF_OPEN)
        self.gate.heard(BreakerState.CLOSED, 6.2)
        self.assertIs(self.gate.state, BreakerState.CLOSED)
        self.gate.heard(BreakerState.HALF_OPEN, 6.3)
        self.assertIs(self.gate.state, BreakerState.CLOSED)

    def test_few_of_all_go_first(self) -> None:
        self.places.workers = 3
        self.give(2)
        self.breakDown()
        self.gate.heard(BreakerState.HALF_OPEN, 7.0)
        self.inside.clear()
        for name in "ab":
            self.send(name)
        self.assertEqual(self.names(), ["a"])
        self.places.turn = 2
        self.gate.told()
        self.inside[0][1].callback(Response(500))
        self.assertIs(self.gate.state, BreakerState.CLOSED)

    def test_in_ahalf_open_one_the_third_waits(self) -> None:
        self.places.workers, self.places.turn = 3, 2
        self.breakDown()
        self.gate.heard(BreakerState.HALF_OPEN, 7.0)
        self.inside.clear()
        self.send("a")
        self.assertEqual(self.names(), [])
        self.gate.heard(BreakerState.CLOSED, 8.0)
        self.assertEqual(self.names(), ["a"])

    def test_one_of_all_asks(self) -> None:
        self.breakDown()
        self.assertTrue(self.gate.has_room)
        self.places.turn = 1
        self.assertFalse(self.gate.has_room)
        self.failureResultOf(self.send(PROBE), OverCapacity)

    def test_a_probe_takes_aplace(self) -> None:
        self.give(0)
        self.assertFalse(self.gate.has_room)
