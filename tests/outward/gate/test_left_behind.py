"""HOSP keeps working when a client leaves or its time is up: its slot is held, and its response is read."""

from __future__ import annotations

from collections.abc import Callable

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
from zope.interface import implementer

from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.errors import BadAnswer, FailedAfterSending, NotSent, OverCapacity
from hospproxy.http.messages import Client, Origin, Response
from hospproxy.interfaces import IUpstream
from hospproxy.options.gate_section import BreakerSettings, GateSettings
from hospproxy.outward.gate.breaker import BreakerState
from hospproxy.outward.gate.gate import Gate
from hospproxy.outward.gate.rules import PROBE
from hospproxy.outward.upstream import UpstreamProcessor
from hospproxy.watch.metrics import Metrics
from tests.stages import identified

CONTRACT = load()
READ = Call(CONTRACT.operation("listNotes"))
WRITE = Call(CONTRACT.operation("deleteNote"), path=("3",))
ENDS = (CancelledError, NotSent, FailedAfterSending, BadAnswer, OverCapacity)


@implementer(IUpstream)
class Hosp:
    """Counts its requests in flight. It ends a request when told, even if no client waits for it.

    :ivar working: for each request in flight, the Deferred of the waiting attempt.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.connecting: list[Deferred[None]] | None = None
        self.working: list[Deferred[Response]] = []
        self.most = 0
        self.timeouts: list[float] = []

    async def send(
        self, call: Call, client: Client, timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> Response:
        if self.connecting is not None:
            opening: Deferred[None] = Deferred()
            self.connecting.append(opening)
            await opening
        if on_sent is not None:
            on_sent()
        self.timeouts.append(timeout_s)
        answer: Deferred[Response] = Deferred()
        self.working.append(answer)
        self.most = max(self.most, len(self.working))
        late = self.clock.callLater(
            timeout_s, lambda: answer.errback(FailedAfterSending("x", timed_out=True))
        )
        try:
            return await answer
        finally:
            if late.active():
                late.cancel()

    def end(self, number: int = 0, outcome: int | Exception = 200) -> None:
        """Finish a request. The proxy does not notice if it has closed the connection."""
        answer = self.working.pop(number)
        if answer.called:
            return
        if isinstance(outcome, int):
            answer.callback(Response(outcome, origin=Origin.UPSTREAM))
        else:
            answer.errback(outcome)


class World:
    """A gate in front of the upstream processor."""

    def __init__(self, concurrency: int = 2, queue: int = 100) -> None:
        self.clock = Clock()
        self.hosp = Hosp(self.clock)
        self.meter = Metrics(strict=True)
        self.opened = 0
        self.silent = 0
        self.answers: list[Deferred[Response]] = []
        settings, breaker = (
            GateSettings(concurrency=concurrency, max_queue=queue),
            BreakerSettings(failures=5),
        )
        self.gate = Gate(self.clock, settings, breaker, self.meter, self.on_opened)
        self.upstream = UpstreamProcessor(
            self.hosp, self.clock, silences=(self.on_silence,), finish_s=settings.finish_s
        )

    def on_opened(self, _gate: Gate) -> None:
        self.opened += 1

    def on_silence(self) -> None:
        self.silent += 1

    def send(self, call: Call = READ, life_s: float = 28.0, own: str = "") -> Deferred[Response]:
        now = self.clock.seconds()
        exchange = identified(call, at=now, deadline=now + life_s, own=own)
        self.exchange = exchange

        async def proceed(exchange: Exchange) -> Response:
            return await self.upstream.process(exchange, proceed)

        answer = Deferred.fromCoroutine(self.gate.process(exchange, proceed))
        answer.addErrback(lambda failure: failure.trap(*ENDS) and failure.value)
        self.answers.append(answer)
        return answer

    def close(self) -> None:
        """Leave nothing suspended for the garbage collector, which would report it in another test."""
        while self.answers:
            self.answers.pop().cancel()
        for _ in range(2):
            while self.hosp.working:
                self.hosp.end()
            for opening in self.hosp.connecting or ():
                opening.cancel()
            self.clock.advance(30.0)

    def gauge(self, name: str) -> float | None:
        return self.meter.value(name)


class LeavingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.addCleanup(self.world.close)
        self.hosp, self.clock = self.world.hosp, self.world.clock

    def send(self, call: Call = READ, life_s: float = 28.0, own: str = "") -> Deferred[Response]:
        return self.world.send(call, life_s, own)

    def test_a_client_that_leaves_does_not_free_the_place_while_hosp_works(self) -> None:
        for _ in range(60):
            self.send().cancel()
        self.assertEqual(len(self.hosp.working), 2)
        self.assertEqual((self.world.gauge("gate_in_flight"), self.world.gauge("gate_left_behind")), (2, 2))
        waiting = self.send()
        self.clock.advance(4)
        self.hosp.end()
        self.assertEqual(len(self.hosp.working), 2)
        self.hosp.end()
        self.hosp.end()
        self.assertEqual(self.successResultOf(waiting).status, 200)
        self.assertEqual((self.world.gauge("gate_in_flight"), self.world.gauge("gate_left_behind")), (0, 0))
        self.assertEqual((self.hosp.most, self.clock.getDelayedCalls()), (2, []))

    def test_it_hears_of_it_at_once_all_the_same(self) -> None:
        answer = self.send()
        answer.cancel()
        self.assertIsInstance(self.successResultOf(answer), CancelledError)

    def test_a_question_whose_time_is_up_holds_its_place(self) -> None:
        first = self.send(life_s=7.0)
        self.clock.advance(7.0)
        error = self.successResultOf(first)
        self.assertIsInstance(error, FailedAfterSending)
        self.assertTrue(error.timed_out)
        self.assertEqual((self.world.silent, self.world.gauge("gate_in_flight")), (1, 1))
        self.clock.advance(12.0)
        self.hosp.end()
        self.assertEqual(self.world.gauge("gate_in_flight"), 0)

    def test_what_is_never_answered_is_over_when_hosp_must_have_finished(self) -> None:
        self.send(life_s=10.0).cancel()
        self.clock.advance(24.9)
        self.assertEqual(self.world.gauge("gate_in_flight"), 1)
        self.clock.advance(0.2)
        self.assertEqual((self.world.gauge("gate_in_flight"), self.clock.getDelayedCalls()), (0, []))

    def test_what_was_not_sent_yet_is_given_up(self) -> None:
        self.hosp.connecting = []
        left, late = self.send(), self.send(life_s=2.0)
        left.cancel()
        self.assertEqual(self.world.gauge("gate_in_flight"), 1)
        self.clock.advance(2.0)
        self.assertIsInstance(self.successResultOf(late), NotSent)
        self.assertEqual((self.world.gauge("gate_in_flight"), self.hosp.working), (0, []))

    def test_who_waits_for_a_place_leaves_nothing_behind(self) -> None:
        answers = [self.send() for _ in range(3)]
        answers[2].cancel()
        self.assertEqual((self.world.gauge("gate_waiting"), self.world.gauge("gate_in_flight")), (0, 2))

    def test_a_write_that_ran_out_of_time_holds_its_place_unheard(self) -> None:
        answer = self.send(WRITE, life_s=10.0)
        self.clock.advance(10.0)
        self.assertTrue(self.successResultOf(answer).timed_out)
        self.assertTrue(
            self.hosp.working[0].called, "its connection is closed: its fate is found out by looks"
        )
        self.clock.advance(14.9)
        self.assertEqual(self.world.gauge("gate_in_flight"), 1)
        self.clock.advance(0.2)
        self.assertEqual(self.world.gauge("gate_in_flight"), 0)

    def test_a_write_is_given_no_more_time_than_it_has(self) -> None:
        self.send(WRITE, life_s=10.0)
        self.send(READ, life_s=10.0)
        self.assertEqual(self.hosp.timeouts, [10.0, 25.0])

    def test_hosp_that_breaks_the_connection_has_finished(self) -> None:
        """It may still be working; to allow for that, the failure lowers the limit."""
        self.send()
        self.hosp.end(outcome=FailedAfterSending("reset"))
        self.assertEqual((self.world.gauge("gate_in_flight"), self.world.gauge("gate_limit")), (0, 1))
        left = self.send()
        left.cancel()
        self.hosp.end(outcome=FailedAfterSending("reset"))
        self.assertEqual(self.world.gauge("gate_in_flight"), 0)

    def test_a_late_answer_tells_the_gate_as_much_as_one_in_time(self) -> None:
        for _ in range(2):
            self.send().cancel()
            self.clock.advance(3.0)
            self.hosp.end(outcome=503)
        self.assertEqual(self.world.gauge("gate_limit"), 1)
        self.send().cancel()
        self.clock.advance(3.0)
        self.hosp.end()
        self.assertEqual(self.world.gate.using().breaker, (BreakerState.CLOSED, 9.0))

    def test_what_is_left_behind_and_never_answered_counts_as_silence(self) -> None:
        for _ in range(2):
            self.send().cancel()
        self.clock.advance(25.0)
        self.send().cancel()
        self.send().cancel()
        self.clock.advance(25.0)
        self.assertIs(self.world.gate.state, BreakerState.OPEN)

    def test_a_late_answer_reaches_those_who_learn_from_it(self) -> None:
        told: list[int] = []
        answer = self.send()
        aftermath = self.world.exchange.aftermath
        aftermath.learn_by(lambda late: told.append(late.status))
        aftermath.learn_by(lambda _late: 1 / 0)
        over: list[bool] = []
        answer.cancel()
        aftermath.when_over(lambda: over.append(True))
        self.assertEqual((told, over), ([], []))
        self.hosp.end(outcome=401)
        self.assertEqual((told, over), ([401], [True]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        aftermath.when_over(lambda: over.append(False))
        self.assertEqual(over, [True, False])


class ProbesTests(SynchronousTestCase):
    def test_probes_that_hang_are_over_when_hosp_answers_anything(self) -> None:
        world = World(concurrency=5)
        self.addCleanup(world.close)
        first = world.send(READ, 8.0, own=PROBE)
        world.clock.advance(8.0)
        self.assertIsInstance(self.successResultOf(first), FailedAfterSending)
        second = world.send(READ, 8.0, own=PROBE)
        third = world.send()
        self.assertEqual(world.gauge("gate_in_flight"), 3)
        world.hosp.end(2)
        self.assertEqual(self.successResultOf(third).status, 200)
        self.assertEqual(world.gauge("gate_in_flight"), 1)
        second.cancel()
        self.assertEqual(world.gauge("gate_in_flight"), 0)


class AskedToRestTests(SynchronousTestCase):
    def busy(self, world: World, after: bytes) -> None:
        world.send()
        response = Response(429, origin=Origin.UPSTREAM).having(b"Retry-After", after)
        world.hosp.working.pop(0).callback(response)

    def test_one_at_a_time_goes_until_then(self) -> None:
        world = World(concurrency=5)
        self.addCleanup(world.close)
        self.busy(world, b"10")
        for _ in range(5):
            world.send()
        self.assertEqual((len(world.hosp.working), world.gauge("gate_limit")), (1, 1))
        world.hosp.end()
        self.assertEqual(len(world.hosp.working), 1)
        world.clock.advance(10.0)
        self.assertEqual(len(world.hosp.working), 4)

    def test_one_odd_answer_is_no_outage(self) -> None:
        world = World(concurrency=5)
        self.addCleanup(world.close)
        self.busy(world, b"86400")
        for _ in range(5):
            world.send(life_s=100.0)
        self.assertEqual(len(world.hosp.working), 1)
        world.clock.advance(30.0)
        self.assertGreater(len(world.hosp.working), 2)


class LeavingModel(RuleBasedStateMachine):
    """Clients that come, leave and run out of time, with a HOSP that finishes each request within 25 s."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(concurrency=3, queue=10)
        self.answers: list[Deferred[Response]] = []
        self.began: dict[Deferred[Response], float] = {}

    @rule(write=st.booleans(), life=st.sampled_from([0.5, 7.0, 28.0, 28.0]))
    def send(self, write: bool, life: float) -> None:
        self.answers.append(self.world.send(WRITE if write else READ, life))
        self._note()

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 50))
    def leave(self, which: int) -> None:
        self.answers.pop(which % len(self.answers)).cancel()
        self._note()

    @precondition(lambda self: self.world.hosp.working)
    @rule(
        which=st.integers(0, 50),
        outcome=st.sampled_from([200, 401, 500, 503, FailedAfterSending("reset"), BadAnswer("x")]),
    )
    def finish(self, which: int, outcome: int | Exception) -> None:
        self.world.hosp.end(which % len(self.world.hosp.working), outcome)
        self._note()

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        hosp, steps = self.world.hosp, round(seconds * 10)
        for _ in range(steps):
            now = self.world.clock.seconds()
            for number in reversed(range(len(hosp.working))):
                if now - self.began[hosp.working[number]] >= 24.8:
                    hosp.end(number)
            self._note()
            self.world.clock.advance(0.1)
            self._note()

    def _note(self) -> None:
        for one in self.world.hosp.working:
            self.began.setdefault(one, self.world.clock.seconds())

    @invariant()
    def promises(self) -> None:
        hosp = self.world.hosp
        assert hosp.most <= 3, "HOSP never has more in hand than is allowed"
        in_flight = self.world.gauge("gate_in_flight")
        assert in_flight is not None and len(hosp.working) <= in_flight <= 3, "and the metric says so"

    def teardown(self) -> None:
        self.world.close()
        assert self.world.gauge("gate_in_flight") == 0, "no place is lost"


class Stateful(SynchronousTestCase):
    def test_its_promises_hold(self) -> None:
        run_state_machine_as_test(LeavingModel, settings=settings(max_examples=100, deadline=None))  # type: ignore[no-untyped-call]
