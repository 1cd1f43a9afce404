"""Permission rules: off, reported, enforced; with a reason; and what a rule costs HOSP."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.guard.knowledge import Knowledge, MissingField, watched
from hospproxy.guard.permissions import MAX_REASON, Permissions, PermissionVerdict, compared, reason_in
from hospproxy.http.errors import NotSent
from hospproxy.http.messages import Headers, Request, Response
from tests.rig import CONTRACT, STAFF2, Rig, SmallHosp, stamp
from tests.stages import arrived

RULES = tuple(rule.name for rule in CONTRACT.permissions)
GLASS = [(b"x-break-glass", b"Collapsed in the waiting room")]


def rig_with(administrators: frozenset[str] = frozenset(), **modes: str) -> Rig:
    """A chain with these rules; the rest is off. Staff 1 is of hospital 1, staff 2 and patient 9 of hospital 2."""
    made: list[Rig] = []

    def ask(*args: Any, **kwargs: Any) -> Any:
        return made[0].ask(*args, **kwargs)

    rig = Rig()
    hosp: SmallHosp = rig.hosp
    hosp.records["staffs"][1]["hospital_id"] = 2
    old = {"created_at": stamp(-1000), "updated_at": stamp(-1000)}
    hosp.records["patients"].append({"id": 9, "name": "Rex", "hospital_id": 2, "birthdate": None, **old})
    hosp.records["notes"] += [
        {"id": 20, "title": "of one", "body": "", "patient_id": 7, "staff_id": 1, **old},
        {"id": 21, "title": "of two", "body": "", "patient_id": 9, "staff_id": 2, **old},
    ]
    knowledge = Knowledge(CONTRACT, watched(CONTRACT, CONTRACT.permissions), rig.clock)
    answers = hosp.answer

    def answer(call: Any) -> Response:
        response: Response = answers(call)
        knowledge.saw(call, response)
        return response

    hosp.answer = answer  # type: ignore[method-assign]
    part = Permissions(
        CONTRACT, knowledge, ask, NullMeter(), modes, administrators=administrators, remember_s=60.0
    )
    whole = Rig(hosp=hosp, clock=rig.clock, put_in={"guard.permissions": part})
    made.append(whole)
    return whole


def hits(rig: Rig) -> list[str]:
    """The rule hits of the last request of a client."""
    return next(one.trace.rule_hits for one in reversed(rig.exchanges) if not one.own)


def asked(rig: Rig) -> int:
    return len([one for one in rig.exchanges if one.own == "permission"])


class ReportTests(SynchronousTestCase):
    def test_nothing_is_refused_and_nothing_asked(self) -> None:
        rig = rig_with(**dict.fromkeys(RULES, "report"))
        for method, target, document in (
            ("GET", "/patients/9", None),
            ("GET", "/notes?patient_id=9", None),
            ("GET", "/notes/21", None),
            ("PATCH", "/notes/21", {"title": "x"}),
            ("POST", "/notes", {"patient_id": 9}),
            ("POST", "/patients/9/screen", {"images": ["a"]}),
            ("PATCH", "/staffs/2", {"password": "new", "hospital_id": 1}),
            ("POST", "/staffs", {"name": "n", "hospital_id": 1, "password": "p"}),
            ("DELETE", "/notes/21", None),
        ):
            sent = {} if document is None else {"document": document}
            self.assertLess(rig.get(rig.send(method, target, **sent)).status, 300, target)
        self.assertEqual(asked(rig), 0)

    def test_the_record_says_what_would_have_been_refused(self) -> None:
        rig = rig_with(other_hospital="report", delete_others_note="report")
        rig.get(rig.send("GET", "/patients/9"))
        self.assertEqual(hits(rig), ["permissions:other_hospital(report)"])
        rig.get(rig.send("GET", "/patients/7"))
        self.assertEqual(hits(rig), [])
        rig.get(rig.send("GET", "/notes"))
        rig.get(rig.send("DELETE", "/notes/21"))
        self.assertEqual(
            hits(rig), ["permissions:delete_others_note(report)", "permissions:other_hospital(report)"]
        )

    def test_what_nothing_has_told_of_is_not_reported(self) -> None:
        rig = rig_with(other_hospital="report")
        self.assertEqual(rig.get(rig.send("POST", "/notes", {"patient_id": 9})).status, 201)
        self.assertEqual((hits(rig), asked(rig)), ([], 0))

    def test_it_does_not_fail_with_hosp(self) -> None:
        rig = rig_with(other_hospital="report")
        rig.get(rig.send("GET", "/hospitals"))
        rig.hosp.read_faults = [NotSent("gone")] * 50
        self.assertEqual(rig.get(rig.send("POST", "/notes", {"patient_id": 9})).status, 201)


class EnforceTests(SynchronousTestCase):
    def refused(self, rig: Rig, method: str, target: str, document: Any = None, **how: Any) -> None:
        before = [one for one in rig.hosp.calls if not one.operation.is_read]
        sent = {} if document is None else {"document": document}
        answer = rig.get(rig.send(method, target, **sent, **how))
        self.assertEqual(answer.status, 403, (method, target, document, answer.body))
        self.assertEqual(json.loads(answer.body)["error"], "Forbidden")
        self.assertEqual([one for one in rig.hosp.calls if not one.operation.is_read], before)

    def passes(self, rig: Rig, method: str, target: str, document: Any = None, **how: Any) -> Response:
        sent = {} if document is None else {"document": document}
        answer: Response = rig.get(rig.send(method, target, **sent, **how))
        self.assertLess(answer.status, 300, (method, target, document, answer.body))
        return answer

    def test_notes_belong_to_their_authors(self) -> None:
        rig = rig_with(edit_others_note="enforce", delete_others_note="enforce")
        self.refused(rig, "PATCH", "/notes/21", {"title": "x"})
        self.assertEqual(hits(rig), ["permissions:edit_others_note"])
        self.refused(rig, "DELETE", "/notes/21")
        self.passes(rig, "PATCH", "/notes/21", {"title": "x"}, auth=STAFF2)
        self.passes(rig, "DELETE", "/notes/21", auth=STAFF2)
        self.assertEqual(rig.get(rig.send("DELETE", "/notes/99")).status, 404)

    def test_a_note_of_nobody_is_not_yours(self) -> None:
        rig = rig_with(edit_others_note="enforce")
        rig.hosp.records["notes"][0]["staff_id"] = None
        self.refused(rig, "PATCH", "/notes/20", {"title": "x"})

    def test_accounts(self) -> None:
        rig = rig_with(set_others_password="enforce", create_staff="enforce", move_staff="enforce")
        self.refused(rig, "PATCH", "/staffs/2", {"password": "mine"})
        self.passes(rig, "PATCH", "/staffs/2", {"name": "staff2"})
        self.refused(rig, "PATCH", "/staffs/1", {"hospital_id": 2})
        self.refused(rig, "PATCH", "/staffs/1", {"hospital_id": None} | {"name": "staff1", "hospital_id": 3})
        self.passes(rig, "PATCH", "/staffs/1", {"hospital_id": 1, "name": "staff1"})
        self.refused(rig, "POST", "/staffs", {"name": "n", "hospital_id": 1, "password": "p"})
        self.passes(rig, "PATCH", "/staffs/1", {"password": "other"})

    def test_accounts_of_others(self) -> None:
        rig = rig_with(change_others_account="enforce")
        self.refused(rig, "PATCH", "/staffs/2", {"name": "n"})
        self.refused(rig, "DELETE", "/staffs/2")
        self.passes(rig, "PATCH", "/staffs/2", {"name": "staff2"}, auth=STAFF2)

    def test_a_wrapper_hides_nothing(self) -> None:
        """Also if validation only reports: Rails would read the wrapped fields."""
        rig = rig_with(set_others_password="enforce")
        rig.validation._enforce = False
        rig.get(rig.send("PATCH", "/staffs/2", {"staff": {"password": "mine"}}))
        self.assertEqual(rig.hosp.seen("updateStaff")[0].document, {})
        self.refused(rig, "PATCH", "/staffs/2", [{"password": "mine"}])

    def test_patients_of_another_hospital(self) -> None:
        rig = rig_with(other_hospital="enforce")
        for method, target, document in (
            ("GET", "/patients/9", None),
            ("HEAD", "/patients/9", None),
            ("GET", "/notes?patient_id=9", None),
            ("GET", "/notes/21", None),
            ("PATCH", "/patients/9", {"hospital_id": 1}),
            ("DELETE", "/patients/9", None),
            ("POST", "/patients/9/screen", {"images": ["a"]}),
            ("POST", "/notes", {"patient_id": 9}),
            ("POST", "/notes", {"patient_id": "9"}),
            ("PATCH", "/notes/21", {"title": "x"}),
            ("PATCH", "/notes/20", {"patient_id": 9}),
            ("DELETE", "/notes/21", None),
        ):
            self.refused(rig, method, target, document)
            self.assertEqual(hits(rig), ["permissions:other_hospital"])
            seen = next(one for one in reversed(rig.exchanges) if not one.own)
            self.assertIn(seen.trace.patient, ("9",) if "20" not in target else ("9", "7"))
        for method, target, document in (
            ("GET", "/patients/7", None),
            ("GET", "/notes?patient_id=7", None),
            ("GET", "/notes", None),
            ("GET", "/notes/20", None),
            ("PATCH", "/patients/7", {"name": "J"}),
            ("POST", "/notes", {"patient_id": 7}),
            ("PATCH", "/notes/20", {"patient_id": 7}),
        ):
            self.passes(rig, method, target, document)

    def test_reads_are_judged_by_their_answers(self) -> None:
        rig = rig_with(other_hospital="enforce")
        self.passes(rig, "GET", "/patients/7")
        self.assertEqual(len(rig.hosp.seen("getPatient")), 1)

    def test_what_is_known_is_not_asked_again(self) -> None:
        rig = rig_with(other_hospital="enforce")
        for _ in range(3):
            self.passes(rig, "POST", "/notes", {"patient_id": 7})
        self.assertEqual(len(rig.hosp.seen("getPatient")), 1)
        rig.clock.advance(61)
        self.passes(rig, "POST", "/notes", {"patient_id": 7})
        self.assertEqual(len(rig.hosp.seen("getPatient")), 2)

    def test_a_change_through_the_proxy_counts_at_once(self) -> None:
        rig = rig_with(other_hospital="enforce")
        self.passes(rig, "GET", "/patients/7")
        self.passes(rig, "PATCH", "/patients/7", {"hospital_id": 2})
        self.refused(rig, "POST", "/notes", {"patient_id": 7})

    def test_a_change_whose_answer_is_lost_is_asked_for(self) -> None:
        rig = rig_with(other_hospital="enforce")
        self.passes(rig, "GET", "/patients/7")
        rig.hosp.faults = [("after", 500)]
        rig.get(rig.send("PATCH", "/patients/7", {"hospital_id": 2}))
        self.refused(rig, "POST", "/notes", {"patient_id": 7})

    def test_it_fails_closed(self) -> None:
        rig = rig_with(other_hospital="enforce")
        rig.get(rig.send("GET", "/hospitals"))
        rig.hosp.read_faults = [500] * 50
        answer = rig.get(rig.send("POST", "/notes", {"patient_id": 7}))
        self.assertEqual((answer.status, rig.hosp.seen("createNote")), (503, []))
        self.assertEqual(hits(rig), ["permissions:other_hospital(unknown)"])

    def test_who_is_of_no_hospital_has_no_patients(self) -> None:
        rig = rig_with(other_hospital="enforce")
        rig.hosp.records["staffs"][0]["hospital_id"] = None
        self.refused(rig, "GET", "/patients/9")
        rig.hosp.records["patients"][1]["hospital_id"] = None
        self.passes(rig, "GET", "/patients/9")

    def test_an_id_that_cannot_be_looked_up_is_refused(self) -> None:
        rig = rig_with(other_hospital="enforce")
        rig.validation._enforce = False
        for patient in ("7/../9", " 9", "", [9], {"a": 9}, 9.0, True):
            answer = rig.get(rig.send("POST", "/notes", {"patient_id": patient}))
            self.assertGreaterEqual(answer.status, 400, patient)
        self.assertEqual(rig.hosp.seen("createNote"), [])


class GlassTests(SynchronousTestCase):
    def test_a_reason_lets_pass_and_is_kept(self) -> None:
        rig = rig_with(other_hospital="enforce")
        self.assertEqual(rig.get(rig.send("GET", "/patients/9", headers=GLASS)).status, 200)
        self.assertEqual(hits(rig), ["permissions:other_hospital", "permissions:break-glass"])
        self.assertEqual(rig.exchanges[0].trace.break_glass, "Collapsed in the waiting room")

    def test_it_is_not_broken_where_nobody_would_have_been_refused(self) -> None:
        rig = rig_with(other_hospital="enforce")
        rig.get(rig.send("GET", "/patients/7", headers=GLASS))
        self.assertEqual((hits(rig), rig.exchanges[0].trace.break_glass), ([], None))

    def test_an_empty_reason_is_none(self) -> None:
        rig = rig_with(other_hospital="enforce")
        answer = rig.get(rig.send("GET", "/patients/9", headers=[(b"x-break-glass", b"  ")]))
        self.assertEqual(answer.status, 403)
        self.assertIn("X-Break-Glass", json.loads(answer.body)["detail"])

    def test_other_rules_have_none(self) -> None:
        rig = rig_with(set_others_password="enforce")
        answer = rig.get(rig.send("PATCH", "/staffs/2", {"password": "mine"}, headers=GLASS))
        self.assertEqual((answer.status, rig.exchanges[0].trace.break_glass), (403, None))

    def test_it_serves_when_hosp_cannot_say(self) -> None:
        rig = rig_with(other_hospital="enforce")
        rig.get(rig.send("GET", "/hospitals"))
        rig.hosp.read_faults = [500] * 50
        answer = rig.get(rig.send("POST", "/notes", {"patient_id": 9}, headers=GLASS))
        self.assertEqual(answer.status, 201)

    @given(st.binary(max_size=600))
    def test_reasons_are_bounded(self, given_: bytes) -> None:
        exchange = arrived(Request(headers=Headers(((b"x-break-glass", given_),))))
        reason = reason_in(exchange)
        self.assertTrue(reason is None or 0 < len(reason) <= MAX_REASON)


class AdministratorTests(SynchronousTestCase):
    def test_no_rule_binds_them_and_the_record_says_so(self) -> None:
        rig = rig_with(frozenset({"1"}), create_staff="enforce", other_hospital="enforce")
        new = {"name": "n", "hospital_id": 1, "password": "p"}
        self.assertEqual(rig.get(rig.send("POST", "/staffs", new)).status, 201)
        self.assertEqual(hits(rig), ["permissions:create_staff(administrator)"])
        self.assertEqual(rig.get(rig.send("POST", "/notes", {"patient_id": 9})).status, 201)
        self.assertEqual(asked(rig), 0)


class KnowledgeTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        rig = Rig()
        knowledge = Knowledge(CONTRACT, {"notes": frozenset({"staff_id"})}, rig.clock, most=10)
        rows = [{"id": number, "staff_id": 1} for number in range(1, 50)]
        rig.hosp.records["notes"] = rows
        rig.get(rig.send("GET", "/notes"))
        call = rig.hosp.seen("listNotes")[0]
        knowledge.saw(call, rig.hosp.answer(call))
        self.assertEqual(len(knowledge), 10)

    def test_a_read_that_began_before_achange_tells_nothing_of_it(self) -> None:
        rig = Rig()
        knowledge = Knowledge(CONTRACT, {"patients": frozenset({"hospital_id"})}, rig.clock, most=10)
        rig.get(rig.send("GET", "/patients/7"))
        rig.get(rig.send("PATCH", "/patients/7", {"hospital_id": 2}))
        [read], [change] = rig.hosp.seen("getPatient")[:1], rig.hosp.seen("updatePatient")
        before, after = (rig.hosp.made(200, {"id": 7, "hospital_id": number}) for number in (1, 2))

        def known() -> object:
            return knowledge.recall("patients", "7", "hospital_id")

        rig.clock.advance(1)
        knowledge.saw(change, after, rig.clock.seconds() - 4)
        knowledge.saw(read, before, rig.clock.seconds() - 2)
        self.assertEqual(known(), 2)
        knowledge.forget("patients", "7")
        knowledge.saw(read, before, rig.clock.seconds() - 2)
        self.assertIs(known(), MissingField.UNKNOWN)
        rig.clock.advance(3)
        knowledge.saw(read, after, rig.clock.seconds() - 2)
        self.assertEqual(known(), 2)
        for number in range(100, 150):
            knowledge.forget("patients", str(number))
        self.assertEqual(len(knowledge._changed), 10)

    def test_when_any_record_may_have_changed_nothing_is_believed_but_for_an_outage(self) -> None:
        rig = Rig()
        knowledge = Knowledge(CONTRACT, {"patients": frozenset({"hospital_id"})}, rig.clock, most=10)
        rig.get(rig.send("GET", "/patients/7"))
        [read] = rig.hosp.seen("getPatient")
        before, after = (rig.hosp.made(200, {"id": 7, "hospital_id": number}) for number in (1, 2))
        knowledge.saw(read, before, rig.clock.seconds() - 1)
        self.assertEqual(knowledge.recall("patients", "7", "hospital_id", 60), 1)
        knowledge.doubt_all()
        self.assertIs(knowledge.recall("patients", "7", "hospital_id", 60), MissingField.UNKNOWN)
        self.assertEqual(knowledge.recall("patients", "7", "hospital_id"), 1)
        rig.clock.advance(1)
        knowledge.saw(read, before, rig.clock.seconds() - 2)
        self.assertIs(knowledge.recall("patients", "7", "hospital_id", 60), MissingField.UNKNOWN)
        knowledge.saw(read, after, rig.clock.seconds() - 0.5)
        self.assertEqual(knowledge.recall("patients", "7", "hospital_id", 60), 2)

    @given(st.binary(max_size=50))
    def test_whatever_an_answer_holds(self, body: bytes) -> None:
        rig = Rig()
        knowledge = Knowledge(CONTRACT, {"notes": frozenset({"staff_id"})}, rig.clock)
        self.assertIn(knowledge.read("notes", body), (None, {}))

    def test_compared(self) -> None:
        for value, other, verdict in (
            (1, 1, PermissionVerdict.ALLOWED),
            (1, 2, PermissionVerdict.FORBIDDEN),
            (1, "1", PermissionVerdict.FORBIDDEN),
            (1, None, PermissionVerdict.FORBIDDEN),
            (None, 1, PermissionVerdict.ALLOWED),
            (MissingField.GONE, 1, PermissionVerdict.ALLOWED),
            (MissingField.UNKNOWN, 1, PermissionVerdict.UNKNOWN),
            (1, MissingField.UNKNOWN, PermissionVerdict.UNKNOWN),
            (1, MissingField.GONE, PermissionVerdict.FORBIDDEN),
        ):
            self.assertIs(compared(value, other), verdict, (value, other))
