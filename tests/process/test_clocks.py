"""Waits do not follow the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.base import DelayedCall, ReactorBase
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process.clocks import install_monotonic, wall


class Reactor:
    """The timers of Twisted's own reactor, without its sockets."""

    seconds: Callable[[], float]
    callLater = ReactorBase.callLater
    timeout = ReactorBase.timeout
    runUntilCurrent = ReactorBase.runUntilCurrent
    getDelayedCalls = ReactorBase.getDelayedCalls
    _insertNewDelayedCalls = ReactorBase._insertNewDelayedCalls
    _cancelCallLater = ReactorBase._cancelCallLater
    _moveCallLaterSooner = ReactorBase._moveCallLaterSooner

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self._newTimedCalls: list[DelayedCall] = []
        self._pendingTimedCalls: list[DelayedCall] = []
        self._cancellations = 0
        self._justStopped = False
        self.threadCallQueue: list[object] = []


class MonotonicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = {"wall": 1_700_000_000.0, "monotonic": 50.0}
        self.patch(time, "time", lambda: self.now["wall"])
        self.patch(time, "monotonic", lambda: self.now["monotonic"])
        self.reactor = Reactor(time.time)
        self.fired: list[str] = []

    def advance(self, seconds: float, wall_jump: float = 0.0) -> None:
        self.now["monotonic"] += seconds
        self.now["wall"] += seconds + wall_jump
        self.reactor.runUntilCurrent()

    def test_a_timer_fires_though_the_clock_is_set_back(self) -> None:
        install_monotonic(self.reactor)
        self.reactor.callLater(0.3, self.fired.append, "timer")
        self.advance(0.1, wall_jump=-3600)
        self.assertAlmostEqual(self.reactor.timeout(), 0.2, 5)
        self.advance(0.21)
        self.assertEqual(self.fired, ["timer"])

    def test_without_it_the_timer_is_late(self) -> None:
        """The reason for hospproxy/process/clocks.py: if Twisted fixes this one day, that module can go."""
        self.reactor.callLater(0.3, self.fired.append, "timer")
        self.advance(0.31, wall_jump=-2)
        self.assertEqual(self.fired, [])

    def test_no_timer_fires_early_when_the_clock_is_set_forward(self) -> None:
        install_monotonic(self.reactor)
        self.reactor.callLater(10, self.fired.append, "timer")
        self.advance(1, wall_jump=3600)
        self.assertEqual(self.fired, [])

    def test_timers_that_were_set_before(self) -> None:
        early = self.reactor.callLater(5, self.fired.append, "early")
        cancelled = self.reactor.callLater(1, self.fired.append, "cancelled")
        self.reactor.callLater(2, self.fired.append, "second")
        self.reactor.runUntilCurrent()
        cancelled.cancel()
        install_monotonic(self.reactor)
        self.now["wall"] -= 1000
        early.reset(1)
        self.advance(0.9)
        self.assertEqual(self.fired, [])
        self.advance(0.6)
        self.assertEqual(self.fired, ["early"])
        self.advance(1)
        self.assertEqual(self.fired, ["early", "second"])

    def test_time_goes_on_from_where_it_was(self) -> None:
        install_monotonic(self.reactor)
        self.assertEqual(self.reactor.seconds(), 1_700_000_000.0)

    def test_twice_is_once(self) -> None:
        install_monotonic(self.reactor)
        first = self.reactor.seconds
        install_monotonic(self.reactor)
        self.assertIs(self.reactor.seconds, first)

    def test_a_tests_clock_is_left_alone(self) -> None:
        clock = Clock()
        install_monotonic(clock)
        self.assertEqual(clock.seconds(), 0)

    def test_the_wall_clock_follows_the_wall(self) -> None:
        self.now["wall"] = 123.0
        self.assertEqual(wall(), 123.0)
