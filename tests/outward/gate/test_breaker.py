from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.gate.breaker import Breaker, BreakerState


def opened() -> Breaker:
    """A breaker that opened at 2.0 s."""
    breaker = Breaker(5, slow_s=20.0)
    for now in (0.0, 0.5, 1.0, 1.5, 2.0):
        breaker.gone(now, now)
    assert breaker.state is BreakerState.OPEN
    return breaker


class Opening(SynchronousTestCase):
    def test_failures_in_a_row_open_it(self) -> None:
        breaker = Breaker(5, slow_s=20.0)
        for now in (0.0, 0.5, 1.0, 1.5):
            breaker.gone(now, now)
        self.assertIs(breaker.state, BreakerState.CLOSED)
        breaker.gone(2.0, 2.0)
        self.assertIs(breaker.state, BreakerState.OPEN)

    def test_an_answer_in_between_begins_anew(self) -> None:
        breaker = Breaker(2, slow_s=20.0)
        for now in range(0, 100, 2):
            breaker.gone(now, now)
            breaker.answered(now + 1)
        self.assertIs(breaker.state, BreakerState.CLOSED)

    def test_connections_that_break_together_are_one_event(self) -> None:
        breaker = Breaker(5, slow_s=20.0)
        for _ in range(20):
            breaker.gone(0.0, 0.4)
        self.assertIs(breaker.state, BreakerState.CLOSED)
        breaker.gone(1.5, 1.5)
        self.assertIs(breaker.state, BreakerState.OPEN)

    def test_attempts_that_run_out_of_time_count_when_nothing_else_was_answered(self) -> None:
        breaker = Breaker(5, slow_s=20.0)
        for state in (BreakerState.CLOSED, BreakerState.OPEN):
            breaker.asked(0.0)
            breaker.silent(0.0, 28.0)
            self.assertIs(breaker.state, state)

    def test_they_do_not_while_others_are_answered(self) -> None:
        breaker = Breaker(5, slow_s=20.0)
        for _ in range(5):
            breaker.asked(0.0)
        breaker.answered(15.0)
        for _ in range(5):
            breaker.silent(0.0, 28.0)
        self.assertIs(breaker.state, BreakerState.CLOSED)

    def test_a_time_in_which_nobody_asked_is_no_silence(self) -> None:
        breaker = Breaker(1, slow_s=20.0)
        breaker.asked(0.0)
        breaker.ended(1.0)  # its client has left
        breaker.asked(3600.0)
        breaker.silent(3600.0, 3610.0)
        self.assertIs(breaker.state, BreakerState.CLOSED)
        breaker.silent(3600.0, 3619.0)
        self.assertIs(breaker.state, BreakerState.OPEN)


class Closing(SynchronousTestCase):
    def test_a_probe_lets_a_few_through_and_the_next_closes_it(self) -> None:
        breaker = opened()
        breaker.answered(3.0, probe=True)
        self.assertIs(breaker.state, BreakerState.HALF_OPEN)
        breaker.answered(5.0, probe=True)
        self.assertIs(breaker.state, BreakerState.CLOSED)

    def test_any_other_answer_closes_it(self) -> None:
        for state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            breaker = opened()
            if state is BreakerState.HALF_OPEN:
                breaker.answered(3.0, probe=True)
            breaker.answered(3.5)
            self.assertIs(breaker.state, BreakerState.CLOSED)

    def test_a_failure_of_the_few_opens_it_again(self) -> None:
        breaker = opened()
        breaker.try_again(3.0)
        breaker.gone(3.5, 3.6)
        self.assertIs(breaker.state, BreakerState.OPEN)

    def test_a_failure_of_one_sent_before_does_not(self) -> None:
        breaker = opened()
        breaker.answered(3.0, probe=True)
        breaker.gone(2.9, 3.6)
        self.assertIs(breaker.state, BreakerState.HALF_OPEN)

    def test_it_takes_a_run_anew_to_open_it_again(self) -> None:
        breaker = opened()
        breaker.answered(3.0)
        for _ in range(4):
            breaker.gone(5.0, 5.0)
        self.assertIs(breaker.state, BreakerState.CLOSED)


class BreakerModel(RuleBasedStateMachine):
    """The breaker compared with its rules written as plain code."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(3, span_s=1.0, slow_s=20.0)
        self.run: list[float] = []
        self.under_way: list[float] = []
        self.moved = 0.0

    def tell(self, state: BreakerState) -> None:
        if state is not self.breaker.state:
            self.moved = self.now

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 7.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        self.under_way.append(self.now)
        self.breaker.asked(self.now)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 50), probe=st.booleans())
    def answer(self, which: int, probe: bool) -> None:
        self.under_way.pop(which % len(self.under_way))
        before = self.breaker.state
        self.breaker.answered(self.now, probe=probe)
        self.breaker.ended(self.now)
        half = probe and before is BreakerState.OPEN
        assert self.breaker.state is (BreakerState.HALF_OPEN if half else BreakerState.CLOSED)
        self.run = []
        self.tell(before)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 50))
    def fail(self, which: int) -> None:
        began = self.under_way.pop(which % len(self.under_way))
        before = self.breaker.state
        self.breaker.gone(began, self.now)
        self.breaker.ended(self.now)
        self.run.append(self.now)
        expected = before
        if before is BreakerState.HALF_OPEN:
            expected = BreakerState.OPEN if began >= self.moved else before
        elif len(self.run) >= 3 and self.run[-1] - self.run[0] >= 1.0:
            expected = BreakerState.OPEN
        assert self.breaker.state is expected
        self.tell(before)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 50))
    def give_up(self, which: int) -> None:
        self.under_way.pop(which % len(self.under_way))
        before = self.breaker.state
        self.breaker.ended(self.now)
        assert self.breaker.state is before

    @invariant()
    def silence(self) -> None:
        assert 0.0 <= self.breaker.silence_s(self.now) <= self.now + 1e-9


class Stateful(SynchronousTestCase):
    def test_it_does_as_its_rules_say(self) -> None:
        run_state_machine_as_test(BreakerModel, settings=settings(max_examples=100, deadline=None))  # type: ignore[no-untyped-call]
