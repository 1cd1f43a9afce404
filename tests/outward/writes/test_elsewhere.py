"""Writes that arrive at several workers and machines."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import FailedAfterSending, NotSent
from hospproxy.http.messages import Response
from hospproxy.sharing.news import EntriesInvalidated, EverythingStale
from tests.rig import STAFF2

from .site import Site, Worker

RESET = FailedAfterSending("reset")
NOTE = {"title": "t", "body": "b", "patient_id": 7}
KEY = b"k"


class SiteTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.site = Site()
        self.hosp, self.clock = self.site.hosp, self.site.clock
        self.one, self.two = self.site.worker("m0"), self.site.worker("m1")
        for worker in (self.one, self.two):
            worker.get(worker.send("GET", "/notes"))
            worker.get(worker.send("GET", "/notes", auth=STAFF2))

    def sending(
        self, worker: Worker, document: Any = NOTE, key: bytes | None = None, **kwargs: Any
    ) -> Deferred[Response]:
        headers = [] if key is None else [(b"idempotency-key", key)]
        return worker.send("POST", "/notes", document, headers=headers, **kwargs)

    def send(self, worker: Worker, *args: Any, handed_over: bool = True, **kwargs: Any) -> Response:
        return self.told(worker, self.sending(worker, *args, **kwargs), handed_over=handed_over)

    def told(self, worker: Worker, sent: Deferred[Response], *, handed_over: bool = True) -> Response:
        answer: Response = worker.get(sent)
        if answer.handed_over is not None and handed_over:
            answer.handed_over(True)
        return answer

    def leave(self, sent: Deferred[Response]) -> None:
        sent.cancel()
        self.failureResultOf(sent)

    def release(self) -> None:
        self.hosp.hold = False
        for held in self.hosp.held:
            held.callback(None)

    @property
    def stored(self) -> list[dict[str, Any]]:
        return self.hosp.records["notes"]

    def id_of(self, answer: Response) -> int:
        self.assertEqual(answer.status, 201, answer.body)
        return int(json.loads(answer.body)["id"])

    def outcome(self, worker: Worker, reference: str, **kwargs: Any) -> tuple[int, Any]:
        answer = worker.get(worker.send("GET", f"/.hospproxy/outcomes/{reference}", **kwargs))
        return answer.status, json.loads(answer.body).get("outcome")


class TurnTests(SiteTestCase):
    def test_twins_at_two_workers_are_two_one_after_the_other(self) -> None:
        self.hosp.hold = True
        sent = [self.sending(self.one), self.sending(self.two)]
        self.clock.advance(1)
        self.assertEqual(len(self.hosp.seen("createNote")), 1)
        self.release()
        ids = {self.id_of(self.told(self.one, one)) for one in sent}
        self.assertEqual((len(ids), len(self.stored)), (2, 2))

    def test_a_twin_is_not_taken_for_the_one_before_it(self) -> None:
        """The second write is not stored and its response is lost. The first one's record is not its own."""
        self.id_of(self.send(self.one))
        self.hosp.faults = [("before", RESET)]
        self.id_of(self.send(self.two))
        self.assertEqual(len(self.stored), 2)

    def test_writes_to_one_record_go_one_at_atime(self) -> None:
        self.send(self.one)
        number = self.stored[0]["id"]
        self.hosp.hold = True
        sent = [
            worker.send("PATCH", f"/notes/{number}", {"body": body})
            for worker, body in ((self.one, "x"), (self.two, "y"))
        ]
        self.clock.advance(1)
        self.assertEqual(len(self.hosp.seen("updateNote")), 1)
        self.release()
        self.assertEqual([self.told(self.one, one).status for one in sent], [200, 200])
        self.assertEqual(self.stored[0]["body"], "y")

    def test_a_turn_that_does_not_come_is503_and_nothing_is_sent(self) -> None:
        self.hosp.hold = True
        self.sending(self.one)
        answer = self.send(self.two)
        self.assertEqual((answer.status, len(self.hosp.seen("createNote"))), (503, 1))

    def test_who_leaves_while_it_waits_is_not_sent_for_it_may_ask_elsewhere(self) -> None:
        self.hosp.hold = True
        first = self.sending(self.one)
        waiting = self.sending(self.two)
        self.clock.advance(1)
        self.leave(waiting)
        self.release()
        self.told(self.one, first)
        self.clock.pump([0.1] * 30)
        self.assertEqual(len(self.stored), 1)
        self.id_of(self.send(self.one))
        self.assertEqual(len(self.stored), 2)

    def test_who_leaves_while_it_waits_holds_no_place_until_its_deadline(self) -> None:
        self.hosp.hold = True
        self.sending(self.one)
        waiting = self.sending(self.two)
        self.clock.advance(0.1)
        self.leave(waiting)
        self.clock.pump([0.1] * 3)
        self.assertEqual(len(self.two.entries), 0)

    def test_whoever_fills_it_with_keys_keeps_nobody_without_one_from_writing(self) -> None:
        self.one.claims._most = 12
        statuses = [self.send(self.one, {**NOTE, "body": str(n)}, key=b"k%d" % n).status for n in range(9)]
        self.assertEqual((statuses[0], statuses[-1]), (201, 503))
        self.assertEqual(self.send(self.one).status, 201)

    def test_what_another_worker_deleted_makes_alook_unknowable(self) -> None:
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 2
        sent = self.sending(self.one)
        number = self.stored[0]["id"]
        self.assertEqual(self.told(self.two, self.two.send("DELETE", f"/notes/{number}")).status, 200)
        answer = self.told(self.one, sent)
        self.assertEqual(json.loads(answer.body)["outcome"], "unknown")
        self.assertEqual(len(self.hosp.seen("createNote")), 1)


class RetryTests(SiteTestCase):
    def test_whose_client_left_is_retried_at_another_worker(self) -> None:
        self.hosp.hold = True
        self.leave(self.sending(self.one))
        second = self.sending(self.two)
        self.clock.advance(1)
        self.release()
        self.assertEqual(self.id_of(self.told(self.two, second)), self.stored[0]["id"])
        self.assertEqual(len(self.stored), 1)
        self.id_of(self.send(self.two))
        self.id_of(self.send(self.one))
        self.assertEqual(len(self.stored), 3)

    def test_a_connection_that_broke_at_the_answer_too(self) -> None:
        first = self.send(self.one, handed_over=False)
        assert first.handed_over is not None
        first.handed_over(False)
        self.assertEqual(self.send(self.two).body, first.body)
        self.assertEqual(len(self.stored), 1)

    def test_an_equal_write_waits_until_the_answer_before_it_is_written_and_is_another(self) -> None:
        """Until then nobody can know whether a client gets it: its worker may be dead, and this its client's retry."""
        first, second = self.send(self.one, handed_over=False), self.sending(self.two)
        self.clock.pump([0.1] * 10)
        self.assertEqual(len(self.hosp.seen("createNote")), 1)
        self.told(self.one, succeed(first))
        self.clock.pump([0.1] * 10)
        self.assertNotEqual(self.id_of(self.told(self.two, second)), self.id_of(first))

    def test_two_retries_at_two_workers_are_two(self) -> None:
        self.hosp.hold = True
        self.leave(self.sending(self.one))
        waiting = [self.sending(self.two), self.sending(self.one)]
        self.clock.advance(1)
        self.release()
        self.assertEqual(len({self.id_of(self.told(self.one, sent)) for sent in waiting}), 2)
        self.assertEqual(len(self.stored), 2)

    def test_a_retry_that_leaves_too(self) -> None:
        self.hosp.hold = True
        for worker in (self.one, self.two, self.one):
            sent = self.sending(worker)
            self.clock.advance(0.3)
            self.leave(sent)
        self.clock.advance(6)
        self.release()
        self.clock.pump([0.1] * 10)
        self.id_of(self.send(self.two))
        self.assertEqual(len(self.stored), 1)

    def test_a_retry_whose_client_had_left_before_it_was_known_to_be_one_holds_nobody_up(self) -> None:
        self.send(self.one, handed_over=False).handed_over(False)  # type: ignore[misc]
        asked: Deferred[None] = Deferred()
        first = self.two.claims.first

        async def slow(names: Any) -> Any:
            await asked
            return await first(names)

        self.patch(self.two.claims, "first", slow)
        self.leave(self.sending(self.two))
        asked.callback(None)
        self.id_of(self.send(self.one))
        self.assertEqual(len(self.stored), 1)

    def test_the_unknown_is_joined_everywhere(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 10_000
        references = {json.loads(self.send(worker).body)["reference"] for worker in (self.one, self.two)}
        self.assertEqual(len(references), 1)
        reference = references.pop()
        self.assertEqual(self.outcome(self.two, reference), (200, "unknown"))
        self.hosp.read_faults = []
        self.id_of(self.send(self.two))
        self.assertEqual(len(self.stored), 1)
        self.assertEqual(self.outcome(self.two, reference), (200, "found"))
        self.assertEqual(self.outcome(self.two, reference, auth=STAFF2), (404, None))

    def test_what_was_absent_is_sent_anew(self) -> None:
        self.hosp.faults = [("before", RESET)]
        self.hosp.hold = True
        self.leave(self.sending(self.one))
        second = self.sending(self.two)
        self.clock.advance(0.5)
        self.release()
        self.id_of(self.told(self.two, second))
        self.assertEqual(len(self.stored), 1)

    def test_the_window_ends(self) -> None:
        self.send(self.one, handed_over=False).handed_over(False)  # type: ignore[misc]
        self.clock.advance(121)
        self.id_of(self.send(self.two))
        self.assertEqual(len(self.stored), 2)

    def test_what_aretry_elsewhere_has_is_not_given_again(self) -> None:
        self.send(self.one, handed_over=False).handed_over(False)  # type: ignore[misc]
        self.id_of(self.send(self.two))
        self.id_of(self.send(self.one))
        self.assertEqual(len(self.stored), 2)


class KeyTests(SiteTestCase):
    def test_one_key_is_one_write(self) -> None:
        first = self.send(self.one, key=KEY)
        self.assertEqual(self.send(self.two, key=KEY).body, first.body)
        self.assertEqual(self.send(self.two, {**NOTE, "body": "other"}, key=KEY).status, 422)
        self.assertEqual(self.send(self.two, key=KEY, auth=STAFF2).status, 201)
        self.assertEqual(len(self.stored), 2)

    def test_in_flight_is409(self) -> None:
        self.hosp.hold = True
        first = self.sending(self.one, key=KEY)
        self.assertEqual(self.send(self.two, key=KEY).status, 409)
        self.assertEqual(self.send(self.two, {**NOTE, "body": "other"}, key=KEY).status, 422)
        self.release()
        self.id_of(self.told(self.one, first))
        self.assertEqual(len(self.stored), 1)

    def test_what_was_not_sent_may_be_sent_elsewhere(self) -> None:
        self.hosp.faults = [("before", NotSent("x"))] * 9
        self.assertEqual(self.send(self.one, key=KEY).status, 502)
        self.hosp.faults = []
        self.id_of(self.send(self.two, key=KEY))
        self.id_of(self.send(self.one, key=KEY))
        self.assertEqual(len(self.stored), 1)

    def test_the_unknown_is_said_everywhere_and_never_sent(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 10_000
        first = json.loads(self.send(self.one, key=KEY).body)
        again = json.loads(self.send(self.two, key=KEY).body)
        self.assertEqual((again["outcome"], again["reference"]), ("unknown", first["reference"]))
        self.hosp.read_faults = []
        self.assertEqual(self.id_of(self.send(self.two, key=KEY)), self.stored[0]["id"])
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_an_unseen_key_is503_without_redis_and_aknown_one_is_replayed(self) -> None:
        first = self.send(self.one, key=KEY)
        self.one.common.away = self.two.common.away = True
        self.assertEqual(self.send(self.one, key=KEY).body, first.body)
        answer = self.send(self.two, key=KEY)
        self.assertEqual((answer.status, answer.headers.get(b"retry-after")), (503, b"5"))
        self.assertEqual(len(self.stored), 1)

    def test_after_aloss_everybody_says_his_keys_again(self) -> None:
        first = self.send(self.one, key=KEY)
        self.one.common.away = True
        self.site.store.lose()
        self.assertEqual(self.send(self.two, key=b"new").status, 503)
        self.assertEqual(self.send(self.two, key=KEY).status, 503)
        self.one.common.away = False
        self.one.claims.begin_epoch()
        self.clock.pump([0.1] * 20)
        self.assertEqual(self.send(self.two, key=KEY).body, first.body)
        self.assertEqual(self.send(self.two, key=b"new").status, 201)
        self.assertEqual(len(self.stored), 2)

    def test_who_does_not_speak_is_passed_over_and_its_keys_are_never_sent_twice(self) -> None:
        self.send(self.one, key=KEY)
        self.site.end(self.one, seen=False)
        self.site.store.lose()
        self.assertEqual(self.send(self.two, key=KEY).status, 503)
        self.clock.pump([0.5] * 300)
        # It has seen the record; that does not prove that the record was there before.
        self.two.get(self.two.send("GET", "/notes"))
        answer = self.send(self.two, key=KEY)
        self.assertEqual(json.loads(answer.body)["outcome"], "unknown")
        self.assertEqual(len(self.stored), 1)
        self.id_of(self.send(self.two, {**NOTE, "body": "other"}, key=b"new"))

    def test_a_change_under_akey_that_nobody_remembers_does_not_undo_what_came_after_it(self) -> None:
        self.send(self.one)
        number = self.stored[0]["id"]

        def change(worker: Worker, body: str, *headers: tuple[bytes, bytes]) -> Response:
            return self.told(
                worker, worker.send("PATCH", f"/notes/{number}", {"body": body}, headers=headers)
            )

        self.assertEqual(change(self.one, "x", (b"idempotency-key", KEY)).status, 200)
        self.site.end(self.one, seen=False)
        self.site.store.lose()
        self.assertEqual(change(self.two, "y").status, 200)
        self.clock.pump([0.5] * 300)
        again = change(self.two, "x", (b"idempotency-key", KEY))
        self.assertEqual(json.loads(again.body).get("outcome"), "unknown")
        self.assertEqual(self.stored[0]["body"], "y")

    def test_a_siblings_open_key_is409_without_redis(self) -> None:
        sibling = self.site.worker("m0")
        sibling.get(sibling.send("GET", "/notes"))
        self.hosp.hold = True
        self.sending(self.one, key=KEY)
        self.hosp.hold = False
        sibling.common.away = True
        self.assertIn(self.send(sibling, key=KEY).status, (409, 503))
        self.assertEqual(len(self.hosp.seen("createNote")), 1)


class DeathTests(SiteTestCase):
    def test_what_adead_worker_sent_is_found_once_nobody_can_send_it_any_more(self) -> None:
        for seen, key in ((True, None), (True, KEY), (False, None), (False, KEY)):
            self.setUp()
            self.hosp.faults = [("after", RESET)]
            self.hosp.read_faults = [500] * 3
            self.sending(self.one, key=key)
            self.site.end(self.one, seen=seen)
            self.hosp.read_faults = []
            # It keeps its turn until no worker can send it any more.
            self.assertEqual(self.send(self.two, key=key).status, 503 if key else 502)
            self.assertEqual(self.id_of(self.send(self.two, key=key)), self.stored[0]["id"])
            self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_what_it_did_not_send_is_sent(self) -> None:
        self.hosp.hold = True
        self.sending(self.one)
        self.site.end(self.one)
        self.hosp.hold = False
        statuses = []
        while 201 not in statuses and len(statuses) < 5:
            statuses.append(self.send(self.two).status)
        self.assertEqual((statuses[-1], len(self.stored)), (201, 1))

    def test_a_sibling_takes_it_over_at_once(self) -> None:
        sibling = self.site.worker("m0")
        sibling.get(sibling.send("GET", "/notes"))
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 3
        self.sending(self.one)
        self.site.end(self.one)
        self.hosp.read_faults = []
        began = self.clock.seconds()
        self.assertEqual(self.id_of(self.send(sibling)), self.stored[0]["id"])
        self.assertLess(self.clock.seconds() - began, 5)
        self.assertEqual(len(self.stored), 1)

    def test_an_answer_that_adead_one_did_not_hand_over(self) -> None:
        first = self.send(self.one, handed_over=False)
        self.site.end(self.one, seen=False)
        self.assertEqual(self.send(self.two).body, first.body)
        self.assertEqual(len(self.stored), 1)

    def test_its_successor_finds_out_and_tells_the_others(self) -> None:
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 3
        self.sending(self.one, key=KEY)
        self.site.end(self.one)
        self.hosp.read_faults = []
        after = self.site.worker("m0")
        self.clock.pump([0.5] * 10)
        self.assertEqual([found for _, found in after.findings], ["found"])
        self.assertEqual(self.id_of(self.send(self.two, key=KEY)), self.stored[0]["id"])
        self.assertEqual(len(self.stored), 1)


class HearingTests(SiteTestCase):
    def test_what_others_say_of_records_is_taken_in_while_awrite_is_open(self) -> None:
        self.hosp.hold = True
        self.sending(self.one)
        for listener in self.one.common.listeners:
            listener(EntriesInvalidated((), resource="notes", record="5", taken="6"))
            listener(EverythingStale())
        self.assertEqual(self.one.sightings.touched("notes"), {5})
        self.assertEqual(self.one.sightings.claimed_by_others("notes", "ref"), {6})

    def test_what_is_nonsense_is_away_and_counted(self) -> None:
        counted = []
        self.one.meter.count = lambda name, **labels: counted.append((name, labels.get("outcome")))  # type: ignore[method-assign]

        for nonsense in ([], [1], [b"mark"], [b"mark", b"yours"], [b"mark", 5, {}], [b"mark", b"is", b"x"]):

            async def run(*_args: Any, nonsense: list[Any] = nonsense) -> list[Any]:
                return nonsense

            self.one.common.run = run  # type: ignore[method-assign, assignment]
            self.assertEqual(self.send(self.one, key=b"new").status, 503)
            self.assertEqual(self.send(self.one, {**NOTE, "body": str(nonsense)}).status, 201)
        self.assertIn(("claims_total", "nonsense"), counted)
        self.assertEqual(len(self.stored), 6)
