from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.errors import NotSent, OverCapacity
from hospproxy.interfaces import IProcessor
from hospproxy.messages import Exchange, Priority, Request, Response
from hospproxy.outward.gate import Gate
from hospproxy.watch.metrics import Metrics

WRITE, READ, REFRESH = Priority.WRITE, Priority.READ, Priority.REFRESH


def end(answer: Deferred[Response]) -> None:
    """Nothing may be left to be collected, and complained of, in another test."""
    answer.addErrback(lambda _: None)
    answer.cancel()


class GateCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.meter = Metrics(strict=True)
        self.gate = Gate(self.clock, 2, 3, self.meter)
        self.inside: list[tuple[str, Deferred[Response]]] = []

    def send(self, name: str = "", priority: Priority = READ, deadline: float = 28.0) -> Deferred[Response]:
        exchange = Exchange(Request(), 0.0, 0.0, deadline, priority, own=name)
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
        self.inside[0][1].errback(NotSent("x"))
        self.failureResultOf(first, NotSent)
        self.assertEqual(self.names(), ["a", "b", "c"])

    def test_cancelling_inside_gives_the_place_back(self) -> None:
        first, _second, _third = self.send("a"), self.send("b"), self.send("c")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.names(), ["a", "b", "c"])

    def test_a_long_queue_that_fails_at_once_is_no_deep_stack(self) -> None:
        gate = Gate(self.clock, 1, 5000, self.meter)
        blocking: Deferred[Response] = Deferred()

        async def first(_: Exchange) -> Response:
            return await blocking

        async def failing(_: Exchange) -> Response:
            raise NotSent("refused")

        def send(proceed: Any) -> Deferred[Response]:
            exchange = Exchange(Request(), 0.0, 0.0, 28.0)
            return Deferred.fromCoroutine(gate.process(exchange, proceed))

        head, tail = send(first), [send(failing) for _ in range(5000)]
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
        waiting = self.send("c", deadline=5.0)
        self.clock.advance(4.9)
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
        # 4 go before it would, each for the 4.5 s that HOSP is known for, two at a time.
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
        """Its client gives up its other request too, while the newcomer is still on its way to the queue."""
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
