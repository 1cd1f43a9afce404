"""A disk that fails for a moment does not end what goes on after a write was answered."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.errors import FailedAfterSending, RecordFailed
from hospproxy.interfaces import IProcessor, Proceed
from hospproxy.messages import Exchange, Response
from hospproxy.outward.writes.going_on import GoingOn
from hospproxy.watch.metrics import Metrics
from tests.rig import Rig


@implementer(IProcessor)
class FailingLooks:
    """Records of looks fail while `failing`."""

    failing = False
    failed = 0

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        response = await proceed(exchange)
        if exchange.own == "look" and self.failing:
            self.failed += 1
            raise RecordFailed("Input/output error")
        return response


class LooksWithoutARecordTests(SynchronousTestCase):
    def test_a_write_is_found_out_about_although_a_look_was_not_recorded(self) -> None:
        record = FailingLooks()
        rig = Rig(put_in={"record.audit": record})
        rig.get(rig.send("GET", "/notes"))
        rig.hosp.faults = [("late:24", FailedAfterSending("reset"))]
        rig.hosp.read_faults = [500] * 40
        note = {"title": "t", "body": "b", "patient_id": 7}
        told = rig.get(rig.send("POST", "/notes", note))
        self.assertEqual(told.status, 502)
        rig.hosp.read_faults, record.failing = [], True
        rig.clock.pump([1.0] * 20)
        self.assertGreater(record.failed, 0)
        record.failing = False
        rig.clock.pump([1.0] * 120)
        self.assertEqual([found for _, found in rig.findings], ["found"])


class FindingWithoutARecordTests(SynchronousTestCase):
    def test_it_is_no_mistake_of_the_proxy(self) -> None:
        meter = Metrics(strict=True)

        async def work() -> None:
            failed: Deferred[None] = fail(RecordFailed("Input/output error"))
            await failed

        GoingOn(meter).begin(work())
        self.assertEqual(self.flushLoggedErrors(RecordFailed), [])
        self.assertIn(meter.value("unhandled_errors_total"), (None, 0))
