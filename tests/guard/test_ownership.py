"""A note belongs to its author."""

import json

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard.ownership import same_id
from tests.rig import STAFF2, Rig


class OwnershipTests(SynchronousTestCase):
    def rig(self, **options: object) -> Rig:
        return Rig(**options)  # type: ignore[arg-type]

    def post(self, rig: Rig, document: object, **kwargs: object):
        return rig.get(rig.send("POST", "/notes", document, **kwargs))  # type: ignore[arg-type]

    def test_assigned_whatever_was_claimed(self) -> None:
        rig = self.rig()
        for claim in ({}, {"staff_id": 2}, {"staff_id": 1}, {"staff_id": None}):
            self.assertEqual(self.post(rig, {"title": "t", "patient_id": 7, **claim}).status, 201)
        self.assertEqual([row["staff_id"] for row in rig.hosp.records["notes"]], [1, 1, 1, 1])
        hits = [one.trace.rule_hits for one in rig.exchanges if not one.own]
        self.assertEqual(hits, [[], ["ownership:assign:staff_id"], [], []])

    def test_refused_where_the_policy_refuses(self) -> None:
        rig = self.rig(policy="refuse")
        answer = self.post(rig, {"patient_id": 7, "staff_id": 2})
        self.assertEqual((answer.status, json.loads(answer.body)["field"]), (403, "staff_id"))
        self.assertEqual(self.post(rig, {"patient_id": 7, "staff_id": 1}).status, 201)
        self.assertEqual(self.post(rig, {"patient_id": 7}).status, 201)
        self.assertEqual([row["staff_id"] for row in rig.hosp.records["notes"]], [1, 1])

    def test_no_mode_lets_a_forged_shape_through(self) -> None:
        for options in (
            {},
            {"policy": "refuse"},
            {"enforce": False},
            {"own": False},
            {"enforce": False, "own": False},
        ):
            rig = self.rig(**options)
            for document in (
                {"patient_id": 7, "staff_id": "2"},
                {"note": {"staff_id": 2}, "patient_id": 7},
                [{"staff_id": 2}],
                {"patient_id": 7, "staff_id": 2.0},
                {"patient_id": 7, "staff_id": True},
                {"patient_id": 7, "staff_id": [2]},
                None,
            ):
                self.assertEqual(self.post(rig, document).status, 422, (options, document))
            form = [(b"content-type", b"application/x-www-form-urlencoded")]
            self.assertEqual(
                rig.get(rig.send("POST", "/notes", body=b"staff_id=2", headers=form)).status, 415
            )
            self.assertEqual(
                rig.get(rig.send("POST", "/notes", body=b'{"staff_id":1,"staff_id":2}')).status, 400
            )
            self.assertEqual(rig.hosp.records["notes"], [])

    def test_report_says_what_would_have_been_done(self) -> None:
        rig = self.rig(own=False)
        self.post(rig, {"patient_id": 7, "staff_id": 2})
        self.assertEqual(rig.hosp.records["notes"][0]["staff_id"], 2)
        self.assertEqual(rig.exchanges[0].trace.rule_hits, ["ownership:assign:staff_id"])

    def test_a_change_leaves_the_author_as_it_is(self) -> None:
        rig = self.rig()
        number = json.loads(self.post(rig, {"patient_id": 7}).body)["id"]
        whole = {"id": number, "title": "new", "patient_id": 7, "staff_id": 1, "created_at": "x"}
        for sent in (whole, {"title": "new", "staff_id": 2}):
            answer = rig.get(rig.send("PATCH", f"/notes/{number}", sent, auth=STAFF2))
            self.assertEqual((answer.status, json.loads(answer.body)["staff_id"]), (200, 1))

    def test_a_change_that_names_another_than_the_present_author_is_refused_by_policy(self) -> None:
        rig = self.rig(policy="refuse")
        number = json.loads(self.post(rig, {"patient_id": 7}).body)["id"]
        for staff_id, status in ((1, 200), (2, 403)):
            answer = rig.get(
                rig.send("PATCH", f"/notes/{number}", {"staff_id": staff_id, "title": "x"}, auth=STAFF2)
            )
            self.assertEqual(answer.status, status)
        self.assertEqual(rig.get(rig.send("PATCH", "/notes/999", {"staff_id": 2})).status, 404)

    def test_other_records_have_no_author(self) -> None:
        rig = self.rig()
        self.assertEqual(rig.get(rig.send("POST", "/hospitals", {"name": "New"})).status, 201)

    def test_no_note_without_knowing_who(self) -> None:
        rig = self.rig()
        rig.hosp.read_faults = [500] * 5
        self.assertEqual(self.post(rig, {"patient_id": 7}).status, 502)
        self.assertEqual(rig.hosp.records["notes"], [])

    def test_ids_compare_by_type(self) -> None:
        self.assertTrue(same_id(7, 7))
        for one, other in ((7, "7"), (1, True), (1, 1.0), (None, 1)):
            self.assertFalse(same_id(one, other))
