"""Clients that ask again: with a key, without one, after a crash. Decided once, when the second request arrives."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Exchange
from hospproxy.http.errors import FailedAfterSending, NotSent, Refused
from hospproxy.http.messages import Headers, Response
from hospproxy.outward.writes.keys import is_kept, key_in
from hospproxy.outward.writes.processor import Writes
from tests.rig import STAFF1, STAFF2, Rig

RESET = FailedAfterSending("reset")
NOTE = {"title": "t", "body": "b", "patient_id": 7}


class KeyTests(SynchronousTestCase):
    def key(self, *values: bytes) -> bytes | None:
        return key_in(Headers(tuple((b"idempotency-key", value) for value in values)))

    def test_a_string_or_a_word(self) -> None:
        self.assertIsNone(self.key())
        for value in (b'"8e03978e-40d5"', b"8e03978e-40d5"):
            self.assertEqual(self.key(value), b"8e03978e-40d5")
        self.assertEqual(self.key(b'"a \\"b\\""'), b'a "b"')
        self.assertEqual(self.key(b"x" * 255), b"x" * 255)

    def test_anything_else_is_refused(self) -> None:
        for values in (
            (b"",),
            (b'""',),
            (b"a b",),
            (b'"a',),
            (b"a,b",),
            (b"a", b"a"),
            (b"x" * 256,),
            (b'"\xff"',),
        ):
            with self.assertRaises(Refused, msg=repr(values)) as caught:
                self.key(*values)
            self.assertEqual((caught.exception.status, caught.exception.field), (400, "Idempotency-Key"))

    @given(st.binary(max_size=300))
    def test_whatever_is_sent_is_a_key_or_refused(self, value: bytes) -> None:
        try:
            key = self.key(value)
        except Refused as error:
            self.assertEqual(error.status, 400)
            return
        assert key is not None
        self.assertTrue(0 < len(key) <= 255 and all(0x20 <= byte < 0x7F for byte in key))

    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=100))
    def test_every_string_can_be_quoted(self, text: str) -> None:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        self.assertEqual(self.key(f'"{quoted}"'.encode()), text.encode())

    def test_which_answers_are_final(self) -> None:
        self.assertEqual(
            [s for s in (200, 201, 302, 400, 401, 404, 408, 422, 429, 500) if is_kept(Response(s))],
            [200, 201, 400, 404, 422],
        )


class AgainTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.hosp = self.rig.hosp
        self.rig.get(self.rig.send("GET", "/notes"))

    def sending(self, document: Any = NOTE, key: bytes | None = None, **kwargs: Any) -> Deferred[Response]:
        headers = [] if key is None else [(b"idempotency-key", key)]
        return self.rig.send("POST", "/notes", document, headers=headers, **kwargs)

    def send(self, *args: Any, handed_over: bool = True, **kwargs: Any) -> Response:
        answer: Response = self.rig.get(self.sending(*args, **kwargs))
        if handed_over and answer.handed_over is not None:
            answer.handed_over(True)
        return answer

    def stored(self) -> list[dict[str, Any]]:
        return self.hosp.records["notes"]

    def id_of(self, answer: Response) -> int:
        self.assertEqual(answer.status, 201, answer.body)
        return int(json.loads(answer.body)["id"])


class AgainTests(AgainTestCase):
    # with a key

    def test_one_key_is_one_write(self) -> None:
        first = self.send(key=b"k")
        again = self.send(key=b"k")
        self.assertEqual((again.status, again.body), (201, first.body))
        self.assertEqual(len(self.stored()), 1)
        self.assertNotEqual(self.id_of(self.send(key=b"other")), self.id_of(first))

    def test_keys_are_each_ones_own(self) -> None:
        self.send(key=b"k")
        self.assertEqual(self.send(key=b"k", auth=STAFF2).status, 201)
        self.assertEqual([row["staff_id"] for row in self.stored()], [1, 2])

    def test_keys_are_each_ones_own_with_identity_switched_off(self) -> None:
        rig = Rig(leave_out=["guard.identity", "guard.ownership"])
        for auth in (STAFF1, STAFF2):
            for _ in range(2):
                sent = rig.send("POST", "/notes", NOTE, auth=auth, headers=[(b"idempotency-key", b"k")])
                self.assertEqual(rig.get(sent).status, 201)
        self.assertEqual(len(rig.hosp.records["notes"]), 2)

    def test_another_payload_is_422(self) -> None:
        self.send(key=b"k")
        answer = self.send({**NOTE, "body": "other"}, key=b"k")
        self.assertEqual((answer.status, json.loads(answer.body)["field"]), (422, "Idempotency-Key"))

    def test_null_clears_a_field_so_it_is_another_payload(self) -> None:
        number = self.id_of(self.send())
        answers = [
            self.rig.get(
                self.rig.send("PATCH", f"/notes/{number}", changes, headers=[(b"idempotency-key", b"k")])
            )
            for changes in ({"title": "x"}, {"title": "x", "body": None}, {"title": "x"})
        ]
        self.assertEqual([answer.status for answer in answers], [200, 422, 200])
        self.assertEqual(len(self.hosp.seen("updateNote")), 1)

    def test_a_null_left_out_of_a_new_record_is_the_same_payload(self) -> None:
        first = self.send({"title": "t", "patient_id": 7, "body": None}, key=b"k")
        self.assertEqual(self.send({"title": "t", "patient_id": 7}, key=b"k").body, first.body)
        self.assertEqual(len(self.stored()), 1)

    def test_in_flight_is_409(self) -> None:
        self.hosp.hold = True
        first = self.sending(key=b"k")
        others = [self.sending(key=b"k") for _ in range(4)]
        self.assertEqual([self.rig.get(other).status for other in others], [409] * 4)
        self.assertEqual(self.rig.get(self.sending({**NOTE, "body": "x"}, key=b"k")).status, 422)
        self.hosp.held.pop().callback(None)
        self.assertEqual(self.rig.get(first).status, 201)
        self.assertEqual(len(self.stored()), 1)

    def test_a_definite_refusal_is_replayed_and_others_are_not(self) -> None:
        for status, sends in ((422, 1), (404, 1), (401, 2), (429, 2)):
            self.setUp()
            self.hosp.faults = [("before", status)]
            self.send(key=b"k")
            self.send(key=b"k")
            self.assertEqual(len(self.hosp.seen("createNote")), sends, status)

    def test_what_was_not_sent_may_be_sent_under_its_key(self) -> None:
        self.hosp.faults = [("before", NotSent("x"))] * 9
        self.assertEqual(self.send(key=b"k").status, 502)
        self.hosp.faults = []
        self.assertEqual(self.send(key=b"k").status, 201)
        self.assertEqual(len(self.stored()), 1)

    def test_a_refusal_whose_words_were_lost_is_no_unknown_outcome(self) -> None:
        self.hosp.faults = [("before", FailedAfterSending("cut", head_status=422))]
        self.assertEqual(self.send(key=b"k").status, 422)
        self.assertEqual(self.send(key=b"k").status, 201)
        self.assertEqual(len(self.stored()), 1)

    def test_while_it_is_unknown_it_is_never_sent_again(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 1000
        first = json.loads(self.send(key=b"k").body)
        again = json.loads(self.send(key=b"k").body)
        self.assertEqual((again["outcome"], again["reference"]), ("unknown", first["reference"]))
        self.hosp.read_faults = []
        self.assertEqual(self.id_of(self.send(key=b"k")), self.stored()[0]["id"])
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_a_key_outlives_the_process_and_its_day_ends(self) -> None:
        first = self.send(key=b"k")
        self.rig = self.rig.crash()
        self.assertEqual(self.send(key=b"k").body, first.body)
        self.rig.clock.advance(24 * 3600)
        self.rig.get(Deferred.fromCoroutine(self.rig.writes.tidy()))
        self.assertNotEqual(self.id_of(self.send(key=b"k")), self.id_of(first))

    def test_a_key_of_a_write_that_a_crash_cut_off(self) -> None:
        for late, sends in (("after", 1), ("before", 2)):
            self.setUp()
            self.hosp.faults = [(late, RESET)]
            self.hosp.read_faults = [500] * 5
            self.sending(key=b"k")
            self.hosp.read_faults = []
            self.rig = self.rig.crash()
            self.assertEqual(self.id_of(self.send(key=b"k")), self.stored()[0]["id"])
            self.assertEqual((len(self.stored()), len(self.hosp.seen("createNote"))), (1, sends))

    def test_a_malformed_key_is_400(self) -> None:
        self.assertEqual(self.send(key=b"a b").status, 400)
        self.assertEqual(self.stored(), [])

    # without one

    def test_after_an_answer_an_equal_write_is_another_record(self) -> None:
        self.assertNotEqual(self.id_of(self.send()), self.id_of(self.send()))

    def test_whose_client_left_before_the_answer_is_retried_not_doubled(self) -> None:
        self.hosp.hold = True
        first = self.sending()
        first.cancel()
        self.failureResultOf(first)
        second = self.sending()
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.assertEqual(self.id_of(self.rig.get(second)), self.stored()[0]["id"])
        self.assertEqual(len(self.stored()), 1)
        self.assertIn("writes:joined", self.rig.exchanges[-1].trace.rule_hits)

    def delayed(self) -> Deferred[None]:
        """The first write waits for this before it reaches the writes processor."""
        process, delay = Writes.process, Deferred[None]()
        waited: list[Exchange] = []

        async def delayed(writes: Writes, exchange: Exchange, proceed: Any) -> Response:
            if exchange.request.method == "POST" and not waited:
                waited.append(exchange)
                await delay
            return await process(writes, exchange, proceed)

        self.patch(Writes, "process", delayed)
        self.rig = Rig()
        self.hosp = self.rig.hosp
        self.rig.get(self.rig.send("GET", "/notes"))
        return delay

    def test_a_write_whose_client_left_and_asked_again_meanwhile_is_not_sent(self) -> None:
        delay = self.delayed()
        first = self.sending()
        self.rig.clock.advance(1)
        first.cancel()
        self.failureResultOf(first)
        self.rig.clock.advance(1)
        self.id_of(self.send())
        delay.callback(None)
        self.rig.clock.pump([0.5] * 20)
        self.assertEqual(len(self.stored()), 1)
        self.id_of(self.send())
        self.assertEqual(len(self.stored()), 2)

    def test_a_write_whose_client_left_after_an_equal_one_had_come_is_sent(self) -> None:
        delay = self.delayed()
        first = self.sending()
        self.rig.clock.advance(1)
        self.id_of(self.send())
        self.rig.clock.advance(1)
        first.cancel()
        self.failureResultOf(first)
        delay.callback(None)
        self.rig.clock.pump([0.5] * 20)
        self.assertEqual(len(self.stored()), 2)

    def test_a_retry_that_also_left_leaves_it_to_the_next(self) -> None:
        self.hosp.hold = True
        for _ in range(3):
            sent = self.sending()
            sent.cancel()
            self.failureResultOf(sent)
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.id_of(self.send())
        self.assertEqual(len(self.stored()), 1)
        self.id_of(self.send())
        self.assertEqual(len(self.stored()), 2)

    def test_two_retries_that_both_wait_are_two(self) -> None:
        self.hosp.hold = True
        first = self.sending()
        first.cancel()
        self.failureResultOf(first)
        waiting = [self.sending(), self.sending()]
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.assertEqual(len({self.id_of(self.rig.get(sent)) for sent in waiting}), 2)
        self.assertEqual(len(self.stored()), 2)

    def test_an_unknown_one_is_joined_and_so_is_its_retry(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 10_000
        references = {json.loads(self.send().body)["reference"] for _ in range(3)}
        self.assertEqual(len(references), 1)
        self.hosp.read_faults = []
        self.id_of(self.send())
        self.assertEqual(len(self.stored()), 1)

    def test_whose_connection_broke_while_the_answer_was_written_is_retried(self) -> None:
        first = self.send(handed_over=False)
        assert first.handed_over is not None
        first.handed_over(False)
        self.assertEqual(self.send().body, first.body)
        self.assertEqual(len(self.stored()), 1)

    def test_while_an_answer_is_being_written_an_equal_write_is_another_record(self) -> None:
        first = self.send(handed_over=False)
        self.assertNotEqual(self.id_of(self.send()), self.id_of(first))

    def test_should_both_be_carried_out_after_all_both_are_named(self) -> None:
        self.hosp.faults = [("late:27", RESET)]
        first = self.send()
        twin = self.send()
        self.rig.clock.pump([0.5] * 60)
        ids = [row["id"] for row in self.stored()]
        self.assertEqual(len(ids), 3)
        ((_, told),) = self.rig.findings
        for number in ids:
            self.assertEqual(str(number) in told, number != self.id_of(twin), told)
        self.assertIn(str(self.id_of(first)), told)

    def test_a_repeat_alone_is_nothing_to_say(self) -> None:
        self.hosp.faults = [("before", RESET)]
        self.send()
        self.send()
        self.rig.clock.pump([0.5] * 60)
        self.assertEqual((self.rig.findings, len(self.stored())), ([], 2))

    def test_a_client_that_has_gone_gets_its_first_send_and_no_second(self) -> None:
        self.hosp.hold = True
        sent = self.sending()
        self.hosp.faults = []
        sent.cancel()
        self.failureResultOf(sent)
        self.hosp.faults = [("before", 500)]
        self.hosp.hold = False
        self.hosp.held.pop().callback(None)
        self.rig.clock.pump([0.5] * 60)
        self.assertEqual(len(self.hosp.seen("createNote")), 1)

    def test_another_field_that_is_cleared_is_another_change(self) -> None:
        number = self.id_of(self.send())
        lost = self.rig.get(self.rig.send("PATCH", f"/notes/{number}", {"title": None}))
        assert lost.handed_over is not None
        lost.handed_over(False)
        self.rig.get(self.rig.send("PATCH", f"/notes/{number}", {"body": None}))
        self.assertEqual((self.stored()[0]["title"], self.stored()[0]["body"]), (None, None))

    def test_the_window_ends(self) -> None:
        self.send(handed_over=False)
        self.rig.exchanges[-1].presence.gone = True
        self.rig.clock.advance(119)
        self.id_of(self.send(handed_over=False))
        self.assertEqual(len(self.stored()), 1)
        self.rig.exchanges[-1].presence.gone = True
        self.rig.clock.advance(2)
        self.send()
        self.assertEqual(len(self.stored()), 2)

    def test_after_a_crash_the_answer_that_nobody_got_is_given_to_who_asks_again(self) -> None:
        first = self.send(handed_over=False)
        self.rig = self.rig.crash()
        self.assertEqual(self.send().body, first.body)
        self.assertEqual(len(self.stored()), 1)
        self.assertNotEqual(self.id_of(self.send()), self.id_of(first))

    def test_after_a_crash_the_try_that_was_stored_counts_not_an_older_one_that_was_not(self) -> None:
        self.hosp.faults = [("before", NotSent("away"))] * 9
        self.assertEqual(self.send().status, 502)
        self.hosp.faults = [("after", RESET)]
        self.hosp.read_faults = [500] * 3
        self.sending()
        self.rig = self.rig.crash()
        self.id_of(self.send())
        self.assertEqual(len(self.stored()), 1)

    def test_after_a_crash_a_handed_over_one_is_answered(self) -> None:
        first = self.send()
        self.rig = self.rig.crash()
        self.assertNotEqual(self.id_of(self.send()), self.id_of(first))

    def test_a_retry_that_left_before_the_first_was_found_absent_sends_nothing(self) -> None:
        self.hosp.faults = [("before", RESET)]
        self.hosp.read_faults = [500] * 3
        self.sending()
        self.rig = self.rig.crash()
        gone = self.sending()
        gone.cancel()
        self.failureResultOf(gone)
        self.id_of(self.send())
        self.rig.clock.pump([0.5] * 60)
        self.assertEqual(len(self.stored()), 1)

    # the reference

    def test_the_reference_tells_its_author_what_became_of_it(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 10_000
        reference = json.loads(self.send().body)["reference"]
        self.hosp.read_faults = []

        def outcome(**kwargs: Any) -> tuple[int, Any]:
            answer = self.rig.get(self.rig.send("GET", f"/.hospproxy/outcomes/{reference}", **kwargs))
            return answer.status, json.loads(answer.body).get("outcome")

        self.assertEqual(outcome(), (200, "unknown"))
        self.rig.clock.pump([0.5] * 60)
        self.assertEqual(outcome(), (200, "found"))
        self.assertEqual(outcome(auth=STAFF2), (404, None))
        self.assertEqual(self.rig.get(self.rig.send("GET", "/.hospproxy/outcomes/hp-0")).status, 404)
        self.assertEqual(
            self.rig.get(self.rig.send("DELETE", f"/.hospproxy/outcomes/{reference}")).status, 405
        )

    # the ledger

    def test_no_write_is_sent_that_is_not_in_the_ledger(self) -> None:
        self.rig.worker.full = True
        answer = self.send()
        self.assertEqual((answer.status, answer.headers.get(b"retry-after")), (503, b"5"))
        self.assertEqual(self.hosp.seen("createNote"), [])
        self.rig.worker.full = False
        self.assertEqual(self.send().status, 201)

    def test_an_outcome_that_cannot_be_kept_is_told_all_the_same(self) -> None:
        self.hosp.hold = True
        sent = self.sending()
        self.rig.worker.full = True
        self.hosp.held.pop().callback(None)
        self.assertEqual(self.rig.get(sent).status, 201)
        self.assertEqual(len(self.rig.entries), 0)

    def test_nothing_in_the_ledger_can_be_read_without_the_key_and_credentials_go_when_it_closes(
        self,
    ) -> None:
        self.hosp.hold = True
        sent = self.sending({**NOTE, "body": "limping"})
        for row in self.rig.disk.all("*"):
            for value in row:
                for secret in (b"limping", b"c3RhZmYx", b"staff1", b"password1"):
                    self.assertNotIn(secret, value if isinstance(value, bytes) else str(value).encode())
        self.assertIsNotNone(self.rig.disk.all("call")[0][0])
        self.hosp.held.pop().callback(None)
        self.rig.get(sent)
        self.assertEqual(self.rig.disk.all("call, state"), [(None, "answered")])

    def test_with_another_master_key_what_was_left_is_named_and_the_proxy_starts(self) -> None:
        self.hosp.faults = [("late:20", RESET)]
        self.hosp.read_faults = [500] * 10_000
        self.send()
        self.rig.writes.stop()
        self.rig.ledger._owner.leave()  # type: ignore[union-attr]
        self.hosp.read_faults = []
        other = Rig(
            disk=self.rig.disk,
            hosp=self.hosp,
            clock=self.rig.world,
            references=self.rig.references,
            key_id="ffffffff",
        )
        self.successResultOf(other.recovered)
        self.assertEqual(other.disk.all("state, call"), [("given up", None)])
        self.assertEqual(len(other.entries), 0)
        self.assertEqual(other.get(other.send("POST", "/notes", {**NOTE, "body": "x"})).status, 201)

    def test_what_a_crash_left_waits_for_nobody_else(self) -> None:
        self.hosp.hold = True
        self.sending()
        self.sending({**NOTE, "body": "2"})
        self.hosp.hold = False
        after = self.rig.crash()
        after.clock.pump([0.5] * 80)
        self.assertEqual(sorted(found for _, found in after.findings), ["absent", "absent"])
        self.assertEqual(len(after.entries), 0)
