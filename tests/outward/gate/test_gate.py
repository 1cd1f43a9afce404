from __future__ import annotations

import sys
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.exchange.exchange import Exchange
from hospproxy.http.errors import (
    BadAnswer,
    BreakerOpen,
    FailedAfterSending,
    NotSent,
    OverCapacity,
    ProxyError,
)
from hospproxy.http.messages import Priority, Response
from hospproxy.interfaces import IProcessor
from hospproxy.options.gate_section import BreakerSettings, GateSettings
from hospproxy.outward.gate.breaker import BreakerState
from hospproxy.outward.gate.gate import Gate
from hospproxy.outward.gate.rules import PROBE
from hospproxy.watch.metrics import Metrics
from tests.stages import identified

WRITE, READ, REFRESH = Priority.WRITE, Priority.READ, Priority.REFRESH


def end(answer: Deferred[Response]) -> None:
    """Leave nothing for the garbage collector, which would report it in another test."""
    answer.addErrback(lambda _: None)
    answer.cancel()


class GateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.meter = Metrics(strict=True)
        self.gate = Gate(
            self.clock, GateSettings(concurrency=2, max_queue=3), BreakerSettings(enabled=False), self.meter
        )
        self.inside: list[tuple[str, Deferred[Response]]] = []

    def send(
        self,
        name: str = "",
        priority: Priority = READ,
        deadline: float = 28.0,
        whose: bytes | None = None,
    ) -> Deferred[Response]:
        exchange = identified(deadline=deadline, priority=priority, own=name, credentials=whose)
        answer = Deferred.fromCoroutine(self.gate.process(exchange, self.proceed))
        self.addCleanup(end, answer)
        return answer

    async def proceed(self, exchange: Exchange) -> Response:
        answer: Deferred[Response] = Deferred()
        self.inside.append((exchange.own, answer))
        return await answer

    def names(self) -> list[str]:
        return [name for name, _ in self.inside]

    def refusal(self, answer: Deferred[Response]) -> OverCapacity:
        return self.failureResultOf(answer, OverCapacity).value  # type: ignore[no-any-return]

    def sample(self, name: str, **labels: str) -> float | None:
        return self.meter.value(name, **labels)


class Passing(GateCase):
    def test_it_is_a_processor(self) -> None:
        self.assertTrue(verifyObject(IProcessor, self.gate))

    def test_so_many_at_one_time_then_the_next_in_order(self) -> None:
        answers = [
            self.send(n, p) for n, p in (("a", READ), ("b", READ), ("c", REFRESH), ("d", READ), ("e", WRITE))
        ]
        self.assertEqual(self.names(), ["a", "b"])
        self.assertEqual((self.sample("gate_in_flight"), self.sample("gate_waiting")), (2, 3))
        for i in range(5):
            self.inside[i][1].callback(Response(200 + i))
        self.assertEqual(self.names(), ["a", "b", "e", "d", "c"])
        self.assertEqual([self.successResultOf(a).status for a in answers], [200, 201, 204, 203, 202])
        self.assertEqual((self.sample("gate_in_flight"), self.sample("gate_waiting")), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_failure_gives_the_place_back(self) -> None:
        first, _second, _third = self.send("a"), self.send("b"), self.send("c")
        self.inside[0][1].errback(BadAnswer("x"))
        self.failureResultOf(first, BadAnswer)
        self.assertEqual(self.names(), ["a", "b", "c"])

    def test_cancelling_inside_gives_the_place_back(self) -> None:
        first, _second, _third = self.send("a"), self.send("b"), self.send("c")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.names(), ["a", "b", "c"])

    def test_a_long_queue_that_fails_at_once_is_no_deep_stack(self) -> None:
        waiting = 2 * sys.getrecursionlimit()
        gate = Gate(
            self.clock,
            GateSettings(concurrency=1, max_queue=waiting),
            BreakerSettings(enabled=False),
            self.meter,
        )
        blocking: Deferred[Response] = Deferred()

        async def first(_: Exchange) -> Response:
            return await blocking

        async def failing(_: Exchange) -> Response:
            raise NotSent("refused")

        def send(proceed: Any) -> Deferred[Response]:
            exchange = identified()
            return Deferred.fromCoroutine(gate.process(exchange, proceed))

        head, tail = send(first), [send(failing) for _ in range(waiting)]
        blocking.callback(Response(200))
        self.successResultOf(head)
        for one in tail:
            self.failureResultOf(one, NotSent)


class Waiting(GateCase):
    def setUp(self) -> None:
        super().setUp()
        self.holding = [self.send("a"), self.send("b")]

    def test_a_cancelled_waiter_leaves_at_once(self) -> None:
        waiting, other = self.send("c"), self.send("d")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.sample("gate_waiting"), 1)
        self.inside[0][1].callback(Response(200))
        self.assertEqual(self.names(), ["a", "b", "d"])
        self.assertNoResult(other)

    def test_a_deadline_ends_the_wait(self) -> None:
        """It ends a quarter of its time before the deadline: a write sent later would end as unknown."""
        waiting = self.send("c", deadline=5.0)
        self.clock.advance(3.7)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        error = self.refusal(waiting)
        self.assertEqual((error.status, self.sample("gate_waiting")), (503, 0))
        self.assertEqual(self.sample("gate_refused_total", reason="deadline"), 1)
        self.inside[0][1].callback(Response(200))
        self.assertEqual(self.names(), ["a", "b"])

    def test_too_late_at_the_door(self) -> None:
        self.clock.advance(5)
        self.refusal(self.send("c", deadline=5.0))

    def test_no_place_left_to_wait_in(self) -> None:
        for name in "cde":
            self.send(name)
        error = self.refusal(self.send("f"))
        # 4 go ahead of it, two at a time; each takes the 4.5 s that are usual for HOSP.
        self.assertEqual(error.retry_after_s, 9)
        self.assertEqual(self.sample("gate_refused_total", reason="full"), 1)

    def test_a_write_pushes_out_the_youngest_read(self) -> None:
        for name in "cd":
            self.send(name)
        youngest, write = self.send("e"), self.send("w", WRITE)
        self.refusal(youngest)
        self.assertEqual(self.sample("gate_refused_total", reason="pushed_out"), 1)
        self.assertNoResult(write)
        self.inside[0][1].callback(Response(200))
        self.assertEqual(self.names(), ["a", "b", "w"])

    def test_who_is_pushed_out_may_free_a_place_at_once(self) -> None:
        """Its client cancels its other request too, before the new request is in the queue."""
        for name in "cd":
            self.send(name)
        youngest = self.send("e")
        youngest.addErrback(lambda _: self.inside[0][1].callback(Response(200)))
        write = self.send("w", WRITE)
        self.assertEqual(self.names(), ["a", "b", "w"])
        self.assertNoResult(write)

    def test_service_times_tell_when_to_come_back(self) -> None:
        for _ in range(60):
            self.clock.advance(0.25)
            self.inside[-1][1].callback(Response(200))
            self.send()
        for name in "cde":
            self.send(name, deadline=1000)
        self.assertEqual(self.refusal(self.send("f", deadline=1000)).retry_after_s, 1)


class Estimating(GateCase):
    def setUp(self) -> None:
        super().setUp()
        self.gate = Gate(
            self.clock,
            GateSettings(concurrency=1, max_queue=1000),
            BreakerSettings(enabled=False),
            self.meter,
        )
        for _ in range(20):
            self.send(deadline=1000)
            self.clock.advance(2.0)
            self.inside[-1][1].callback(Response(200))
        self.send("a", deadline=1000)

    def test_who_would_wait_in_vain_is_told_at_once(self) -> None:
        now = self.clock.seconds()
        waiting = [self.send(f"{i}", deadline=now + 28) for i in range(20)]
        refused = [i for i, answer in enumerate(waiting) if answer.called]
        # 2 s each, 28 s, of which 2 s are kept back; the 11th would wait for about 22 s, too close to that.
        self.assertEqual(refused, list(range(10, 20)))
        self.assertEqual(self.sample("gate_refused_total", reason="in_vain"), 10)
        for answer in waiting[10:]:
            self.assertEqual(self.refusal(answer).retry_after_s, 22)

    def test_not_whoever_has_time(self) -> None:
        now = self.clock.seconds()
        for i in range(100):
            self.assertNoResult(self.send(f"{i}", deadline=now + 300))

    def test_one_whose_turn_comes_soon_is_let_wait(self) -> None:
        now = self.clock.seconds()
        for i in range(13):
            self.send(f"{i}", deadline=now + 28, whose=b"many")
        self.assertNoResult(self.send("few", deadline=now + 28, whose=b"few"))

    def test_those_who_may_overtake_are_counted(self) -> None:
        now = self.clock.seconds()
        self.send("w", WRITE, deadline=1000)
        waiting = [self.send(f"{i}", deadline=now + 28) for i in range(20)]
        # A write is ahead of it, and so are writes that come within 5 s.
        self.assertEqual([i for i, answer in enumerate(waiting) if answer.called], list(range(7, 20)))

    def test_failures_at_once_do_not_look_like_speed(self) -> None:
        self.inside[-1][1].errback(NotSent("x"))
        for _ in range(200):
            answer = self.send(deadline=1000)
            self.inside[-1][1].errback(NotSent("x"))
            self.failureResultOf(answer, NotSent)
        self.send(deadline=1000)
        self.assertEqual(self.refusal(self.send(deadline=0)).retry_after_s, 2)


class Adapting(GateCase):
    def setUp(self) -> None:
        super().setUp()
        self.gate = Gate(
            self.clock, GateSettings(concurrency=5, max_queue=100), BreakerSettings(enabled=False), self.meter
        )

    def limit_after(self, *outcomes: Response | Exception, lasted_s: float = 1.0) -> float | None:
        for outcome in outcomes:
            self.send(deadline=self.clock.seconds() + 28).addErrback(lambda _: None)
            self.clock.advance(lasted_s)
            if isinstance(outcome, Response):
                self.inside[-1][1].callback(outcome)
            else:
                self.inside[-1][1].errback(outcome)
        return self.sample("gate_limit")

    def test_overload_lowers_the_limit(self) -> None:
        for outcome in (NotSent("x"), FailedAfterSending("x"), *map(Response, (502, 503, 504))):
            self.setUp()
            self.assertEqual(self.limit_after(outcome), 4, outcome)

    def test_everyday_errors_and_slowness_do_not(self) -> None:
        self.assertEqual(self.limit_after(*[Response(500)] * 50), 5)
        self.assertEqual(self.limit_after(*[Response(200)] * 3, lasted_s=19), 5)
        self.assertEqual(self.limit_after(FailedAfterSending("x", timed_out=True), lasted_s=10), 5)

    def test_a_silence_longer_than_any_answer_does(self) -> None:
        self.assertEqual(self.limit_after(FailedAfterSending("x", timed_out=True), lasted_s=28), 4)

    def test_it_comes_back_and_never_goes_above_what_is_allowed(self) -> None:
        self.assertEqual(self.limit_after(*[Response(503)] * 20), 1)
        self.assertEqual(self.limit_after(*[Response(200)] * 100), 5)

    def test_those_who_wait_profit_from_a_limit_that_rises(self) -> None:
        self.limit_after(*[Response(503)] * 20)
        for name in "abcd":
            self.send(name, deadline=1000)
        self.assertEqual(self.names()[20:], ["a"])
        self.inside[-1][1].callback(Response(200))
        self.assertEqual(self.names()[20:], ["a", "b", "c"])


class Breaking(GateCase):
    def setUp(self) -> None:
        super().setUp()
        self.opened: list[Gate] = []
        settings, breaker = GateSettings(concurrency=2, max_queue=10), BreakerSettings(failures=3)
        self.gate = Gate(self.clock, settings, breaker, self.meter, self.opened.append)

    def break_it(self) -> None:
        for _ in range(3):
            self.send(deadline=1000).addErrback(lambda _: None)
            self.clock.advance(0.6)
            self.inside.pop()[1].errback(NotSent("x"))

    def test_nothing_is_sent_to_a_hosp_that_is_gone(self) -> None:
        self.break_it()
        self.assertEqual((self.opened, self.sample("breaker_open")), ([self.gate], 1))
        error = self.refusal(self.send("a"))
        self.assertIsInstance(error, BreakerOpen)
        self.assertEqual((error.status, error.outcome, error.retry_after_s), (503, "hosp is away", 3))
        self.assertEqual(self.names(), [])
        self.assertEqual(self.sample("breaker_events_total", event="open"), 1)

    def test_those_who_wait_are_told_at_once(self) -> None:
        held = [self.send("a", deadline=1000), self.send("b", deadline=1000)]
        waiting = [self.send(name, deadline=1000) for name in "cd"]
        # One slot is held all the time, so that a request waits when the breaker opens.
        for _ in range(2):
            self.clock.advance(0.6)
            self.inside.pop()[1].errback(NotSent("x"))
        for answer in held + waiting:
            answer.addErrback(lambda _: None)
        self.assertIs(self.gate.state, BreakerState.CLOSED)
        late = self.send("e", deadline=1000)
        self.assertNoResult(late)
        self.clock.advance(1)
        while self.gate.state is BreakerState.CLOSED:
            self.inside.pop()[1].errback(NotSent("x"))
        self.assertIsInstance(self.failureResultOf(late).value, BreakerOpen)
        self.assertEqual(self.sample("gate_waiting"), 0)

    def test_a_probe_passes_and_then_a_few(self) -> None:
        self.break_it()
        probe = self.send(PROBE)
        self.inside.pop()[1].callback(Response(200))
        self.successResultOf(probe)
        self.assertIs(self.gate.state, BreakerState.HALF_OPEN)
        for name in "abc":
            self.send(name)
        self.assertEqual(self.names(), ["a"])  # the limit is 1 by now
        self.inside[0][1].callback(Response(500))
        self.assertIs(self.gate.state, BreakerState.CLOSED)
        self.assertEqual(self.sample("breaker_open"), 0)

    def test_few_go_first_and_then_half_of_what_is_allowed(self) -> None:
        self.gate = Gate(
            self.clock, GateSettings(concurrency=40, max_queue=100), BreakerSettings(failures=3), self.meter
        )
        self.break_it()
        self.assertEqual(self.sample("gate_limit"), 14)
        self.gate.try_again()
        for _ in range(50):
            self.send(deadline=1000)
        self.assertEqual((len(self.inside), self.sample("gate_limit")), (2, 2))
        self.inside[0][1].callback(Response(200))
        self.assertEqual((len(self.inside), self.sample("gate_limit")), (21, 20))

    def test_a_probe_waits_for_no_place(self) -> None:
        self.send("a"), self.send("b")
        self.assertFalse(self.gate.has_room)
        self.refusal(self.send(PROBE))

    def test_a_failure_after_a_probe_sends_those_away_who_wait(self) -> None:
        self.break_it()
        self.gate.try_again()
        answers = [self.send(name) for name in "abc"]
        self.inside[0][1].errback(NotSent("x"))
        self.failureResultOf(answers[0], NotSent)
        for answer in answers[1:]:
            self.assertIsInstance(self.refusal(answer), BreakerOpen)

    def test_without_a_breaker_everything_is_tried(self) -> None:
        self.gate = Gate(
            self.clock, GateSettings(concurrency=2, max_queue=10), BreakerSettings(enabled=False), self.meter
        )
        for _ in range(50):
            self.break_it()
        self.send("a", deadline=1000)
        self.assertEqual(self.names(), ["a"])


class GateModel(RuleBasedStateMachine):
    """Requests of three users, in any order, to a HOSP that fails in any way: the gate's rules hold at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.opened = 0
        self.gate = Gate(
            self.clock,
            GateSettings(concurrency=3, max_queue=6),
            BreakerSettings(failures=3),
            NullMeter(),
            self.gone,
        )
        self.inside: list[Deferred[Response]] = []
        self.answers: list[tuple[float, Deferred[Response]]] = []
        self.sent_while_open = 0

    def gone(self, _gate: Gate) -> None:
        self.opened += 1

    async def proceed(self, exchange: Exchange) -> Response:
        if self.gate.state is BreakerState.OPEN and exchange.own != PROBE:
            self.sent_while_open += 1
        answer: Deferred[Response] = Deferred()
        self.inside.append(answer)
        return await answer

    @rule(
        priority=st.sampled_from(Priority),
        whose=st.sampled_from([None, b"a", b"b"]),
        life=st.sampled_from([0.0, 3.0, 28.0]),
        own=st.sampled_from(["", "", "", PROBE]),
    )
    def send(self, priority: Priority, whose: bytes | None, life: float, own: str) -> None:
        deadline = self.clock.seconds() + life
        exchange = identified(deadline=deadline, priority=priority, own=own, credentials=whose)
        answer = Deferred.fromCoroutine(self.gate.process(exchange, self.proceed))
        answer.addErrback(lambda failure: failure.trap(*ENDS) and None)
        self.answers.append((deadline, answer))

    @precondition(lambda self: self.inside)
    @rule(
        which=st.integers(0, 20),
        outcome=st.sampled_from(
            [
                200,
                200,
                500,
                503,
                NotSent("x"),
                FailedAfterSending("x"),
                FailedAfterSending("x", timed_out=True),
            ]
        ),
    )
    def end(self, which: int, outcome: int | ProxyError) -> None:
        answer = self.inside.pop(which % len(self.inside))
        if isinstance(outcome, int):
            answer.callback(Response(outcome))
        else:
            answer.errback(outcome)

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 20))
    def give_up(self, which: int) -> None:
        self.answers.pop(which % len(self.answers))[1].cancel()
        self.inside = [answer for answer in self.inside if not answer.called]

    def teardown(self) -> None:
        """End everything in order; otherwise the garbage collector would, in any order."""
        while self.answers:
            self.answers.pop()[1].cancel()

    @rule(seconds=st.sampled_from([0.1, 1.0, 21.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def promises(self) -> None:
        queue = self.gate._queue
        assert queue.in_flight == len(self.inside) <= 3, "HOSP never gets more than is allowed"
        assert 1 <= queue.limit <= 3
        assert queue.waiting <= 6 and queue.waiting == len(self.gate._waiters)
        assert not self.sent_while_open
        if self.gate.state is BreakerState.OPEN:
            assert not queue.waiting, "nobody waits for a HOSP that is gone"
            assert self.opened
        elif queue.waiting:
            assert queue.in_flight >= queue.limit, "nobody waits beside an empty place"
        overdue = [d for d, answer in self.answers if not answer.called and d <= self.clock.seconds()]
        assert len(overdue) <= len(self.inside), "nobody waits beyond its time"


ENDS = (CancelledError, NotSent, FailedAfterSending, OverCapacity)


class Stateful(SynchronousTestCase):
    def test_its_promises_hold(self) -> None:
        run_state_machine_as_test(GateModel, settings=settings(max_examples=100, deadline=None))  # type: ignore[no-untyped-call]
