"""The count of responses that ended a write, which a rollout compares with the writes that were answered."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Call
from hospproxy.http.errors import FailedAfterSending
from hospproxy.http.messages import Request, Response
from hospproxy.outward.upstream import UpstreamProcessor
from hospproxy.watch.metrics import Metrics
from tests.stages import identified

from .test_upstream import CLIENT, READ, WRITE, Scripted


class WriteCountTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Metrics(strict=True)

    def attempt(self, result: Response | Exception, call: Call = WRITE) -> Deferred[Response]:
        clock = MemoryReactorClock()
        processor = UpstreamProcessor(Scripted(clock, result), clock, meter=self.meter)
        exchange = identified(call, Request(client=CLIENT), at=0.0, deadline=28.0)
        return Deferred.fromCoroutine(processor.process(exchange, None))  # type: ignore[arg-type]

    def test_what_ends_a_write_is_counted(self) -> None:
        for status, counted in ((201, 1), (500, 1), (503, 1), (429, 1), (408, 1), (404, 2), (302, 3)):
            self.assertEqual(self.successResultOf(self.attempt(Response(status))).status, status)
            self.assertEqual(self.meter.value("upstream_writes_total"), counted, status)

    def test_nothing_else_is(self) -> None:
        self.failureResultOf(self.attempt(FailedAfterSending("x")), FailedAfterSending)
        self.successResultOf(self.attempt(Response(200), READ))
        self.assertIn(self.meter.value("upstream_writes_total"), (None, 0.0))
