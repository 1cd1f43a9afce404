"""A write that HOSP may still carry out keeps its turn, so it cannot undo a later, acknowledged write."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending, NotSent
from hospproxy.http.messages import Response
from tests.rig import Rig, stamp

from .test_elsewhere import SiteTestCase

RESET = FailedAfterSending("reset")


class TurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.hosp = self.rig.hosp
        self.rig.get(self.rig.send("GET", "/patients"))
        self.rig.clock.advance(100)

    def patching(self, name: str, record: int = 7) -> Deferred[Response]:
        sent: Deferred[Response] = self.rig.send("PATCH", f"/patients/{record}", {"name": name})
        return sent

    def patch(self, name: str) -> Response:
        answer: Response = self.rig.get(self.patching(name))
        return answer

    @property
    def name(self) -> Any:
        return self.hosp.records["patients"][0]["name"]

    def end(self) -> None:
        self.rig.clock.pump([0.5] * 200)
        self.assertEqual((len(self.rig.entries), len(self.rig.entries._turns)), (0, 0))
        self.assertEqual([row for row in self.rig.disk.all("pending") if row[0]], [])

    def test_a_change_that_comes_late_undoes_no_later_one(self) -> None:
        for late in (0.5, 8, 24.9):
            self.setUp()
            self.hosp.faults = [(f"late:{late}", RESET)]
            began = self.rig.clock.seconds()
            self.assertEqual(self.patch("Juno").status, 200)
            self.assertLess(self.rig.clock.seconds() - began, 1)
            self.assertEqual(self.patch("B").status, 200)
            self.end()
            self.assertEqual(self.name, "B", late)

    def test_writes_to_other_records_do_not_wait(self) -> None:
        self.hosp.records["patients"].append({**self.hosp.records["patients"][0], "id": 8})
        self.hosp.faults = [("late:8", RESET)]
        self.patch("Juno")
        began = self.rig.clock.seconds()
        self.assertEqual(self.rig.get(self.patching("B", 8)).status, 200)
        self.assertLess(self.rig.clock.seconds() - began, 1)

    def test_where_it_is_seen_to_have_landed_the_next_goes_at_once(self) -> None:
        self.rig.get(self.rig.send("GET", "/patients/7"))
        self.rig.clock.advance(10)
        self.hosp.faults = [("after", RESET)]
        began = self.rig.clock.seconds()
        self.assertEqual([self.patch("A").status, self.patch("B").status], [200, 200])
        self.assertLess(self.rig.clock.seconds() - began, 2)
        self.end()
        self.assertEqual(self.name, "B")

    def test_a_change_whose_outcome_is_unknown_keeps_its_turn(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500]
        sent = self.patching("A")
        self.hosp.records["patients"][0].update(name="C", updated_at=stamp(self.rig.clock.seconds() + 1))
        self.assertEqual(json.loads(self.rig.get(sent).body)["outcome"], "unknown")
        self.assertEqual(self.patch("B").status, 200)
        self.end()
        self.assertEqual(self.name, "B")

    def test_what_was_read_before_it_comes_proves_no_deletion(self) -> None:
        """The change can move a record out of its reader's sight: then a 404 does not prove a deletion."""
        for over, seconds in ((False, 4.0), (True, 30.0)):
            self.setUp()
            self.hosp.faults = [("late:8", RESET)]
            self.assertEqual(self.patch("Juno").status, 200)
            self.rig.clock.pump([0.5] * int(2 * seconds))
            self.assertEqual(self.rig.get(self.rig.send("GET", "/patients/7")).status, 200)
            self.rig.clock.advance(30)
            self.hosp.hidden = {(1, 7)}
            self.hosp.faults = [("before", RESET)]
            told = self.rig.get(self.rig.send("DELETE", "/patients/7"))
            self.assertEqual((b"unknown" in told.body, told.status == 200), (not over, over))
            self.assertEqual(len(self.hosp.records["patients"]), 1)

    def test_what_it_makes_stale_is_forgotten_once_more_when_it_may_have_come(self) -> None:
        self.hosp.faults = [("late:8", RESET)]
        self.assertEqual(self.patch("Juno").status, 200)
        self.assertEqual(self.rig.forgotten, [])
        self.end()
        self.assertEqual([one.call.path for one in self.rig.forgotten], [("7",)])

    def test_that_this_fails_locks_no_record(self) -> None:
        def fail(_exchange: Any) -> None:
            raise RuntimeError("no")

        self.rig = Rig(forget=fail)
        self.hosp = self.rig.hosp
        self.hosp.faults = [("late:8", RESET)]
        self.assertEqual(self.patch("Juno").status, 200)
        self.assertEqual(self.patch("B").status, 200)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.end()

    def test_its_turn_outlives_the_process(self) -> None:
        self.hosp.faults = [("late:8", RESET)]
        self.assertEqual(self.patch("Juno").status, 200)
        self.rig = self.rig.crash()
        self.assertEqual(self.patch("B").status, 200)
        self.end()
        self.assertEqual(self.name, "B")

    def test_so_does_that_of_one_that_acrash_left_open(self) -> None:
        self.hosp.faults = [("late:8", RESET)]
        self.hosp.read_faults = [500]
        self.patching("Juno")
        self.hosp.read_faults = []
        self.rig = self.rig.crash()
        self.assertEqual(self.patch("B").status, 200)
        self.end()
        self.assertEqual(self.name, "B")

    def test_while_hosp_sleeps_the_turn_is_kept(self) -> None:
        self.hosp.faults = [("late:60", RESET)]
        self.assertEqual(self.patch("Juno").status, 200)
        self.rig.working_time.silent()
        self.hosp.read_faults = [NotSent("gone")] * 1000
        self.assertEqual(self.rig.get(self.patching("B")).status, 503)
        self.rig.clock.advance(35)
        self.hosp.read_faults = []
        self.rig.working_time.answered(self.rig.clock.seconds())
        self.assertEqual(self.patch("B").status, 200)
        self.end()
        self.assertEqual(self.name, "B")

    def test_late_is_counted_from_the_end_of_the_connection(self) -> None:
        """Bytes may be under way for a long time before HOSP receives them."""
        self.rig.get(self.rig.send("GET", "/notes"))
        self.hosp.hold = True
        sent = self.rig.send("POST", "/notes", {"title": "t", "patient_id": 7})
        self.rig.clock.advance(10)
        self.hosp.hold, self.hosp.faults = False, [("late:16", RESET)]
        self.hosp.held.pop().callback(None)
        self.rig.get(sent)
        self.end()
        self.assertEqual(len(self.hosp.records["notes"]), 1)


class SiteTurnTests(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(100)
        self.id_of(self.send(self.one))
        self.number = self.stored[0]["id"]
        # Its earlier values are not known.
        for worker in (self.one, self.two):
            worker.sightings.versions._versions.clear()

    def patch(self, worker: Any, body: str) -> int:
        return int(self.told(worker, worker.send("PATCH", f"/notes/{self.number}", {"body": body})).status)

    def end(self) -> None:
        self.clock.pump([0.5] * 200)
        self.assertEqual(self.stored[0]["body"], "B")
        self.assertEqual([len(self.one.entries), len(self.two.entries)], [0, 0])
        self.assertEqual([field for field in self.site.store.claims if field.startswith("t:")], [])

    def test_no_other_worker_undoes_what_it_acknowledged_either(self) -> None:
        self.hosp.faults = [("late:8", RESET)]
        self.assertEqual(self.patch(self.one, "b"), 200)
        self.assertEqual(self.patch(self.two, "B"), 200)
        self.end()

    def test_a_sibling_that_starts_meanwhile_does_not_say_that_its_answer_was_lost(self) -> None:
        """It keeps the turn, too; and Redis may lose the report about the response."""
        self.hosp.faults = [("late:8", RESET)]
        sent = self.one.send("PATCH", f"/notes/{self.number}", {"body": "b"})
        answer = self.one.get(sent)
        sibling = self.site.worker("m0")
        answer.handed_over(True)
        self.clock.pump([0.5] * 2)
        self.site.end(self.one)
        self.site.store.lose()
        self.clock.pump([0.5] * 80)
        (write,) = [w for name, w in self.site.store.claims.items() if name.startswith("w:")]
        self.assertEqual(write.get("h"), 1, write)
        self.assertEqual(len(sibling.entries), 0)

    def test_it_is_said_again_when_redis_has_lost_it(self) -> None:
        self.hosp.faults = [("late:8", RESET)]
        self.assertEqual(self.patch(self.one, "b"), 200)
        self.site.store.lose()
        self.clock.pump([0.5] * 2)
        self.told(self.one, self.one.send("POST", "/notes", {"title": "x", "patient_id": 7}))
        self.clock.pump([0.5] * 2)
        self.assertEqual(self.patch(self.two, "B"), 200)
        self.end()

    def test_when_its_worker_dies_the_turn_is_kept_as_long_as_it_may_come(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.assertEqual(self.patch(self.one, "b"), 200)
        self.site.end(self.one)
        self.assertEqual(self.patch(self.two, "B"), 503)
        self.clock.pump([0.5] * 120)
        self.assertEqual(self.patch(self.two, "B"), 200)
        self.assertEqual(self.stored[0]["body"], "B")

    def silent(self) -> None:
        """HOSP is suspended: it neither responds nor works, and worker one has noticed."""
        self.one.working_time.silent()
        self.clock.pump([0.5] * 80)

    def test_a_sibling_that_starts_meanwhile_does_not_end_it(self) -> None:
        """The sibling does not know that HOSP has not been working for most of the time."""
        self.hosp.faults = [("late:60", RESET)]
        self.assertEqual(self.patch(self.one, "b"), 200)
        sibling = self.site.worker("m0")
        self.silent()
        for worker in (self.two, sibling):
            self.assertEqual(self.patch(worker, "B"), 503)
        self.assertEqual([row for row in self.site.disks["m0"].all("pending") if row[0]], [(1,)])
        self.one.working_time.answered(self.clock.seconds())
        self.clock.pump([0.5] * 60)
        self.assertEqual(self.patch(sibling, "B"), 200)
        self.end()
        self.assertEqual(len(sibling.entries), 0)

    def test_when_its_worker_dies_a_live_sibling_keeps_it_from_then_on(self) -> None:
        for redis_loses_it in (False, True):
            self.setUp()
            self.hosp.faults = [("late:125", RESET)]
            self.assertEqual(self.patch(self.one, "b"), 200)
            sibling = self.site.worker("m0")
            self.silent()
            self.site.end(self.one)
            sibling.working_time.silent()
            self.clock.pump([0.5] * 80)
            if redis_loses_it:
                self.site.store.lose()
                sibling.claims.begin_epoch()
                self.clock.pump([0.5] * 2)
            self.assertEqual(self.patch(self.two, "B"), 503)
            sibling.working_time.answered(self.clock.seconds())
            self.clock.pump([0.5] * 60)
            self.assertEqual(self.patch(self.two, "B"), 200)
            self.clock.pump([0.5] * 200)
            self.assertEqual((self.stored[0]["body"], len(sibling.entries)), ("B", 0))

    def test_only_one_of_two_that_start_keeps_that_of_a_dead_one(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.assertEqual(self.patch(self.one, "b"), 200)
        self.site.end(self.one)
        workers = [self.site.worker("m0"), self.site.worker("m0")]
        (keeper,) = self.site.disks["m0"].keeper.execute("SELECT owner FROM kept_turns").fetchone()
        self.assertEqual(keeper, workers[0].ledger.owner.name)
        self.clock.pump([0.5] * 60)
        self.assertEqual([len(worker.entries) for worker in workers], [0, 0])
        self.assertEqual(self.site.disks["m0"].keeper.execute("SELECT * FROM kept_turns").fetchall(), [])

    def test_an_end_that_the_disk_refused_is_stored_later(self) -> None:
        self.hosp.faults = [("late:8", RESET)]
        self.assertEqual(self.patch(self.one, "b"), 200)
        sibling = self.site.worker("m0")
        self.one.worker.full = True
        self.clock.pump([0.5] * 60)
        self.assertEqual((len(self.one.entries), len(sibling.entries)), (0, 1))
        self.one.worker.full = False
        self.one.get(Deferred.fromCoroutine(self.one.writes.tidy()))
        self.clock.pump([0.5] * 6)
        self.assertEqual(len(sibling.entries), 0)

    def kept_by_a_sibling(self, *, lease_s: float = 0.0) -> Any:
        """Worker one dies while HOSP, which is suspended, may still carry out its change; a sibling starts.

        :param lease_s: seconds until the dead worker's lease ends.
        """
        self.hosp.faults = [("late:9000", RESET)]
        self.assertEqual(self.patch(self.one, "b"), 200)
        self.site.end(self.one, lease_s=lease_s)
        sibling = self.site.worker("m0")
        sibling.working_time.silent()
        return sibling

    def refused_until_hosp_answers(self, sibling: Any) -> None:
        self.assertEqual(self.patch(self.two, "B"), 503)
        sibling.working_time.answered(self.clock.seconds())
        self.clock.pump([0.5] * 60)
        self.assertEqual(self.patch(self.two, "B"), 200)
        self.assertEqual(len(sibling.entries), 0)

    def test_a_sibling_keeps_that_of_a_dead_one_whose_lease_has_not_ended(self) -> None:
        sibling = self.kept_by_a_sibling(lease_s=10.0)
        self.clock.pump([0.5] * 260)
        self.refused_until_hosp_answers(sibling)

    def test_redis_keeps_it_for_as_long_as_hosp_is_suspended(self) -> None:
        sibling = self.kept_by_a_sibling()
        self.clock.pump([5.0] * 200)
        self.refused_until_hosp_answers(sibling)

    def test_what_is_published_again_of_a_write_under_a_key_does_not_free_it(self) -> None:
        self.hosp.faults = [("late:60", RESET)]
        headers = [(b"idempotency-key", b"k")]
        sent = self.one.send("PATCH", f"/notes/{self.number}", {"body": "b"}, headers=headers)
        self.assertEqual(self.one.get(sent).status, 200)
        self.silent()
        sibling = self.site.worker("m0")
        for workers in ((self.one, sibling), (sibling, self.one)):
            self.site.store.lose()
            for worker in workers:
                worker.claims.begin_epoch()
                self.clock.pump([0.5] * 2)
            self.assertEqual(self.patch(self.two, "B"), 503)
        self.one.working_time.answered(self.clock.seconds())
        self.clock.pump([0.5] * 60)
        self.assertEqual(self.patch(self.two, "B"), 200)
        self.end()

    def test_a_turn_that_ends_while_others_are_published_again_is_not_taken_again(self) -> None:
        self.hosp.faults = [("late:8", RESET)]
        self.assertEqual(self.patch(self.one, "b"), 200)
        self.assertEqual([note.keeps_turn for note in self.one.claims._again()], [1])
        notes = self.one.claims._again()
        self.clock.pump([0.5] * 60)
        self.assertEqual(list(notes), [])
