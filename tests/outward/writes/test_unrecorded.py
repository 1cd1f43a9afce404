"""If the disk fails for a moment, the work after a write's response still continues."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.exchange.exchange import Exchange
from hospproxy.http.errors import FailedAfterSending, RecordFailed
from hospproxy.http.messages import Response
from hospproxy.interfaces import IProcessor, Proceed
from hospproxy.outward.writes.background import LateWork
from hospproxy.watch.metrics import Metrics
from tests.outward.ledger.fakes import AtOnce
from tests.rig import Rig


@implementer(IProcessor)
class FailingLooks:
    """Fails to record looks while `failing`."""

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

        LateWork(meter).begin(work())
        self.assertEqual(self.flushLoggedErrors(RecordFailed), [])
        self.assertIn(meter.value("unhandled_errors_total"), (None, 0))


class FailingLedgerTests(SynchronousTestCase):
    NOTE: ClassVar[dict[str, object]] = {"title": "t", "body": "b", "patient_id": 7}

    def test_what_an_earlier_process_left_is_taken_over_once_the_disk_works(self) -> None:
        first = Rig()
        first.get(first.send("GET", "/notes"))
        first.hosp.faults = [("late:24", FailedAfterSending("reset"))]
        first.hosp.read_faults = [500] * 40
        self.assertEqual(first.get(first.send("POST", "/notes", self.NOTE)).status, 502)
        first.kill()
        first.hosp.read_faults = []
        worker = AtOnce()
        worker.full = True
        second = Rig(
            disk=first.disk, clock=first.world, hosp=first.hosp, references=first.references, worker=worker
        )
        again = second.send("POST", "/notes", self.NOTE)
        second.clock.pump([0.5] * 4)
        self.assertNoResult(again)
        worker.full = False
        self.assertEqual(second.get(again).status, 201)
        self.assertEqual(len(second.hosp.records["notes"]), 1)
        self.assertEqual(len(second.hosp.seen("createNote")), 1)

    def test_a_write_waits_for_it_until_its_deadline_only(self) -> None:
        worker = AtOnce()
        worker.full = True
        rig = Rig(worker=worker)
        answer = rig.send("POST", "/notes", self.NOTE)
        rig.clock.pump([1.0] * 29)
        self.assertEqual(self.successResultOf(answer).status, 503)
        self.assertEqual(rig.hosp.seen("createNote"), [])
        worker.full = False
        rig.clock.pump([1.0] * 3)
        self.assertEqual(rig.get(rig.send("POST", "/notes", self.NOTE)).status, 201)

    def test_a_result_that_hosp_refuses_is_kept_once_the_disk_works(self) -> None:
        rig = Rig()
        rig.get(rig.send("GET", "/notes"))
        rig.get(rig.send("POST", "/patients/7/screen", {"images": ["a"]}))
        rig.hosp.faults = [("before", 422)]
        rig.worker.full = True
        rig.clock.pump([0.5] * 6)
        self.assertEqual(rig.screening.pending, 1)
        rig.worker.full = False
        rig.clock.pump([0.5] * 6)
        self.assertEqual((rig.screening.pending, rig.disk.all("state")), (0, [("refused",)]))
