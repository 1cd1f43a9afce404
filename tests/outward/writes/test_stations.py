"""Writes and the processors around them: those that refuse, that check HOSP's responses, that record."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.errors import FailedAfterSending, RecordFailed, Refused
from hospproxy.http.messages import Response
from hospproxy.interfaces import IProcessor, Proceed
from hospproxy.outward.response_check import ResponseCheck
from hospproxy.outward.upstream_request import UpstreamTarget
from tests.guard.test_permissions import rig_with
from tests.rig import CONTRACT, Rig, SmallHosp

RESET = FailedAfterSending("reset")
NOTE = {"title": "t", "body": "b", "patient_id": 7}


@implementer(IProcessor)
class Recording:
    """A recording processor whose disk is full when the response to a client comes."""

    full = False

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        response = await proceed(exchange)
        if self.full and not exchange.own:
            raise RecordFailed("full")
        return response


@implementer(IProcessor)
class ForClients:
    """A processor that refuses the proxy's own requests."""

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        if exchange.own:
            raise Refused("Not for the proxy.", status=403)
        return await proceed(exchange)


class CheckedHosp(SmallHosp):
    """A HOSP whose responses are checked against the contract.

    :ivar spoilt: ids of the operations that get an HTML page as response.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.check = ResponseCheck(CONTRACT, UpstreamTarget.from_url("http://hosp.test"), NullMeter())
        self.spoilt: set[str] = set()

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        response = await super().process(exchange, proceed)
        return self.check.checked(exchange, response)

    def answer(self, call: Call) -> Response:
        response = super().answer(call)
        if call.operation.id not in self.spoilt:
            return response
        return evolve(response.having(b"Content-Type", b"text/html"), body=b"<p>Welcome.</p>")


class UnrecordedTests(SynchronousTestCase):
    def test_who_got_no_answer_for_want_of_arecord_gets_it_at_the_next_try(self) -> None:
        recording = Recording()
        rig = Rig(put_in={"record.audit": recording})
        rig.get(rig.send("GET", "/notes"))
        recording.full = True
        self.assertRaises(RecordFailed, rig.get, rig.send("POST", "/notes", NOTE))
        self.assertRaises(RecordFailed, rig.get, rig.send("POST", "/notes", NOTE))
        recording.full = False
        answer = rig.get(rig.send("POST", "/notes", NOTE))
        [stored] = rig.hosp.records["notes"]
        self.assertEqual((answer.status, json.loads(answer.body)["id"]), (201, stored["id"]))
        answer.handed_over(True)
        rig.get(rig.send("POST", "/notes", NOTE))
        self.assertEqual(len(rig.hosp.records["notes"]), 2)


class BadAnswerTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        self.hosp = CheckedHosp(clock)
        self.rig = Rig(clock=clock, hosp=self.hosp)
        self.rig.get(self.rig.send("GET", "/notes"))

    def test_a_write_whose_answer_is_none_is_found(self) -> None:
        self.hosp.spoilt = {"createNote"}
        answer = self.rig.get(self.rig.send("POST", "/notes", NOTE))
        [stored] = self.hosp.records["notes"]
        self.assertEqual((answer.status, json.loads(answer.body)["id"]), (201, stored["id"]))
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_where_the_look_is_answered_so_too_it_is_unknown_and_never_doubled(self) -> None:
        self.hosp.spoilt = {"createNote", "listNotes"}
        answer = self.rig.get(self.rig.send("POST", "/notes", NOTE))
        self.assertEqual(json.loads(answer.body)["outcome"], "unknown")
        self.hosp.spoilt = set()
        answer = self.rig.get(self.rig.send("POST", "/notes", NOTE))
        self.assertEqual((answer.status, len(self.hosp.records["notes"])), (201, 1))
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_a_screening_is_asked_for_again_and_noted_once(self) -> None:
        self.hosp.spoilt = {"screenPatient"}
        answer = self.rig.get(self.rig.send("POST", "/patients/7/screen", {"images": ["a"]}))
        self.assertEqual(answer.status, 502)
        self.hosp.spoilt = {"createNote"}
        self.rig.get(self.rig.send("POST", "/patients/7/screen", {"images": ["a"]}))
        self.rig.clock.pump([0.5] * 60)
        self.assertEqual(len(self.hosp.records["notes"]), 1)


class RefusingTests(SynchronousTestCase):
    def test_the_proxys_own_requests_pass_by_them(self) -> None:
        """Looks, notes of screenings, and identity lookups."""
        stations = ("guard.entrance", "guard.admission", "guard.permissions", "record.patient")
        rig = Rig(put_in=dict.fromkeys(stations, ForClients()))
        rig.get(rig.send("GET", "/notes"))
        rig.hosp.faults = [("after", RESET)]
        self.assertEqual(rig.get(rig.send("POST", "/notes", NOTE)).status, 201)
        rig.get(rig.send("POST", "/patients/7/screen", {"images": ["a"]}))
        rig.clock.pump([0.5] * 10)
        self.assertEqual(len(rig.hosp.records["notes"]), 2)
        self.assertTrue({"identity", "look", "screening note"} <= {one.own for one in rig.exchanges})

    def notes_of(self, rig: Rig) -> list[dict[str, Any]]:
        return [note for note in rig.hosp.records["notes"] if note["title"] == "Screening result"]

    def test_a_screening_that_is_refused_is_not_made_and_leaves_no_note(self) -> None:
        rig = rig_with(other_hospital="enforce")
        answer = rig.get(rig.send("POST", "/patients/9/screen", {"images": ["a"]}))
        rig.clock.pump([0.5] * 10)
        self.assertEqual((answer.status, rig.hosp.seen("screenPatient"), self.notes_of(rig)), (403, [], []))

    def test_a_result_is_kept_though_its_author_has_moved_since(self) -> None:
        rig = rig_with(other_hospital="enforce")
        rig.hosp.faults = [("before", 500)]
        self.assertEqual(rig.get(rig.send("POST", "/patients/7/screen", {"images": ["a"]})).status, 200)
        rig.hosp.records["staffs"][0]["hospital_id"] = 2
        rig.clock.pump([0.5] * 20)
        self.assertEqual(len(self.notes_of(rig)), 1)

    def test_a_deletion_that_is_asked_for_again_is_not_refused_for_what_is_gone(self) -> None:
        key = [(b"idempotency-key", b"k")]
        rig = rig_with(delete_others_note="enforce", other_hospital="enforce")
        rig.hosp.faults = [("after", RESET)]
        statuses = [rig.get(rig.send("DELETE", "/notes/20", headers=key)).status for _ in range(2)]
        self.assertEqual((statuses, len(rig.hosp.seen("deleteNote"))), ([200, 200], 1))
