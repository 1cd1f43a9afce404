"""Writes that the contract does not allow: they are looked for in the form in which HOSP stores them."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending
from tests.rig import Rig

RESET = FailedAfterSending("reset")
NOTE = {"title": "t", "body": "b", "patient_id": 7}


class ReportedTests(SynchronousTestCase):
    """Documents that the contract does not allow, if validation.mode is "report"."""

    def setUp(self) -> None:
        self.rig = Rig(enforce=False)
        self.hosp = self.rig.hosp
        self.rig.get(self.rig.send("GET", "/notes"))

    def test_a_number_that_is_stored_as_text_is_found(self) -> None:
        for fault in (500, RESET):
            self.setUp()
            self.hosp.faults = [("after", fault)]
            answer = self.rig.get(self.rig.send("POST", "/notes", {**NOTE, "title": 5}))
            self.assertEqual((answer.status, json.loads(answer.body)["title"]), (201, "5"))
            self.assertEqual(len(self.hosp.records["notes"]), 1)

    def test_what_nobody_can_say_the_fate_of_is_unknown_and_never_doubled(self) -> None:
        for odd in (
            {"title": True},
            {"title": 1.5},
            {"body": ["x"]},
            {"patient_id": "7abc"},
            {"body": "a\0b"},
        ):
            self.setUp()
            self.hosp.faults = [("after", 500)]
            answer = self.rig.get(self.rig.send("POST", "/notes", {**NOTE, **odd}))
            self.assertEqual(json.loads(answer.body).get("outcome"), "unknown", odd)
            self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_what_hosp_trims_is_unknown_and_never_doubled(self) -> None:
        self.hosp.stores = lambda _, fields: {
            name: value.strip() if isinstance(value, str) else value for name, value in fields.items()
        }
        self.hosp.faults = [("after", 500)]
        answer = self.rig.get(self.rig.send("POST", "/notes", {**NOTE, "body": "limping "}))
        self.assertEqual(json.loads(answer.body).get("outcome"), "unknown")
        self.assertEqual(len(self.hosp.records["notes"]), 1)

    def test_it_is_sent_again_where_nothing_can_be_it(self) -> None:
        self.hosp.faults = [("before", 500)]
        answer = self.rig.get(self.rig.send("POST", "/notes", {**NOTE, "title": True}))
        self.assertEqual(answer.status, 201)
        self.assertEqual(len(self.hosp.records["notes"]), 1)

    def test_writes_that_become_equal_go_one_at_a_time(self) -> None:
        self.hosp.hold = True
        sent = [self.rig.send("POST", "/notes", {**NOTE, "title": title}) for title in (5, "5")]
        self.assertEqual(len(self.hosp.seen("createNote")), 1)
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.assertEqual([self.rig.get(one).status for one in sent], [201, 201])

    def test_a_password_that_is_no_text_cannot_be_tried(self) -> None:
        for password in (True, None, "", ["x"]):
            self.setUp()
            self.hosp.faults = [("before", 500)]
            answer = self.rig.get(self.rig.send("PATCH", "/staffs/2", {"password": password}))
            self.assertEqual(json.loads(answer.body).get("outcome"), "unknown", password)
            self.assertEqual(len(self.hosp.seen("updateStaff")), 1)
