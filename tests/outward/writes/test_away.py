"""Writes while Redis is away, or has lost its data."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve

from hospproxy.outward.writes.claims import WriteTurn
from hospproxy.outward.writes.elsewhere import CLOCK_ERROR_S
from hospproxy.outward.writes.entry import WriteEntry
from tests.rig import STAFF1

from .site import Worker
from .test_elsewhere import KEY, RESET, SiteTestCase


class AwayTests(SiteTestCase):
    def test_a_write_is_sent_once_and_what_is_uncertain_is_unknown(self) -> None:
        self.one.common.away = True
        self.id_of(self.send(self.one))
        self.hosp.faults = [("after", RESET)]
        looks = len(self.hosp.seen("listNotes"))
        answer = self.send(self.one)
        self.assertEqual(json.loads(answer.body)["outcome"], "unknown")
        self.assertEqual(len(self.hosp.seen("listNotes")), looks)
        self.assertEqual(len(self.hosp.seen("createNote")), 2)

    def test_a_repeat_at_another_worker_of_the_machine_is_not_stored_twice(self) -> None:
        sibling = self.site.worker("m0")
        for worker in (self.one, sibling):
            worker.common.away = True
        self.hosp.faults = [("after", RESET)]
        first = json.loads(self.send(self.one).body)
        again = json.loads(self.send(sibling).body)
        self.assertEqual((again["outcome"], again["reference"]), ("unknown", first["reference"]))
        self.assertEqual(len(self.hosp.seen("createNote")), 1)
        self.clock.advance(121)
        self.id_of(self.send(sibling))

    def test_at_another_machine_it_is_without_akey_and_with_one_it_is_refused(self) -> None:
        """As docs/clients.md says."""
        for key, sends in ((None, 2), (KEY, 1)):
            self.setUp()
            self.one.common.away = self.two.common.away = True
            self.hosp.faults = [("after", RESET)]
            if key is not None:
                self.one.common.away = False
                self.hosp.faults = []
                self.id_of(self.send(self.one, key=key))
            else:
                self.send(self.one)
            self.assertEqual(self.send(self.two, key=key).status, 201 if key is None else 503)
            self.assertEqual(len(self.hosp.seen("createNote")), sends)

    def test_what_was_lost_sight_of_just_now_is_waited_for_and_then_not_any_more(self) -> None:
        """A busy machine sometimes misses a reply. If it then sent without claims, two would send equal writes."""
        self.id_of(self.send(self.one))
        self.one.common.away = True
        sent = self.sending(self.one)
        self.clock.pump([0.1] * 10)
        self.assertEqual(len(self.hosp.seen("createNote")), 1)
        self.one.common.away = False
        self.clock.pump([0.1] * 2)
        self.assertEqual(len(self.hosp.seen("createNote")), 2)
        self.id_of(self.told(self.one, sent))
        self.one.common.away = True
        for _ in range(2):  # only the first of two waits
            self.sending(self.one)
            self.clock.pump([0.1] * 27)
        self.assertEqual(len(self.hosp.seen("createNote")), 4)

    def test_a_turn_that_was_seen_to_be_anothers_is_not_taken_when_redis_goes(self) -> None:
        self.hosp.hold = True
        self.sending(self.one)
        waiting = self.sending(self.two)
        self.clock.advance(0.2)
        self.two.common.away = True
        self.assertEqual(self.told(self.two, waiting).status, 503)
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_who_has_left_before_it_was_sent_is_not_sent(self) -> None:
        self.one.common.away = True
        self.hosp.hold = True
        first, second = self.sending(self.one), self.sending(self.one)
        self.leave(second)
        self.release()
        self.told(self.one, first)
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_a_loss_between_claim_and_look_is_unknown(self) -> None:
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500]
        sent = self.sending(self.one)
        self.site.store.lose()
        answer = self.told(self.one, sent)
        self.assertEqual(json.loads(answer.body)["outcome"], "unknown")

    def test_a_change_whose_claim_was_lost_is_not_sent_again(self) -> None:
        self.send(self.one)
        number = self.stored[0]["id"]
        self.hosp.faults = [("before", RESET)]
        self.hosp.read_faults = [500]
        sent = self.one.send("PATCH", f"/notes/{number}", {"body": "x"})
        self.site.store.lose()
        self.assertEqual(json.loads(self.told(self.one, sent).body)["outcome"], "unknown")
        self.assertEqual(len(self.hosp.seen("updateNote")), 1)

    def test_what_was_settled_meanwhile_is_said_later(self) -> None:
        self.hosp.hold = True
        first = self.sending(self.one, key=KEY)
        self.one.common.away = True
        self.release()
        body = self.told(self.one, first).body
        self.assertEqual(self.send(self.two, key=KEY).status, 409)
        self.one.common.away = False
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.send(self.two, key=KEY).body, body)
        self.assertEqual(len(self.stored), 1)

    def test_a_screenings_note_is_stored_once_without_it(self) -> None:
        self.one.common.away = True
        self.hosp.faults = [("after", RESET)]
        self.one.get(self.one.send("POST", "/patients/7/screen", {"images": ["a"]}))
        self.clock.pump([0.5] * 200)
        self.assertEqual(len(self.stored), 1)
        self.assertEqual(self.one.screening.pending, 0)

    def test_a_change_without_it_is_unknown_too(self) -> None:
        self.send(self.one)
        number = self.stored[0]["id"]
        self.one.common.away = True
        self.hosp.faults = [("after", RESET)]
        answer = self.told(self.one, self.one.send("PATCH", f"/notes/{number}", {"body": "x"}, auth=STAFF1))
        self.assertEqual(json.loads(answer.body)["outcome"], "unknown")

    def test_what_was_changed_since_is_anew_wish_also_at_another_worker_of_the_machine(self) -> None:
        """A (unknown for ever), B, A: the third is sent."""
        self.send(self.one)
        number = self.stored[0]["id"]
        sibling = self.site.worker("m0")
        for worker in (self.one, sibling):
            worker.common.away = True

        def patch(worker: Worker, body: str) -> Any:
            answer = self.told(worker, worker.send("PATCH", f"/notes/{number}", {"body": body}))
            self.clock.advance(5)
            return answer.status, json.loads(answer.body).get("outcome")

        self.hosp.faults = [("after", RESET)]
        self.assertEqual(patch(self.one, "A"), (502, "unknown"))
        self.assertEqual(patch(sibling, "A"), (502, "unknown"))
        self.assertEqual(patch(sibling, "B"), (200, None))
        self.assertEqual(patch(sibling, "A"), (200, None))
        self.assertEqual(self.stored[0]["body"], "A")

    def test_a_siblings_change_that_may_come_late_is_waited_for(self) -> None:
        """The ledger shows it, though its client got a response."""
        self.send(self.one)
        number = self.stored[0]["id"]
        sibling = self.site.worker("m0")
        for worker in (self.one, sibling):
            worker.common.away = True
        for late in (5.0, 20.0):
            self.hosp.faults = [(f"late:{late}", RESET)]
            first = self.told(self.one, self.one.send("PATCH", f"/notes/{number}", {"body": f"A{late}"}))
            self.assertEqual(json.loads(first.body)["outcome"], "unknown")
            sent = len(self.hosp.seen("updateNote"))
            second = sibling.send("PATCH", f"/notes/{number}", {"body": f"B{late}"})
            self.clock.pump([0.5] * 6)
            self.assertEqual(len(self.hosp.seen("updateNote")), sent)
            self.assertEqual(self.told(sibling, second).status, 200)
            self.clock.pump([0.5] * 60)
            self.assertEqual(self.stored[0]["body"], f"B{late}")

    def test_a_siblings_change_whose_client_has_left_is_waited_for(self) -> None:
        """Its client does not wait any more, and HOSP has not carried it out yet."""
        self.send(self.one)
        number = self.stored[0]["id"]
        sibling = self.site.worker("m0")
        for worker in (self.one, sibling):
            worker.common.away = True
        self.hosp.hold = True
        first = self.one.send("PATCH", f"/notes/{number}", {"body": "A"})
        self.clock.pump([0.5] * 6)
        self.leave(first)
        second = sibling.send("PATCH", f"/notes/{number}", {"body": "B"})
        self.clock.pump([0.5] * 6)
        self.assertEqual(len(self.hosp.seen("updateNote")), 1)
        self.release()
        self.assertEqual(self.told(sibling, second).status, 200)
        self.assertEqual(self.stored[0]["body"], "B")

    def test_a_siblings_change_that_redis_has_not_been_told_of_yet_is_waited_for(self) -> None:
        """Redis is back for one worker first."""
        self.send(self.one)
        self.clock.advance(130)
        self.send(self.one)
        numbers = [note["id"] for note in self.stored]
        sibling = self.site.worker("m0")
        for worker in (self.one, sibling):
            worker.common.away = True
        self.hosp.faults = [("late:20", RESET)]
        self.told(self.one, self.one.send("PATCH", f"/notes/{numbers[0]}", {"body": "A"}))
        self.told(sibling, sibling.send("PATCH", f"/notes/{numbers[1]}", {"body": "x"}))
        sibling.common.back()
        second = sibling.send("PATCH", f"/notes/{numbers[0]}", {"body": "B"})
        self.assertEqual(self.told(sibling, second).status, 200)
        self.clock.pump([0.5] * 60)
        self.assertEqual(self.stored[0]["body"], "B")

    def test_who_sent_nothing_without_redis_waits_for_what_a_sibling_sent_then(self) -> None:
        """It sees Redis again, or for the first time, or Redis has lost the claims, before the sibling tells Redis."""

        def is_back(worker: Worker) -> Worker:
            worker.common.back()
            return worker

        def has_lost_claims(worker: Worker) -> Worker:
            worker.common.away = False
            self.site.store.lose()
            worker.claims.begin_epoch()
            self.clock.pump([0.5] * 24)  # after ten seconds it is trusted, though a sibling is silent
            return worker

        for redis in (is_back, lambda _: self.site.worker("m0"), has_lost_claims):
            self.setUp()
            self.send(self.one)
            number = self.stored[0]["id"]
            sibling = self.site.worker("m0")
            self.clock.advance(130)
            for worker in (self.one, sibling):
                worker.common.away = True
            self.hosp.faults = [("late:20", RESET)]
            self.told(self.one, self.one.send("PATCH", f"/notes/{number}", {"body": "A"}))
            second = redis(sibling)
            self.assertEqual(
                self.told(second, second.send("PATCH", f"/notes/{number}", {"body": "B"})).status, 200
            )
            self.clock.pump([0.5] * 60)
            self.assertEqual(self.stored[0]["body"], "B")

    def test_the_ledger_is_asked_for_a_minute_and_then_no_more(self) -> None:
        self.send(self.one)
        number = self.stored[0]["id"]
        asked: list[str] = []
        self.patch(self.one.ledger, "is_changed_elsewhere", self._noted(asked))

        def patch(after_s: float) -> int:
            self.clock.advance(after_s)
            asked.clear()
            self.told(self.one, self.one.send("PATCH", f"/notes/{number}", {"body": f"{after_s}"}))
            return len(asked)

        self.assertEqual([patch(1), patch(50), patch(20), patch(100)], [1, 1, 0, 0])
        self.one.common.back()
        self.assertEqual([patch(2), patch(51), patch(21)], [1, 1, 0])

    def _noted(self, asked: list[str]) -> Any:
        async def is_changed_elsewhere(resource: str, record: str) -> bool:
            asked.append(f"{resource} {record}")
            return False

        return is_changed_elsewhere

    def test_a_siblings_change_to_another_record_is_not_waited_for(self) -> None:
        self.send(self.one)
        self.clock.advance(130)
        self.send(self.one)
        numbers = [note["id"] for note in self.stored]
        sibling = self.site.worker("m0")
        for worker in (self.one, sibling):
            worker.common.away = True
        self.hosp.faults = [("late:20", RESET)]
        self.told(self.one, self.one.send("PATCH", f"/notes/{numbers[0]}", {"body": "A"}))
        began = self.clock.seconds()
        told = self.told(sibling, sibling.send("PATCH", f"/notes/{numbers[1]}", {"body": "B"}))
        self.assertEqual((told.status, self.clock.seconds() - began < 5), (200, True))

    def test_who_leaves_while_a_siblings_change_is_waited_for_is_not_sent(self) -> None:
        """With its retry too, which may ask another worker; that one cannot see a write that only waits."""
        for tries in (1, 2):
            self.setUp()
            self.send(self.one)
            number = self.stored[0]["id"]
            sibling = self.site.worker("m0")
            for worker in (self.one, sibling):
                worker.common.away = True
            self.hosp.faults = [("late:20", RESET)]
            self.told(self.one, self.one.send("PATCH", f"/notes/{number}", {"body": "A"}))
            for _ in range(tries):
                waiting = sibling.send("PATCH", f"/notes/{number}", {"body": "B"})
                self.clock.pump([0.5] * 4)
                self.leave(waiting)
            self.clock.pump([0.5] * 100)
            self.assertEqual(len(self.hosp.seen("updateNote")), 1, tries)
            self.assertEqual(self.stored[0]["body"], "A", tries)

    def test_a_wait_for_a_sibling_does_not_make_a_write_younger_that_is_taken_over(self) -> None:
        """A colleague's change during the wait would count as older than the write, which would then be sent again."""
        self.send(self.one)
        number = self.stored[0]["id"]
        sibling = self.site.worker("m0")
        sibling.common.away = True
        self.told(sibling, sibling.send("PATCH", f"/notes/{number}", {"body": "A"}))
        sibling.common.away = False
        others = sibling.writes._others
        claim, begun = others.claims.claim, []

        async def taken_over(entry: WriteEntry, highest: int | None) -> WriteTurn:
            return evolve(await claim(entry, highest), sent_ago_s=5.0, began_ago_s=6.0)

        async def is_changed(entry: WriteEntry) -> bool:
            return self.clock.seconds() < began + 10

        def begin(entry: WriteEntry) -> None:
            begun.append((entry.sent, entry.started))

        began = self.clock.seconds()
        self.patch(others.claims, "claim", taken_over)
        self.patch(others._keeping, "is_changed_elsewhere", is_changed)
        self.patch(sibling.writes._fate, "begin", begin)
        self.told(sibling, sibling.send("PATCH", f"/notes/{number}", {"body": "B"}))
        self.assertEqual(begun, [(began - 5, began - 6 - CLOCK_ERROR_S)])
