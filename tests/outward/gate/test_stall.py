"""A stall of HOSP is detected from its usual response times, and a slow day is no stall."""

from __future__ import annotations

import random

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.gate.estimate import FEWEST, ResponseTimes
from hospproxy.outward.gate.stall import EVERY_S, StallDetector
from hospproxy.watch.metrics import Metrics

from .test_left_behind import READ, World

SEED = 20261128


class UsualTests(SynchronousTestCase):
    def usual(self, *lasted_s: float) -> ResponseTimes:
        usual = ResponseTimes()
        for seconds in lasted_s:
            usual.learn(seconds)
        return usual

    def test_of_too_few_answers_nothing_follows(self) -> None:
        self.assertTrue(self.usual(*[1.0] * (FEWEST - 1)).is_chance([1000.0]))
        self.assertFalse(self.usual(*[1.0] * FEWEST).is_chance([1000.0] * 3))

    def test_one_attempt_tells_by_the_longest_and_several_by_what_most_take(self) -> None:
        usual = self.usual(*[float(number % 8 + 1) for number in range(64)])
        self.assertTrue(usual.is_chance([11.9]))
        self.assertFalse(usual.is_chance([12.1]))
        self.assertTrue(usual.is_chance([6.0] * 2))
        self.assertFalse(usual.is_chance([9.5] * 5))
        self.assertTrue(usual.is_chance([9.5, 0.1, 0.1, 0.1, 0.1]), "those have only begun to wait")

    def test_one_answer_that_took_long_hides_nothing_for_long(self) -> None:
        usual = self.usual(*[4.0] * 40, 20.0, *[4.0] * 5)
        self.assertFalse(usual.is_chance([10.0] * 2))

    def test_the_last_few_count_for_more_than_many_before_them(self) -> None:
        usual = self.usual(*[4.0] * 64, 20.0, 20.0, 20.0)
        self.assertTrue(usual.is_chance([24.0] * 5))


class StallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.meter = Clock(), Metrics(strict=True)
        self.stall = StallDetector(self.clock, self.meter, 25.0)
        self.number = 0

    def begin(self) -> int:
        self.number += 1
        self.stall.sent(self.number)
        return self.number

    def answer(self, attempt: int, lasted_s: float) -> None:
        self.stall.answered(lasted_s)
        self.stall.over(attempt)

    def usual_day(self, *lasted_s: float) -> None:
        for seconds in lasted_s or [4.0] * 20:
            attempt = self.begin()
            self.clock.pump([seconds / 8] * 8)
            self.assertFalse(self.stall.stalled)
            self.answer(attempt, seconds)

    def silent_s(self) -> float:
        """Seconds until the stall is noticed."""
        began = self.clock.seconds()
        while not self.stall.stalled:
            self.clock.advance(0.25)
            self.assertLess(self.clock.seconds() - began, 60.0)
        return self.clock.seconds() - began

    def test_it_is_noticed_long_before_attempts_run_out_of_time(self) -> None:
        self.usual_day()
        for _ in range(5):
            self.begin()
        noticed = self.stall.noticed()
        self.assertLessEqual(self.silent_s(), 7.0)
        self.successResultOf(noticed)
        self.successResultOf(self.stall.noticed())
        self.assertEqual(self.meter.value("upstream_stalled"), 1)
        self.assertEqual(self.meter.value("breaker_events_total", event="stalled"), 1)

    def test_any_answer_ends_it(self) -> None:
        self.usual_day()
        attempts = [self.begin() for _ in range(5)]
        self.silent_s()
        self.answer(attempts[0], 7.0)
        self.assertEqual((self.stall.stalled, self.meter.value("upstream_stalled")), (False, 0))
        self.assertNoResult(noticed := self.stall.noticed())
        noticed.cancel()
        self.failureResultOf(noticed, CancelledError)
        self.silent_s()

    def test_without_any_experience_it_waits_until_hosp_must_have_finished(self) -> None:
        self.begin()
        self.assertGreaterEqual(self.silent_s(), 25.0)

    def test_with_nothing_in_hand_nobody_is_silent(self) -> None:
        self.usual_day()
        self.clock.advance(1000)
        self.assertFalse(self.stall.stalled)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        attempt = self.begin()
        self.clock.advance(EVERY_S)
        self.assertFalse(self.stall.stalled)
        self.stall.over(attempt)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_slow_day_is_no_stall(self) -> None:
        self.usual_day()
        attempts = [self.begin() for _ in range(5)]
        self.clock.pump([0.5] * 40)
        for attempt in attempts:
            self.answer(attempt, 20.0)
        # The first round may have counted as a stall. From now on responses after 20 s are usual.
        for _ in range(10):
            attempts = [self.begin() for _ in range(5)]
            for _ in range(40):
                self.clock.advance(0.5)
                self.assertFalse(self.stall.stalled)
            for attempt in attempts:
                self.answer(attempt, 20.0)

    def test_hosp_as_it_is_known_is_seldom_suspected(self) -> None:
        """With 4.4 s on average, 2 to 20 s, and five slots, false alarms are rare."""
        chance = random.Random(SEED)
        due: dict[int, tuple[float, float]] = {}
        alarms, was = 0, False
        for _ in range(4 * 3600):
            now = self.clock.seconds()
            for attempt, (began, end) in list(due.items()):
                if end <= now:
                    del due[attempt]
                    self.answer(attempt, now - began)
            while len(due) < 5:
                due[self.begin()] = now, now + min(20.0, 2.0 + chance.lognormvariate(0.5, 0.9))
            self.clock.advance(0.25)
            alarms += self.stall.stalled and not was
            was = self.stall.stalled
        self.assertLessEqual(alarms, 1, f"seed {SEED}")


class GateTests(SynchronousTestCase):
    def test_the_gate_tells_it_what_hosp_does(self) -> None:
        world = World(concurrency=5)
        self.addCleanup(world.close)
        for _ in range(20):
            world.send()
            world.clock.advance(4.0)
            world.hosp.end()
        for _ in range(3):
            world.send(READ)
        world.send().cancel()
        for _ in range(28):
            world.clock.advance(0.25)
        self.assertTrue(world.gate.stall.stalled)
        world.hosp.end(outcome=500)
        self.assertFalse(world.gate.stall.stalled)
