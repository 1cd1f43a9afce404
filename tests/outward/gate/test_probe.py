from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Call
from hospproxy.http.errors import NotSent
from hospproxy.http.messages import Response
from hospproxy.options.gate_section import BreakerSettings
from hospproxy.outward.gate.breaker import BreakerState
from hospproxy.outward.gate.probe import Prober
from hospproxy.watch.metrics import Metrics

PROBE = load().operation("getStatus")


class FakeGate:
    def __init__(self) -> None:
        self.state = BreakerState.OPEN
        self.has_room = True
        self.tried_again = 0

    def try_again(self) -> None:
        self.tried_again += 1


class ProberTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.gate = FakeGate()
        self.asked: list[tuple[Call, dict[str, Any], Deferred[Response]]] = []
        self.meter = Metrics(strict=True)
        self.prober = self.made(PROBE)

    def made(self, operation: Any) -> Prober:
        return Prober(self.clock, self.ask, operation, lambda: 1.7e9, self.meter, BreakerSettings())

    def ask(self, call: Call, **how: Any) -> Deferred[Response]:
        answer: Deferred[Response] = Deferred()
        self.asked.append((call, how, answer))
        return answer

    def events(self, event: str) -> float | None:
        return self.meter.value("breaker_events_total", event=event)

    def test_it_asks_at_once_and_again_until_hosp_is_back(self) -> None:
        self.clock.advance(100)
        self.assertEqual(self.asked, [])
        self.prober.begin(self.gate)
        self.prober.begin(self.gate)
        self.clock.advance(0)
        self.clock.pump([2.0, 2.0])
        self.assertEqual(len(self.asked), 3)
        call, how, answer = self.asked[0]
        self.assertEqual((call.operation, how["own"], how["past_cache"]), (PROBE, "probe", True))
        self.assertEqual(how["deadline"], 108)
        answer.errback(NotSent("x"))
        self.asked[1][2].callback(Response(200))
        self.assertTrue(self.asked[2][2].called, "one that hangs would hold a place")
        self.assertEqual((self.events("probe_failed"), self.events("probe_answered")), (1, 1))
        self.gate.state = BreakerState.HALF_OPEN
        self.clock.advance(2)
        self.assertEqual(len(self.asked), 4)
        self.gate.state = BreakerState.CLOSED
        self.clock.advance(2)
        self.assertEqual((len(self.asked), self.clock.getDelayedCalls()), (4, []))
        self.gate.state = BreakerState.OPEN
        self.prober.begin(self.gate)
        self.clock.advance(0)
        self.assertEqual(len(self.asked), 5)

    def test_without_a_place_it_waits_for_the_next_turn(self) -> None:
        self.gate.has_room = False
        self.prober.begin(self.gate)
        self.clock.advance(0)
        self.assertEqual(self.asked, [])
        self.gate.has_room = True
        self.clock.advance(2)
        self.assertEqual(len(self.asked), 1)

    def test_without_a_probe_a_few_are_let_through(self) -> None:
        self.made(None).begin(self.gate)
        self.clock.advance(1.9)
        self.assertEqual(self.gate.tried_again, 0)
        self.clock.advance(0.1)
        self.assertEqual((self.gate.tried_again, self.asked), (1, []))

    def test_it_stops(self) -> None:
        self.prober.begin(self.gate)
        self.clock.advance(0)
        self.prober.stop()
        self.assertTrue(self.asked[0][2].called)
        self.prober.begin(self.gate)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_no_one_expected_is_said_and_it_goes_on(self) -> None:
        self.prober.begin(self.gate)
        self.clock.advance(0)
        self.asked[0][2].errback(RuntimeError("x"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.clock.advance(2)
        self.assertEqual(len(self.asked), 2)
