"""Each write has one outcome, even if HOSP fails before, after or long after it has stored."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import BadAnswer, FailedAfterSending, NotSent
from hospproxy.http.messages import Response
from hospproxy.outward.writes.fate import SendCertainty, certainty
from tests.rig import STAFF1, STAFF2, Rig, stamp

RESET = FailedAfterSending("reset")
TIMED_OUT = FailedAfterSending("no answer", timed_out=True)
CUT = FailedAfterSending("cut", head_status=201)
NOTE = {"title": "t", "body": "b", "patient_id": 7}


class CertaintyTests(SynchronousTestCase):
    def test_what_a_try_says(self) -> None:
        for result, wanted in (
            (Response(201), SendCertainty.CERTAIN), (Response(404), SendCertainty.CERTAIN),
            (Response(500), SendCertainty.FINISHED), (Response(501), SendCertainty.FINISHED),
            (Response(408), SendCertainty.OPEN), (Response(502), SendCertainty.OPEN),
            (Response(503), SendCertainty.OPEN), (Response(504), SendCertainty.OPEN),
            (RESET, SendCertainty.OPEN), (TIMED_OUT, SendCertainty.OPEN), (CUT, SendCertainty.FINISHED),
            (FailedAfterSending("x", head_status=500), SendCertainty.FINISHED),
            (FailedAfterSending("x", head_status=503), SendCertainty.OPEN),
            (FailedAfterSending("x", head_status=422), SendCertainty.CERTAIN),
            (BadAnswer("x"), SendCertainty.OPEN),
        ):  # fmt: skip
            self.assertIs(certainty(result), wanted, result)


class PostTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.hosp = self.rig.hosp
        self.rig.get(self.rig.send("GET", "/notes"))

    def post(self, document: Any = NOTE, **kwargs: Any) -> Response:
        answer: Response = self.rig.get(self.rig.send("POST", "/notes", document, **kwargs))
        return answer

    def stored(self) -> list[dict[str, Any]]:
        return self.hosp.records["notes"]

    def test_stored_and_lost_is_found(self) -> None:
        for number, fault in enumerate((500, RESET, CUT, 503, TIMED_OUT), 1):
            self.hosp.faults = [("after", fault)]
            answer = self.post({**NOTE, "body": str(number)})
            self.assertEqual(answer.status, 201)
            self.assertEqual(json.loads(answer.body), self.stored()[-1])
            self.assertEqual(
                answer.headers.get(b"location"), b"https://proxy.test/notes/%d" % self.stored()[-1]["id"]
            )
            self.assertEqual(len(self.stored()), number)
            self.assertEqual(len(self.hosp.seen("createNote")), number)

    def test_finished_and_absent_is_sent_again_at_once(self) -> None:
        self.hosp.faults = [("before", 500)]
        before = self.rig.clock.seconds()
        self.assertEqual(self.post().status, 201)
        self.assertEqual(len(self.stored()), 1)
        self.assertLess(self.rig.clock.seconds() - before, 2)

    def test_a_reset_is_absent_only_to_a_look_begun_late_enough(self) -> None:
        self.hosp.faults = [("before", RESET)]
        began = self.rig.clock.seconds()
        self.assertEqual(self.post().status, 201)
        self.assertEqual(len(self.hosp.seen("createNote")), 2)
        self.assertGreaterEqual(self.rig.clock.seconds() - began, 25)

    def test_a_late_commit_is_found_whenever_it_comes(self) -> None:
        for number, late in enumerate((0.5, 3, 11, 20, 24.9), 1):
            self.hosp.faults = [(f"late:{late}", RESET)]
            self.assertEqual(self.post({**NOTE, "body": str(number)}).status, 201)
            self.assertEqual(len(self.stored()), number)

    def test_not_sent_is_tried_again_without_a_look(self) -> None:
        self.hosp.faults = [("before", NotSent("refused"))] * 2
        self.assertEqual(self.post().status, 201)
        self.assertEqual(len(self.hosp.seen("listNotes")), 1)

    def test_never_sent_is_said_so(self) -> None:
        self.hosp.faults = [("before", NotSent("refused"))] * 9
        answer = self.post()
        self.assertEqual(answer.status, 502)
        self.assertNotIn("outcome", json.loads(answer.body))
        self.assertEqual(self.stored(), [])

    def test_no_time_to_know_is_unknown_and_found_out_later(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 1000
        answer = self.post()
        told = json.loads(answer.body)
        self.assertEqual((answer.status, told["outcome"]), (502, "unknown"))
        self.assertEqual(self.rig.forgotten, [])
        self.hosp.read_faults = []
        self.rig.clock.pump([0.5] * 60)
        self.assertEqual(self.rig.findings, [(told["reference"], "found")])
        self.assertEqual(len(self.rig.forgotten), 1)
        self.assertEqual((len(self.stored()), len(self.hosp.seen("createNote"))), (1, 1))
        self.assertEqual(len(self.rig.entries), 0)

    def test_nobody_is_told_of_it_before_no_worker_shows_what_was_before(self) -> None:
        heard: Deferred[None] = Deferred()
        self.rig = Rig(forget=lambda _exchange: heard)
        self.hosp = self.rig.hosp
        self.rig.get(self.rig.send("GET", "/notes"))
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 1000
        reference = json.loads(self.post().body)["reference"]
        self.hosp.read_faults = []
        self.rig.clock.pump([0.5] * 60)

        def outcome() -> str:
            answer = self.rig.get(self.rig.send("GET", f"/.hospproxy/outcomes/{reference}"))
            told: str = json.loads(answer.body)["outcome"]
            return told

        self.assertEqual((outcome(), self.rig.findings), ("unknown", []))
        heard.callback(None)
        self.assertEqual((outcome(), self.rig.findings), ("found", [(reference, "found")]))

    def test_once_a_client_was_told_unknown_it_is_never_sent_again(self) -> None:
        self.hosp.faults = [("before", TIMED_OUT)]
        self.hosp.read_faults = [500] * 1000
        self.assertEqual(self.post().status, 504)
        self.hosp.read_faults = []
        self.rig.clock.pump([0.5] * 120)
        self.assertEqual(self.rig.findings[0][1], "absent")
        self.assertEqual((self.stored(), len(self.hosp.seen("createNote"))), ([], 1))

    def test_who_asks_again_meanwhile_gets_what_was_found(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 1000
        self.post()
        second = self.rig.send("POST", "/notes", NOTE)
        self.hosp.read_faults = []
        self.assertEqual(self.rig.get(second).status, 201)
        self.assertEqual(len(self.stored()), 1)
        self.assertIn("writes:joined", [hit for one in self.rig.exchanges for hit in one.trace.rule_hits])

    def test_who_asks_again_when_it_was_absent_has_it_sent_anew(self) -> None:
        self.hosp.faults = [("before", TIMED_OUT)]
        self.hosp.read_faults = [500] * 1000
        self.post()
        second = self.rig.send("POST", "/notes", NOTE)
        self.hosp.read_faults = []
        self.assertEqual(self.rig.get(second).status, 201)
        self.assertEqual(len(self.stored()), 1)

    def test_while_hosp_sleeps_its_time_stands_still(self) -> None:
        self.hosp.faults = [("before", TIMED_OUT)]
        answer = self.rig.send("POST", "/notes", NOTE)
        self.rig.working_time.silent()
        self.hosp.read_faults = [NotSent("gone")] * 1000
        self.assertEqual(json.loads(self.rig.get(answer).body)["outcome"], "unknown")

    def test_equal_writes_go_out_one_at_a_time_and_are_two_records(self) -> None:
        self.hosp.hold = True
        answers = [self.rig.send("POST", "/notes", NOTE) for _ in range(3)]
        self.assertEqual(len(self.hosp.seen("createNote")), 1)
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.assertEqual([self.rig.get(answer).status for answer in answers], [201] * 3)
        self.assertEqual(len({row["id"] for row in self.stored()}), 3)

    def test_two_authors_do_not_wait_for_each_other(self) -> None:
        self.rig.get(self.rig.send("GET", "/notes", auth=STAFF2))
        self.hosp.hold = True
        self.rig.send("POST", "/notes", NOTE)
        self.rig.send("POST", "/notes", NOTE, auth=STAFF2)
        self.assertEqual(len(self.hosp.seen("createNote")), 2)

    def test_nor_do_they_where_identity_is_switched_off(self) -> None:
        self.rig = Rig(leave_out=["guard.identity", "guard.ownership", "memory.screening"])
        self.hosp = self.rig.hosp
        self.hosp.hold = True
        for auth in (STAFF1, STAFF2, STAFF1):
            self.rig.send("POST", "/notes", NOTE, auth=auth)
        self.assertEqual(len(self.hosp.seen("createNote")), 2)

    def test_equal_writes_that_both_fail_are_not_taken_for_each_other(self) -> None:
        self.hosp.faults = [("after", 500), ("before", 500)]
        answers = [self.rig.send("POST", "/notes", NOTE) for _ in range(2)]
        ids = [json.loads(self.rig.get(answer).body)["id"] for answer in answers]
        self.assertEqual(sorted(ids), [row["id"] for row in self.stored()])
        self.assertEqual(len(set(ids)), 2)

    def test_a_record_that_a_colleague_changed_meanwhile_is_not_knowable(self) -> None:
        def change() -> None:
            self.stored()[0].update(title="changed", updated_at=stamp(self.rig.clock.seconds() + 5))

        self.hosp.read_faults = [500]
        self.hosp.faults = [("after", 500)]
        answer = self.rig.send("POST", "/notes", NOTE)
        change()
        self.assertEqual(json.loads(self.rig.get(answer).body)["outcome"], "unknown")

    def test_only_a_whole_200_is_a_look(self) -> None:
        self.hosp.faults = [("before", 500)]
        self.hosp.read_faults = [401, 404, 500]
        self.assertEqual(self.post().status, 201)
        self.assertEqual(len(self.stored()), 1)

    def test_looks_go_with_the_authors_credentials_past_the_cache(self) -> None:
        self.rig.get(self.rig.send("GET", "/notes", auth=STAFF2))
        self.hosp.faults = [("after", 500)]
        self.post(auth=STAFF2)
        look = self.hosp.seen("listNotes")[-1]
        self.assertEqual((look.authorization, look.query), (STAFF2, (("patient_id", "7"),)))
        exchange = [one for one in self.rig.exchanges if one.own == "look"][-1]
        self.assertTrue(exchange.past_cache)

    def test_a_client_that_leaves_cancels_no_write(self) -> None:
        self.hosp.hold = True
        answer = self.rig.send("POST", "/notes", NOTE)
        answer.cancel()
        self.failureResultOf(answer)
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.assertEqual(len(self.stored()), 1)
        self.assertEqual(len(self.rig.entries), 0)

    def test_too_many_at_once_are_refused_unsent(self) -> None:
        self.rig = Rig(max_open=1)
        self.rig.get(self.rig.send("GET", "/notes"))
        self.rig.hosp.hold = True
        first = self.rig.send("POST", "/notes", NOTE)
        self.assertEqual(self.rig.get(self.rig.send("POST", "/notes", {**NOTE, "body": "2"})).status, 503)
        self.rig.hosp.held.pop().callback(None)
        self.assertEqual(self.rig.get(first).status, 201)

    def test_a_turn_that_does_not_come_in_time_is_refused_unsent(self) -> None:
        self.hosp.hold = True
        self.rig.send("POST", "/notes", NOTE)
        second = self.rig.send("POST", "/notes", NOTE)
        self.assertEqual(self.rig.get(second, seconds=30).status, 503)
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.assertEqual(len(self.stored()), 1)

    def test_a_refusal_whose_words_were_lost_keeps_its_status(self) -> None:
        self.hosp.faults = [("before", FailedAfterSending("cut", head_status=422))]
        self.assertEqual(self.post().status, 422)
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_sends_end(self) -> None:
        self.hosp.faults = [("before", 500)] * 9
        self.assertEqual(self.post().status, 500)
        self.assertEqual(len(self.hosp.seen("createNote")), 3)

    def test_what_is_being_found_out_at_a_stop_goes_on_at_the_next_start(self) -> None:
        self.hosp.faults = [("before", TIMED_OUT)]
        self.hosp.read_faults = [500] * 10_000
        reference = json.loads(self.post().body)["reference"]
        self.rig.writes.stop()
        self.hosp.read_faults = []
        after = self.rig.crash()
        after.clock.pump([0.5] * 60)
        self.assertEqual(after.findings, [(reference, "absent")])
        self.assertEqual((self.stored(), len(self.hosp.seen("createNote"))), ([], 1))


class ChangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.hosp = self.rig.hosp
        self.rig.get(self.rig.send("GET", "/patients"))
        self.rig.clock.advance(100)

    def send(self, method: str, target: str, document: Any = None) -> Response:
        sent: Deferred[Response] = (
            self.rig.send(method, target) if document is None else self.rig.send(method, target, document)
        )
        answer: Response = self.rig.get(sent)
        return answer

    def test_a_change_whose_answer_was_lost(self) -> None:
        self.hosp.faults = [("after", 500)]
        answer = self.send("PATCH", "/patients/7", {"name": "Juno II"})
        self.assertEqual((answer.status, json.loads(answer.body)["name"]), (200, "Juno II"))
        self.assertEqual(len(self.hosp.seen("updatePatient")), 1)

    def test_a_change_that_was_not_carried_out_is_sent_again(self) -> None:
        self.hosp.faults = [("before", 500)]
        self.assertEqual(self.send("PATCH", "/patients/7", {"name": "Juno II"}).status, 200)
        self.assertEqual(len(self.hosp.seen("updatePatient")), 2)

    def test_a_colleagues_change_is_never_overwritten_by_a_repeat(self) -> None:
        def colleague() -> None:
            self.hosp.records["patients"][0].update(
                name="Other", updated_at=stamp(self.rig.clock.seconds() + 1)
            )

        self.hosp.faults = [("before", 500)]
        self.hosp.read_faults = [500]
        answer = self.rig.send("PATCH", "/patients/7", {"name": "Juno II"})
        colleague()
        self.assertEqual(json.loads(self.rig.get(answer).body)["outcome"], "unknown")
        self.assertEqual(len(self.hosp.seen("updatePatient")), 1)

    def test_a_password_cannot_be_read_back_but_tried(self) -> None:
        for faults, sends in ([("after", 500)], 1), ([("before", 500)], 2), ([("before", RESET)], 2):
            for target, name in (("/staffs/2", "staff2"), ("/staffs/1", "staff1")):
                self.setUp()
                self.hosp.faults = list(faults)
                answer = self.send("PATCH", target, {"password": "new"})
                self.assertEqual(
                    (answer.status, json.loads(answer.body)["name"]), (200, name), (faults, target)
                )
                self.assertEqual(self.hosp.passwords[name], "new")
                self.assertEqual(len(self.hosp.seen("updateStaff")), sends)

    def test_ones_own_name(self) -> None:
        for faults in ([("after", 500)], [("before", 500)], [("late:5", RESET)]):
            self.setUp()
            self.hosp.faults = list(faults)
            answer = self.send("PATCH", "/staffs/1", {"name": "staff1b", "hospital_id": 3})
            self.assertEqual((answer.status, json.loads(answer.body)["name"]), (200, "staff1b"), faults)

    def test_an_account_that_somebody_else_changed_meanwhile(self) -> None:
        self.hosp.faults = [("before", 500)]
        self.hosp.read_faults = [500]
        answer = self.rig.send("PATCH", "/staffs/1", {"password": "new"})
        self.hosp.passwords["staff1"] = "third"
        self.assertEqual(json.loads(self.rig.get(answer).body)["outcome"], "unknown")

    def test_deleting_ones_own_account(self) -> None:
        for faults in ([("after", 500)], [("before", 500)], [("after", RESET)]):
            self.setUp()
            self.hosp.faults = list(faults)
            self.assertEqual(self.send("DELETE", "/staffs/1").status, 200, faults)
            self.assertEqual([row["id"] for row in self.hosp.records["staffs"]], [2])

    def test_a_deletion_whose_answer_was_lost(self) -> None:
        self.hosp.faults = [("after", RESET)]
        answer = self.send("DELETE", "/patients/7")
        self.assertEqual(
            (answer.status, answer.headers.get(b"content-type")), (200, b"text/html; charset=utf-8")
        )
        self.assertIn(b"deleted", answer.body)

    def test_a_deletion_that_was_not_carried_out_is_sent_again(self) -> None:
        self.hosp.faults = [("before", 500)]
        self.assertEqual(self.send("DELETE", "/patients/7").status, 200)
        self.assertEqual(self.hosp.records["patients"], [])

    def test_what_was_never_there_is_not_deleted(self) -> None:
        self.assertEqual(self.send("DELETE", "/patients/99").status, 404)

    def delete(self, *, auth: bytes = STAFF1, patient: int = 7) -> Any:
        answer = self.rig.get(self.rig.send("DELETE", f"/patients/{patient}", auth=auth))
        return json.loads(answer.body).get("outcome") if answer.status >= 400 else answer.status

    def test_a_404_proves_no_deletion_of_what_its_author_had_not_seen(self) -> None:
        self.hosp.hidden = {(2, 7)}
        for fault in (500, RESET):
            for auth, patient in ((STAFF2, 7), (STAFF1, 99)):
                self.hosp.faults = [("before", fault)]
                self.assertEqual(self.delete(auth=auth, patient=patient), "unknown")
        self.assertEqual([row["id"] for row in self.hosp.records["patients"]], [7])

    def test_nor_of_what_was_deleted_or_changed_since_it_was_seen(self) -> None:
        self.assertEqual(self.delete(), 200)
        self.hosp.faults = [("before", 500)]
        self.assertEqual(self.delete(), "unknown")
        self.setUp()
        self.rig.get(self.rig.send("GET", "/patients/7", auth=STAFF2))
        self.rig.get(self.rig.send("PATCH", "/patients/7", {"hospital_id": 3}))
        self.hosp.hidden = {(2, 7)}
        self.hosp.faults = [("before", 500)]
        self.assertEqual(self.delete(auth=STAFF2), "unknown")

    def test_what_a_look_has_seen_was_there(self) -> None:
        self.rig.clock.advance(500)
        self.hosp.faults = [("before", 500), ("after", 500)]
        self.assertEqual(self.delete(), 200)
        self.assertEqual(len(self.hosp.seen("deletePatient")), 2)

    def test_what_had_been_shown_before_a_crash_was_there(self) -> None:
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500]
        self.rig.send("DELETE", "/patients/7")
        after = self.rig.crash()
        after.clock.pump([0.5] * 120)
        self.assertEqual([found for _, found in after.findings], ["found"])
        self.rig = after
        self.rig.get(self.rig.send("GET", "/notes"))
        self.hosp.faults = [("before", RESET)]
        self.hosp.read_faults = [500]
        self.rig.send("DELETE", "/patients/99")
        after = self.rig.crash()
        after.clock.pump([0.5] * 120)
        self.assertEqual([found for _, found in after.findings], ["given up"])

    def test_writes_to_one_record_go_one_at_a_time(self) -> None:
        self.hosp.hold = True
        first = self.rig.send("PATCH", "/patients/7", {"name": "A"})
        second = self.rig.send("PATCH", "/patients/7", {"name": "B"})
        self.assertEqual(len(self.hosp.seen("updatePatient")), 1)
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.assertEqual([self.rig.get(first).status, self.rig.get(second).status], [200, 200])
        self.assertEqual(self.hosp.records["patients"][0]["name"], "B")


FAULT = st.one_of(
    st.tuples(st.just("before"), st.sampled_from([500, 503, RESET, NotSent("x"), CUT])),
    st.tuples(st.just("after"), st.sampled_from([500, 503, RESET, CUT, TIMED_OUT])),
    st.floats(0.1, 24.5).map(lambda late: (f"late:{late}", RESET)),
)
STEP = st.tuples(
    st.sampled_from(["a", "a", "b"]),  # few bodies: equal writes are the hard case
    st.booleans(),  # whose
    st.floats(0, 12),  # pause after it, in seconds
)


class ModelTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(STEP, min_size=1, max_size=7),
        st.lists(FAULT, max_size=8),
        st.lists(st.sampled_from([500, 503, NotSent("x"), 200, 200, 200]), max_size=12),
    )
    def test_no_write_is_lost_doubled_or_anothers(
        self, steps: list[tuple[str, bool, float]], faults: list[Any], reads: list[Any]
    ) -> None:
        rig = Rig()
        for auth in (None, STAFF2):
            rig.get(rig.send("GET", "/notes", **({} if auth is None else {"auth": auth})))
        rig.hosp.faults = list(faults)
        rig.hosp.read_faults = [fault for fault in reads if fault != 200]
        answers = []
        for body, second, pause in steps:
            document = {**NOTE, "body": body, "staff_id": 1}
            sent = rig.send("POST", "/notes", document, **({"auth": STAFF2} if second else {}))
            answers.append((2 if second else 1, body, sent))
            rig.clock.pump([0.1] * int(pause * 10))
        told = [(who, body, rig.get(sent)) for who, body, sent in answers]
        rig.clock.pump([0.5] * 200)
        ids = [json.loads(answer.body)["id"] for _, _, answer in told if answer.status == 201]
        joined = sum(one.trace.rule_hits.count("writes:joined") for one in rig.exchanges)
        self.assertGreaterEqual(len(set(ids)), len(ids) - joined)
        for who in (1, 2):
            for body in ("a", "b"):
                mine = [answer for author, text, answer in told if (author, text) == (who, body)]
                stored = [r for r in rig.hosp.records["notes"] if (r["staff_id"], r["body"]) == (who, body)]
                yes = len({json.loads(a.body)["id"] for a in mine if a.status == 201})
                unknown = sum(1 for a in mine if b'"unknown"' in a.body)
                self.assertGreaterEqual(len(stored), yes, "lost")
                self.assertLessEqual(len(stored), yes + unknown, "doubled")
        self.assertEqual(len(rig.entries), 0)
        self.assertEqual((rig.sightings._claimed, rig.sightings._floors), ({}, {}))
