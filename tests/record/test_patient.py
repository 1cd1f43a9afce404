from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.contract.document import load
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.errors import NotSent, RecordFailed
from hospproxy.http.messages import ABSENT, Response
from hospproxy.interfaces import IProcessor
from hospproxy.record.describe import Describer
from hospproxy.record.patient import MAX_DELETED, PatientOfRecord
from tests.rig import CONTRACT, Rig

from .exchanges import answer, exchange

NOTE = answer(b'{"id":3,"patient_id":7}')
REFUSAL = answer(b"{}", status=404)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.asked: list[tuple[Call, dict[str, Any], Deferred[Response]]] = []
        self.proceeded: list[Exchange] = []
        self.outcome: Response | Exception = answer(b"<p>", status=200)
        self.station = PatientOfRecord(load(), self.ask, self.clock)
        verifyObject(IProcessor, self.station)

    async def ask(self, call: Call, **how: Any) -> Response:
        waiting: Deferred[Response] = Deferred()
        self.asked.append((call, how, waiting))
        return await waiting

    async def proceed(self, given: Exchange) -> Response:
        self.proceeded.append(given)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def send(self, operation: str, *path: str, document: Any = ABSENT) -> Deferred[Response]:
        self.given = exchange(CONTRACT.operation(operation), path, document=document)
        return Deferred.fromCoroutine(self.station.process(self.given, self.proceed))

    def reply(self, what: Response | Exception) -> None:
        waiting = self.asked[-1][2]
        if isinstance(what, Exception):
            waiting.errback(what)
        else:
            waiting.callback(what)


class Deleting(Case):
    def test_the_note_is_read_before_it_is_deleted(self) -> None:
        done = self.send("deleteNote", "3")
        self.assertEqual(self.proceeded, [])
        [(call, how, _)] = self.asked
        self.assertEqual((call.operation.id, call.path), ("getNote", ("3",)))
        self.assertIsNotNone(call.authorization)
        self.assertEqual((how["own"], how["on_behalf_of"], how["deadline"]), ("patient", self.given, 107.0))
        self.reply(NOTE)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.given.trace.patient, "7")
        for record in (
            Describer(b"k").intent(self.given, 0),
            Describer(b"k").request(self.given, answer(), 0),
        ):
            self.assertEqual(record["patient_id"], "7")

    def test_without_an_answer_it_goes_on(self) -> None:
        for what in (REFUSAL, answer(b"", status=500), answer(b"x"), NotSent("away"), RecordFailed("full")):
            done = self.send("deleteNote", "3")
            self.reply(what)
            self.successResultOf(done)
            self.assertIsNone(self.given.trace.patient)
        self.assertEqual(len(self.proceeded), 5)

    def test_it_waits_for_a_part_of_its_time_only(self) -> None:
        done = self.send("deleteNote", "3")
        self.clock.advance(6.9)
        self.assertNoResult(done)
        self.clock.advance(0.2)
        self.successResultOf(done)
        self.assertIsNone(self.given.trace.patient)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_with_no_time_left_nothing_is_asked(self) -> None:
        self.clock.advance(28)
        self.successResultOf(self.send("deleteNote", "3"))
        self.assertEqual(self.asked, [])

    def test_who_cancels_it_has_sent_nothing(self) -> None:
        done = self.send("deleteNote", "3")
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.proceeded, [])

    def test_a_mistake_is_not_taken_for_an_answer(self) -> None:
        done = self.send("deleteNote", "3")
        self.reply(ValueError("a mistake"))
        self.failureResultOf(done, ValueError)

    def test_whoever_asks_again_for_what_is_gone_costs_no_question(self) -> None:
        done = self.send("deleteNote", "3")
        self.reply(NOTE)
        self.successResultOf(done)
        self.successResultOf(self.send("deleteNote", "3"))
        self.assertEqual((len(self.asked), self.given.trace.patient), (1, "7"))

    def test_what_may_still_be_there_is_asked_again(self) -> None:
        for outcome in (answer(status=500), REFUSAL, NotSent("away")):
            self.outcome = outcome
            done = self.send("deleteNote", "3")
            self.reply(NOTE)
            done.addErrback(lambda _: None)
        self.assertEqual(len(self.asked), 3)

    def test_what_is_remembered_is_bounded(self) -> None:
        for number in range(MAX_DELETED + 10):
            self.send("deleteNote", str(number))
            self.reply(NOTE)
        self.assertEqual(len(self.station._deleted), MAX_DELETED)


class Moving(Case):
    def test_whose_it_was_and_whose_it_is(self) -> None:
        self.outcome = answer(b'{"id":3,"patient_id":8}')
        done = self.send("updateNote", "3", document={"patient_id": 8})
        self.reply(NOTE)
        record = Describer(b"k").request(self.given, self.successResultOf(done), 0)
        self.assertEqual((record["patient_before"], record["patient_id"]), ("7", "8"))

    def test_a_change_that_names_no_patient_asks_nothing(self) -> None:
        for document in ({"title": "x"}, {}, [], None):
            self.successResultOf(self.send("updateNote", "3", document=document))
        self.assertEqual(self.asked, [])


class Others(Case):
    def test_nothing_is_asked(self) -> None:
        for operation, path, document in (
            ("getNote", ("3",), ABSENT),
            ("deletePatient", ("7",), ABSENT),
            ("deleteStaff", ("1",), ABSENT),
            ("createNote", (), {"patient_id": 7}),
            ("screenPatient", ("7",), {"images": []}),
        ):
            self.successResultOf(self.send(operation, *path, document=document))
        known = exchange(CONTRACT.operation("deleteNote"), ("3",), patient="7")
        self.successResultOf(Deferred.fromCoroutine(self.station.process(known, self.proceed)))
        self.assertEqual(self.asked, [])


class InTheChain(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()

        async def ask(*args: Any, **kwargs: Any) -> Response:
            return await self.rig.ask(*args, **kwargs)

        self.rig = Rig(clock=clock, put_in={"record.patient": PatientOfRecord(CONTRACT, ask, clock)})

    def delete(self, number: int) -> tuple[int, Exchange]:
        status = self.rig.get(self.rig.send("DELETE", f"/notes/{number}")).status
        return status, self.rig.exchanges[-1]

    def test_a_lost_answer_and_a_retry_send_one_deletion(self) -> None:
        note = json.loads(self.rig.get(self.rig.send("POST", "/notes", {"patient_id": 7})).body)
        self.rig.hosp.faults = [("after", NotSent("x"))]
        self.rig.get(self.rig.send("DELETE", f"/notes/{note['id']}"))
        clients = [one for one in self.rig.exchanges if not one.own and one.request.method == "DELETE"]
        self.assertEqual([one.trace.patient for one in clients], ["7"])
        self.assertEqual([one.own for one in self.rig.exchanges if one.own == "patient"], ["patient"])
        self.assertEqual(self.rig.hosp.records["notes"], [])
