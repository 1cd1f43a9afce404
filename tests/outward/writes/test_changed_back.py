"""A record that is changed, changed again and changed back: the change in between ends the window of a retry."""

from __future__ import annotations

import json
from typing import Any

from hospproxy.http.messages import Response
from tests.outward.ledger.fakes import AtOnce
from tests.rig import STAFF1, STAFF2, stamp

from . import test_again
from .test_again import RESET


class ChangedBackTests(test_again.AgainTestCase):
    def change(self, number: int, body: str, *, lost: bool = False, **kwargs: Any) -> Response:
        answer: Response = self.rig.get(self.rig.send("PATCH", f"/notes/{number}", {"body": body}, **kwargs))
        if answer.handed_over is not None:
            answer.handed_over(not lost)
        return answer

    def bodies(self) -> list[str]:
        return [call.document["body"] for call in self.hosp.seen("updateNote")]

    def test_what_was_changed_and_is_changed_back_is_sent(self) -> None:
        number = self.id_of(self.send())
        for auth in (STAFF1, STAFF2):
            self.change(number, "a", lost=True)
            self.change(number, "b", auth=auth)
            self.assertEqual(json.loads(self.change(number, "a").body)["body"], "a")
            self.assertEqual(self.stored()[0]["body"], "a")
        self.assertEqual(self.bodies(), ["a", "b", "a"] * 2)

    def test_also_after_a_crash(self) -> None:
        number = self.id_of(self.send())
        self.change(number, "a", lost=True)
        self.change(number, "b")
        self.rig = self.rig.crash()
        self.change(number, "a", lost=True)
        self.assertEqual(self.bodies(), ["a", "b", "a"])
        self.rig = self.rig.crash()
        self.change(number, "b", lost=True)
        self.change(number, "a")
        self.assertEqual(self.stored()[0]["body"], "a")

    def test_also_while_the_change_in_between_waits_for_its_turn(self) -> None:
        number = self.id_of(self.send())
        self.hosp.hold = True
        sent = [self.rig.send("PATCH", f"/notes/{number}", {"body": body}) for body in ("a", "b")]
        for one in sent:
            one.cancel()
            self.failureResultOf(one)
        again = self.rig.send("PATCH", f"/notes/{number}", {"body": "a"})
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.assertEqual(self.rig.get(again).status, 200)
        self.assertEqual((self.bodies(), self.stored()[0]["body"]), (["a", "b", "a"], "a"))

    def test_a_change_that_was_refused_changed_nothing(self) -> None:
        number = self.id_of(self.send())
        self.change(number, "a", lost=True)
        self.hosp.faults = [("before", 422)]
        self.change(number, "b")
        self.change(number, "a")
        self.assertEqual(self.bodies(), ["a", "b"])

    def test_a_change_that_is_never_to_be_known_may_have_changed_it(self) -> None:
        number = self.id_of(self.send())
        self.change(number, "a", lost=True)
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 10_000
        self.assertEqual(json.loads(self.change(number, "b").body)["outcome"], "unknown")
        self.rig.clock.pump([1.0] * 90)
        self.assertEqual(self.stored()[0]["body"], "b")
        again = self.rig.send("PATCH", f"/notes/{number}", {"body": "a"})
        self.hosp.read_faults = []
        self.assertEqual((self.rig.get(again).status, self.stored()[0]["body"]), (200, "a"))

    def test_a_change_that_came_by_another_way_and_was_seen(self) -> None:
        number = self.id_of(self.send())
        self.change(number, "a", lost=True)
        self.stored()[0].update(body="theirs", updated_at=stamp(self.rig.clock.seconds() + 1))
        self.change(number, "a", lost=True)
        self.assertEqual(self.bodies(), ["a"])
        self.rig.get(self.rig.send("GET", "/notes", auth=STAFF2))
        self.change(number, "a")
        self.assertEqual(self.bodies(), ["a", "a"])

    def test_a_change_that_came_by_another_way_and_was_seen_before_a_crash(self) -> None:
        number = self.id_of(self.send())
        self.change(number, "a", lost=True)
        self.stored()[0].update(body="theirs", updated_at=stamp(self.rig.clock.seconds() + 1))
        self.rig.get(self.rig.send("GET", "/notes", auth=STAFF2))
        self.rig = self.rig.crash()
        self.change(number, "a")
        self.assertEqual(self.bodies(), ["a", "a"])

    def changed_outside(self) -> int:
        number = self.id_of(self.send())
        self.change(number, "a", lost=True)
        self.stored()[0].update(body="theirs", updated_at=stamp(self.rig.clock.seconds() + 1))
        return number

    def test_nobody_sees_such_a_change_before_it_is_noted_on_disk(self) -> None:
        number = self.changed_outside()
        self.rig.worker.dead = True  # what the disk is asked for is never done
        shown = [self.rig.send("GET", target, auth=STAFF2) for target in ("/notes", f"/notes/{number}")]
        self.rig.clock.pump([0.1] * 5)
        for response in shown:
            self.assertNoResult(response)
        self.rig = self.rig.crash()
        self.change(number, "a")
        self.assertEqual(self.bodies(), ["a"])

    def test_such_a_change_is_noted_once_the_disk_works_again(self) -> None:
        number = self.changed_outside()
        self.rig.worker.full = True
        self.assertEqual(self.rig.get(self.rig.send("GET", "/notes", auth=STAFF2)).status, 200)
        self.rig.worker.full = False
        self.send()
        self.rig = self.rig.crash(worker=AtOnce())
        self.change(number, "a")
        self.assertEqual(self.bodies(), ["a", "a"])

    def test_with_a_key_the_first_response_stays(self) -> None:
        number = self.id_of(self.send())
        key = [(b"Idempotency-Key", b'"k"')]
        self.change(number, "a", headers=key, lost=True)
        self.stored()[0].update(body="theirs", updated_at=stamp(self.rig.clock.seconds() + 1))
        self.rig.get(self.rig.send("GET", "/notes", auth=STAFF2))
        self.change(number, "a", headers=key)
        self.assertEqual(self.bodies(), ["a"])

    def test_who_sees_what_he_wrote_is_still_answered(self) -> None:
        number = self.id_of(self.send())
        self.change(number, "a", lost=True)
        for target in ("/notes", f"/notes/{number}"):
            self.rig.get(self.rig.send("GET", target))
        self.change(number, "a")
        self.assertEqual(self.bodies(), ["a"])

    def test_a_note_that_was_deleted_is_made_anew(self) -> None:
        number = self.id_of(self.send(handed_over=False))
        self.rig.exchanges[-1].presence.gone = True
        self.change(number, "changed")
        self.assertEqual(self.id_of(self.send(handed_over=False)), number)
        self.rig.exchanges[-1].presence.gone = True
        self.rig.get(self.rig.send("DELETE", f"/notes/{number}"))
        self.assertNotEqual(self.id_of(self.send()), number)
        self.assertEqual(len(self.stored()), 1)
