"""A record that is changed back and forth at several workers: a change in between ends the window of a retry."""

from __future__ import annotations

import itertools
import json
from typing import Any

from twisted.internet.defer import Deferred

from hospproxy.http.messages import Response
from tests.rig import STAFF2

from .site import Worker
from .test_again import RESET
from .test_elsewhere import SiteTestCase


class EditTestCase(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.number = self.id_of(self.send(self.one))

    def changing(self, worker: Worker, body: str, **kwargs: Any) -> Deferred[Response]:
        return worker.send("PATCH", f"/notes/{self.number}", {"body": body}, **kwargs)

    def change(self, worker: Worker, body: str, *, lost: bool = False, **kwargs: Any) -> None:
        answer = worker.get(self.changing(worker, body, **kwargs))
        self.assertEqual((answer.status, json.loads(answer.body)["body"]), (200, body))
        answer.handed_over(not lost)
        self.clock.advance(0.1)

    @property
    def bodies(self) -> list[str]:
        return [call.document["body"] for call in self.hosp.seen("updateNote")]


class OvertakenTests(EditTestCase):
    def test_what_is_changed_back_is_sent_wherever_the_others_were(self) -> None:
        for places in itertools.product((0, 1), repeat=3):
            self.setUp()
            first, second, third = ((self.one, self.two)[place] for place in places)
            self.change(first, "a", lost=True)
            self.change(second, "b", auth=STAFF2)
            self.change(third, "a")
            self.assertEqual((self.bodies, self.stored[0]["body"]), (["a", "b", "a"], "a"), places)

    def test_also_if_an_equal_change_under_a_key_came_last(self) -> None:
        for place in (0, 1):
            self.setUp()
            self.change(self.one, "a", lost=True)
            self.change(self.two, "b", auth=STAFF2)
            self.change(self.two, "a", headers=[(b"Idempotency-Key", b'"k"')])
            self.change((self.one, self.two)[place], "a")
            self.assertEqual(self.bodies, ["a", "b", "a", "a"], place)

    def test_a_retry_is_still_one(self) -> None:
        for place in (0, 1):
            self.setUp()
            self.change(self.two, "b")
            self.change(self.one, "a", lost=True)
            self.change((self.one, self.two)[place], "a")
            self.assertEqual(self.bodies, ["b", "a"])

    def test_a_change_that_was_refused_ends_nothing(self) -> None:
        self.change(self.one, "a", lost=True)
        self.hosp.faults = [("before", 422)]
        self.assertEqual(self.two.get(self.changing(self.two, "b")).status, 422)
        self.change(self.two, "a")
        self.assertEqual(self.bodies, ["a", "b"])

    def test_while_the_change_in_between_is_under_way(self) -> None:
        self.change(self.one, "a", lost=True)
        self.hosp.hold = True
        second = self.changing(self.two, "b")
        self.clock.advance(0.1)
        third = self.changing(self.one, "a")
        self.clock.advance(0.1)
        self.release()
        self.assertEqual([self.one.get(sent).status for sent in (second, third)], [200, 200])
        self.assertEqual((self.bodies, self.stored[0]["body"]), (["a", "b", "a"], "a"))

    def test_also_if_the_first_worker_is_dead(self) -> None:
        self.change(self.one, "a", lost=True)
        self.site.end(self.one)
        self.change(self.two, "b")
        self.change(self.two, "a")
        self.assertEqual((self.bodies, self.stored[0]["body"]), (["a", "b", "a"], "a"))

    def test_a_note_that_was_deleted_is_made_anew(self) -> None:
        for places in itertools.product((0, 1), repeat=3):
            self.setUp()
            first, second, third = ((self.one, self.two)[place] for place in places)
            document = {"title": "t", "body": "again", "patient_id": 7}
            made = self.send(first, document, handed_over=False)
            made.handed_over(False)  # type: ignore[misc]
            self.clock.advance(0.1)
            self.told(second, second.send("DELETE", f"/notes/{self.id_of(made)}"))
            self.assertNotEqual(self.id_of(self.send(third, document)), self.id_of(made))
            self.assertEqual([row["body"] for row in self.stored], ["b", "again"])

    def test_a_note_that_was_changed_is_not_made_twice(self) -> None:
        document = {"title": "t", "body": "again", "patient_id": 7}
        made = self.send(self.one, document, handed_over=False)
        made.handed_over(False)  # type: ignore[misc]
        self.number = self.id_of(made)
        self.change(self.two, "changed")
        self.assertEqual(self.id_of(self.send(self.two, document)), self.number)


class ChangedOutsideTests(EditTestCase):
    """A change that bypassed the proxy, and that HOSP may have shown to another worker."""

    def bypass(self, **fields: Any) -> None:
        self.stored[0].update(fields, updated_at="2030-01-01T00:00:00.000Z")

    def test_a_retry_is_sent_if_the_record_was_changed_since(self) -> None:
        for place in (0, 1):
            self.setUp()
            self.change(self.one, "a", lost=True)
            self.bypass(body="outside")
            self.change((self.one, self.two)[place], "a")
            self.assertEqual((self.bodies, self.stored[0]["body"]), (["a", "a"], "a"), place)

    def test_a_change_of_another_field_leaves_it_a_retry(self) -> None:
        for place in (0, 1):
            self.setUp()
            self.change(self.one, "a", lost=True)
            self.bypass(title="outside")
            self.change((self.one, self.two)[place], "a")
            self.assertEqual(self.bodies, ["a"], place)

    def test_under_a_key_it_is_never_sent_again(self) -> None:
        key = [(b"Idempotency-Key", b'"k"')]
        for place in (0, 1):
            self.setUp()
            self.change(self.one, "a", lost=True, headers=key)
            self.bypass(body="outside")
            self.change((self.one, self.two)[place], "a", headers=key)
            self.assertEqual(self.bodies, ["a"], place)

    def test_while_hosp_does_not_say_it_is_unknown_and_is_not_sent(self) -> None:
        for place, outside in itertools.product((0, 1), (False, True)):
            self.setUp()
            worker = (self.one, self.two)[place]
            self.change(self.one, "a", lost=True)
            if outside:
                self.bypass(body="outside")
            for _ in range(2):
                self.hosp.read_faults = [500] * 9
                answer = worker.get(self.changing(worker, "a"))
                said = json.loads(answer.body)
                self.assertEqual(
                    (answer.status, said["outcome"], self.bodies), (502, "unknown", ["a"]), place
                )
                self.assertEqual(self.outcome(worker, said["reference"])[1], "answered")
                self.clock.advance(50)
            self.hosp.read_faults = []
            self.change(worker, "a")
            self.assertEqual(self.bodies, ["a", "a"] if outside else ["a"], place)

    def test_what_was_found_is_not_recorded_as_the_outcome_of_a_retry_that_ends_otherwise(self) -> None:
        for place in (0, 1):
            self.setUp()
            worker = (self.one, self.two)[place]
            self.hosp.faults = [("after", RESET)]
            self.change(self.one, "a", lost=True)
            self.bypass(body="outside")
            for faults, outcome, hits in (([500] * 9, "unknown", ["writes:joined"]), ([], "", [])):
                self.hosp.read_faults = faults
                worker.get(self.changing(worker, "a"))
                trace = [one for one in worker.exchanges if one.request.method == "PATCH"][-1].trace
                self.assertEqual((trace.outcome, trace.rule_hits), (outcome, hits), place)
                self.clock.advance(50)

    def test_what_somebody_has_deleted_is_no_longer_changed(self) -> None:
        for place in (0, 1):
            self.setUp()
            worker = (self.one, self.two)[place]
            self.change(self.one, "a", lost=True)
            self.stored.clear()
            self.assertEqual(worker.get(self.changing(worker, "a")).status, 404)

    def test_another_retry_after_it_was_sent_anew_is_one_of_that(self) -> None:
        self.change(self.one, "a", lost=True)
        self.bypass(body="outside")
        self.change(self.two, "a", lost=True)
        self.change(self.one, "a")
        self.assertEqual(self.bodies, ["a", "a"])
