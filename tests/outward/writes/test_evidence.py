"""The evidence for "surely absent": a clock that is set, or an id out of order, does not double a note."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending
from hospproxy.http.messages import Response
from tests.rig import STAFF2, Rig, stamp

RESET = FailedAfterSending("reset")
NOTE = {"title": "t", "body": "b", "patient_id": 7}
HOUR = 3600.0


class EvidenceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.hosp = self.rig.hosp
        self.rig.get(self.rig.send("GET", "/notes"))

    def post(self, document: Any = NOTE, key: bytes | None = None, **kwargs: Any) -> Response:
        headers = [] if key is None else [(b"idempotency-key", key)]
        answer: Response = self.rig.get(self.rig.send("POST", "/notes", document, headers=headers, **kwargs))
        if answer.handed_over is not None:
            answer.handed_over(True)
        return answer

    def stored(self) -> list[dict[str, Any]]:
        return [row for row in self.hosp.records["notes"] if row["title"] == "t"]

    def import_note(self, number: Any, **fields: Any) -> dict[str, Any]:
        """Import a record directly at the upstream."""
        now = stamp(self.rig.clock.seconds() - 1000)
        row = {**NOTE, "title": "imported", "staff_id": 2, "id": number, "created_at": now, "updated_at": now}
        self.hosp.records["notes"].append({**row, **fields})
        return self.hosp.records["notes"][-1]


class ClockTests(EvidenceTestCase):
    def test_a_machine_that_starts_an_hour_back_doubles_nothing(self) -> None:
        for wall_error in (-HOUR, HOUR):
            for key in (None, b"k"):
                self.setUp()
                self.hosp.faults = [("after", RESET)]
                self.hosp.read_faults = [500] * 50
                headers = [] if key is None else [(b"idempotency-key", key)]
                self.rig.send("POST", "/notes", NOTE, headers=headers)
                self.rig.clock.advance(10)
                self.hosp.read_faults = []
                self.rig = self.rig.crash(wall_error=wall_error)
                self.assertEqual(self.post(key=key).status, 201)
                self.assertEqual(len(self.stored()), 1, (wall_error, key))

    def test_what_nobody_got_the_answer_of_is_answered_though_the_clock_was_set_meanwhile(self) -> None:
        for wall_error in (-HOUR, HOUR):
            self.setUp()
            first = self.rig.get(self.rig.send("POST", "/notes", NOTE))
            self.rig = self.rig.crash(wall_error=wall_error)
            self.assertEqual(self.post().body, first.body)
            self.assertEqual(len(self.stored()), 1)

    def test_hosps_clock_that_is_set_between_storing_and_the_look_doubles_nothing(self) -> None:
        for step in (HOUR, -HOUR):
            self.setUp()
            self.hosp.faults = [("after", RESET)]
            self.hosp.read_faults = [500] * 2
            sent = self.rig.send("POST", "/notes", NOTE)
            self.hosp.clock_error = step
            self.assertEqual(self.rig.get(sent).status, 201)
            self.assertEqual(len(self.stored()), 1)

    def test_hosps_clock_that_is_set_back_before_storing_doubles_nothing(self) -> None:
        self.hosp.clock_error = -HOUR
        self.hosp.faults = [("after", RESET)]
        self.assertEqual(json.loads(self.post().body)["outcome"], "unknown")
        self.assertEqual(len(self.stored()), 1)

    def test_a_key_is_kept_though_the_clock_was_days_ahead_for_one_tidying(self) -> None:
        first = self.post(key=b"k")
        self.rig.wall_error = 8 * 24 * HOUR
        self.rig.get(Deferred.fromCoroutine(self.rig.writes.tidy()))
        self.assertEqual(self.post(key=b"k").body, first.body)
        self.rig.wall_error = 0.0
        self.assertEqual(self.post(key=b"k").body, first.body)
        self.rig = self.rig.crash(wall_error=8 * 24 * HOUR)
        self.rig.get(Deferred.fromCoroutine(self.rig.writes.tidy()))
        self.assertEqual(self.post(key=b"k").body, first.body)
        self.assertEqual(len(self.stored()), 1)


class IdTests(EvidenceTestCase):
    def test_one_imported_id_far_above_the_sequence_doubles_nothing(self) -> None:
        self.import_note(10**9)
        self.rig.get(self.rig.send("GET", "/notes"))
        self.hosp.faults = [("after", RESET)]
        self.assertEqual(json.loads(self.post().body)["outcome"], "unknown")
        self.assertEqual(len(self.stored()), 1)

    def test_nor_does_one_where_the_note_is_deleted_meanwhile(self) -> None:
        """Its deletion must not look like a note that was never there."""
        self.import_note(10**9)
        self.rig.get(self.rig.send("GET", "/notes"))
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 2
        sent = self.rig.send("POST", "/notes", NOTE)
        self.rig.get(self.rig.send("DELETE", f"/notes/{self.stored()[0]['id']}"))
        self.assertEqual(json.loads(self.rig.get(sent).body)["outcome"], "unknown")
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_an_id_that_no_database_can_hold_stops_no_write(self) -> None:
        for number in (2**53, 2**63, 2**64, 10**30):
            self.setUp()
            self.import_note(number)
            self.rig.get(self.rig.send("GET", "/notes"))
            self.assertEqual(self.post().status, 201, number)
            self.hosp.faults = [("after", RESET)]
            self.assertEqual(self.post({**NOTE, "body": "2"}).status, 201, number)
            self.assertEqual(len(self.stored()), 2)
            self.rig = self.rig.crash()
            self.assertEqual(self.post({**NOTE, "body": "3"}).status, 201, number)

    def test_a_new_record_with_such_an_id_is_answered_and_the_next_are_too(self) -> None:
        self.hosp.numbers = iter([2**63, 101, 102])  # type: ignore[assignment]
        self.assertEqual([self.post({**NOTE, "body": body}).status for body in "abc"], [201] * 3)
        self.rig = self.rig.crash()
        self.hosp.numbers = iter([103])  # type: ignore[assignment]
        self.assertEqual(self.post({**NOTE, "body": "d"}).status, 201)


class OthersTests(EvidenceTestCase):
    def test_another_authors_changed_note_stands_in_nobodys_way(self) -> None:
        for fault in ("after", "before"):
            self.setUp()
            self.hosp.faults = [(fault, 500)]
            self.hosp.read_faults = [500]
            sent = self.rig.send("POST", "/notes", NOTE)
            now = self.rig.clock.seconds()
            self.import_note(5000, created_at=stamp(now + 1), updated_at=stamp(now + 2))
            self.assertEqual(self.rig.get(sent).status, 201)
            self.assertEqual(len(self.stored()), 1)

    def test_nor_does_astamp_that_is_amillisecond_later(self) -> None:
        self.hosp.faults = [("before", 500)]
        self.hosp.read_faults = [500]
        sent = self.rig.send("POST", "/notes", NOTE)
        now = self.rig.clock.seconds()
        self.import_note(5000, staff_id=1, created_at=stamp(now + 1), updated_at=stamp(now + 1.001))
        self.assertEqual(self.rig.get(sent).status, 201)

    def test_a_twin_that_was_answered_just_before_is_not_taken_for_it(self) -> None:
        """Its date is exact only to a second or so, so its record could be the second one's."""
        for fault in ("after", "before"):
            self.setUp()
            first = self.post()
            self.hosp.faults = [(fault, 500)]
            second = self.post()
            self.assertEqual((first.status, second.status), (201, 201))
            self.assertNotEqual(json.loads(first.body)["id"], json.loads(second.body)["id"])
            self.assertEqual(len(self.stored()), 2)

    def test_notes_that_akill_left_open_are_found_though_one_of_them_was_changed(self) -> None:
        self.rig.get(self.rig.send("GET", "/notes", auth=STAFF2))
        self.hosp.faults = [("after", RESET)] * 20
        self.hosp.read_faults = [500] * 100
        for number in range(20):
            auth = {"auth": STAFF2} if number % 2 else {}
            self.rig.send("POST", "/notes", {**NOTE, "body": str(number)}, **auth)
        self.stored()[0].update(body="changed", updated_at=stamp(self.rig.clock.seconds() + 5))
        self.hosp.read_faults = []
        self.rig = self.rig.crash()
        self.rig.clock.pump([0.5] * 80)
        found = [what for _, what in self.rig.findings]
        self.assertEqual((found.count("found"), found.count("absent")), (10, 0), found)

    def test_what_was_deleted_before_acrash_is_not_taken_for_absent_after_it(self) -> None:
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 4
        self.rig.send("POST", "/notes", NOTE)
        number = self.stored()[0]["id"]
        self.hosp.read_faults = []
        self.assertEqual(self.rig.get(self.rig.send("DELETE", f"/notes/{number}", auth=STAFF2)).status, 200)
        self.hosp.read_faults = [500] * 4
        self.rig = self.rig.crash()
        self.hosp.read_faults = []
        self.rig.clock.pump([0.5] * 80)
        self.assertEqual([found for _, found in self.rig.findings], ["given up"])


class ChangeTests(EvidenceTestCase):
    def patch(self, name: str) -> Response:
        answer: Response = self.rig.get(self.rig.send("PATCH", "/patients/7", {"name": name}))
        return answer

    def test_two_changes_within_asecond_the_second_of_which_was_not_stored(self) -> None:
        self.rig.get(self.rig.send("GET", "/patients"))
        for fault in (500, RESET):
            self.assertEqual(self.patch("first").status, 200)
            self.hosp.faults = [("before", fault)]
            self.assertEqual(self.patch("second").status, 200)
            self.assertEqual(self.hosp.records["patients"][0]["name"], "second")

    def test_a_colleagues_change_in_the_same_second_is_not_overwritten(self) -> None:
        self.assertEqual(self.patch("first").status, 200)
        self.hosp.faults = [("before", 500)]
        self.hosp.read_faults = [500]
        sent = self.rig.send("PATCH", "/patients/7", {"name": "second"})
        self.hosp.records["patients"][0].update(name="third", updated_at=stamp(self.rig.clock.seconds()))
        self.assertEqual(json.loads(self.rig.get(sent).body)["outcome"], "unknown")

    def test_hosps_clock_that_is_set_back_does_not_hide_acolleagues_change(self) -> None:
        self.rig.clock.advance(10)
        self.rig.get(self.rig.send("GET", "/notes"))
        self.hosp.faults = [("after", 500)]
        self.hosp.read_faults = [500]
        sent = self.rig.send("PATCH", "/patients/7", {"name": "second"})
        self.hosp.clock_error = -HOUR
        self.hosp.records["patients"][0].update(name="third", updated_at=stamp(10 - HOUR))
        self.assertEqual(json.loads(self.rig.get(sent).body)["outcome"], "unknown")
        self.assertEqual(len(self.hosp.seen("updatePatient")), 1)
