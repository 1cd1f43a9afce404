"""Chain, retry, gate, prober and the upstream processor together, with a HOSP that goes and comes back."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.exchange.answers import ProxyResponses
from hospproxy.exchange.exchange import Call
from hospproxy.guard.validation import Validation
from hospproxy.http.errors import FailedAfterSending, NotSent
from hospproxy.http.messages import Client, Origin, Request, Response
from hospproxy.interfaces import IUpstream
from hospproxy.options.gate_section import BreakerSettings, GateSettings
from hospproxy.options.sections import RetrySettings
from hospproxy.outward.gate.gate import Gate
from hospproxy.outward.gate.probe import Prober
from hospproxy.outward.retry import Retry, RetryBudget
from hospproxy.outward.upstream import UpstreamProcessor
from hospproxy.outward.writes.presence import WorkingTime
from hospproxy.own_requests import OwnRequests
from hospproxy.service.chain import Chain
from tests.rig import CONTRACT
from tests.stages import by_stage


@implementer(IUpstream)
class Hosp:
    """Responds after 0.1 s, refuses, or takes requests and sends nothing."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.how = "well"
        self.asked: list[str] = []
        self.sent_at: list[float] = []

    async def send(
        self, call: Call, client: Client, timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> Response:
        self.asked.append(call.operation.id)
        if self.how == "refusing":
            raise NotSent("refused")
        if on_sent is not None:
            on_sent()
        self.sent_at.append(self.clock.seconds())
        answer: Deferred[Response] = Deferred()
        if self.how == "silent":
            late = FailedAfterSending("x", timed_out=True)
            self.clock.callLater(timeout_s, answer.errback, late)
        else:
            self.clock.callLater(0.1, answer.callback, Response(200, origin=Origin.UPSTREAM))
        return await answer


class TogetherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.meter = Clock(), NullMeter()
        self.hosp = Hosp(self.clock)
        self.working_time = WorkingTime(0.0)
        own_requests = OwnRequests(self.clock, lambda: 0.0)
        self.prober = Prober(
            self.clock,
            own_requests.ask,
            CONTRACT.operation("getStatus"),
            lambda: 0.0,
            self.meter,
            BreakerSettings(),
        )
        self.gate = Gate(
            self.clock,
            GateSettings(concurrency=5, max_queue=100),
            BreakerSettings(failures=5),
            self.meter,
            self.prober.begin,
        )
        validation = Validation(CONTRACT)
        self.chain = Chain(
            by_stage(
                {
                    "guard.validation": validation,
                    "outward.retry": Retry(
                        self.clock, RetryBudget(0.2, 50), lambda: 1.0, self.meter, RetrySettings()
                    ),
                    "outward.gate": self.gate,
                    "outward.upstream": UpstreamProcessor(
                        self.hosp,
                        self.clock,
                        observers=(
                            lambda _call, _answer, _sent, now, _document: self.working_time.answered(now),
                        ),
                        silences=(self.working_time.silent,),
                        finish_s=25.0,
                    ),
                }
            ),
            own_requests=own_requests,
            answers=ProxyResponses(CONTRACT),
            clock=self.clock,
            wall=lambda: 0.0,
            deadline_s=28.0,
            limit=validation.body_limit,
            meter=self.meter,
        )
        self.addCleanup(self.prober.stop)

    def status_at_once(self) -> int:
        answer = self.chain.handle(Request("GET", b"/hospitals"))
        return self.successResultOf(answer).status

    def pass_s(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))

    def go_away(self, how: str, seconds: float) -> None:
        self.hosp.how = how
        for _ in range(5):
            self.chain.handle(Request("GET", b"/hospitals"))
        self.pass_s(seconds)
        self.assertEqual(self.status_at_once(), 503)
        self.hosp.asked.clear()

    def test_a_refusing_hosp_is_asked_by_nobody_but_the_probe(self) -> None:
        self.go_away("refusing", 2.0)
        for _ in range(100):
            self.assertEqual(self.status_at_once(), 503)
            self.pass_s(0.2)
        self.assertEqual(set(self.hosp.asked), {"getStatus"})
        self.assertIn(len(self.hosp.asked), (9, 10, 11))
        # A write's working time does not advance meanwhile.
        self.assertAlmostEqual(self.working_time.since(0.0, self.clock.seconds()), 0.0)

    def test_a_silent_hosp_is_found_out_when_it_was_silent_for_too_long(self) -> None:
        self.hosp.how = "silent"
        self.go_away("silent", 28.5)
        self.pass_s(20.0)
        self.assertEqual(set(self.hosp.asked), {"getStatus"})

    def test_all_goes_on_when_it_is_back(self) -> None:
        for how, seconds in (("refusing", 2.0), ("silent", 28.5)):
            self.go_away(how, seconds)
            self.pass_s(60.0)
            self.hosp.how = "well"
            self.pass_s(2.2 if how == "refusing" else 5.2)  # probes that hang are sent less often
            answer = self.chain.handle(Request("GET", b"/hospitals"))
            self.pass_s(0.3)
            self.assertEqual(self.successResultOf(answer).status, 200)
            self.pass_s(20.0)
            before = len(self.hosp.asked)
            self.pass_s(20.0)
            self.assertEqual(len(self.hosp.asked), before, "no probe goes to a HOSP that is there")

    def test_no_more_probes_hang_at_one_time_than_there_are_places(self) -> None:
        """HOSP does not notice that the proxy gives them up after 8 s."""
        self.go_away("silent", 28.5)
        for _ in range(100):
            self.pass_s(1.0)
            sent = [at for at in self.hosp.sent_at if at > self.clock.seconds() - 25.0]
            self.assertLessEqual(len(sent), 5)
        self.assertGreater(len(self.hosp.asked), 15, "and it is asked all the time")

    def test_a_write_is_told_at_once_and_was_not_sent(self) -> None:
        self.go_away("refusing", 2.0)
        body = b'{"name": "Hill"}'
        answer = self.chain.handle(Request("POST", b"/hospitals", body=body))
        response = self.successResultOf(answer)
        self.assertEqual((response.status, response.headers.get(b"retry-after")), (503, b"3"))
        self.assertNotIn("createHospital", self.hosp.asked)
