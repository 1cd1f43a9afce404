"""A large HOSP response, read in slices, gives the same as one read at once."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.guard import large_bodies
from hospproxy.http import json_lists
from hospproxy.http.errors import BadAnswer
from hospproxy.http.messages import Client, Headers, Origin, Response
from hospproxy.outward import large_answers
from hospproxy.outward.large_answers import LargeResponses
from hospproxy.outward.response_check import ResponseCheck
from hospproxy.outward.upstream import UpstreamProcessor
from hospproxy.process.slices import SliceQueue
from tests.outward.test_response_check import CONTRACT, HOSP, HTML, JSON, NOTE, CheckCase

MANY = [{**NOTE, "id": number} for number in range(3000, 0, -1)]
FIELDS = st.sampled_from([*NOTE, "other"])
ODD = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=5)
    | st.just("http://hosp.internal:3000/notes/1.json")
)
RECORDS = st.dictionaries(FIELDS, ODD, max_size=8)


class LargeCase(CheckCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[Response] = []
        self.clock = Clock()

    def large(
        self,
        operation: str,
        body: Any,
        *fields: tuple[bytes, bytes],
        status: int = 200,
        enforce: bool = False,
    ) -> Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.last = self.exchange(operation)
        self.turns = SliceQueue(self.clock)
        large = LargeResponses(ResponseCheck(CONTRACT, HOSP, self.meter, enforce=enforce), self.turns)
        response = Response(status, Headers(fields or (JSON,)), raw, Origin.UPSTREAM)
        done = Deferred.fromCoroutine(large.checked(self.last, response, self.told.append))
        outcome: list[Any] = []
        done.addBoth(outcome.append)
        while not outcome:
            self.clock.advance(0)
        if isinstance(outcome[0], Response):
            return outcome[0]
        outcome[0].raiseException()
        raise AssertionError

    def refused(self, finding: str, *args: Any, **how: Any) -> None:
        self.assertRaises(BadAnswer, self.large, *args, **how)
        self.assertEqual((self.counted(finding), self.told), (1, []))

    def learnt(self) -> list[Any]:
        return [one for response in self.told for one in json.loads(response.body)]


class ListTests(LargeCase):
    def test_passes_as_it_is_and_is_told_in_pieces(self) -> None:
        body = json.dumps(MANY).encode()
        self.assertIs(self.large("listNotes", body).body, body)
        self.assertEqual(self.learnt(), MANY)
        self.assertTrue(all(len(one.body) < 3 * json_lists.PIECE_BYTES for one in self.told))
        self.assertGreater(self.turns.slices, len(body) // json_lists.PIECE_BYTES)

    def test_what_is_wrong_far_behind(self) -> None:
        wrong = [*MANY, {"id": "x"}]
        self.large("listNotes", wrong)
        self.assertEqual(self.last.trace.rule_hits, ["answers:schema:*.id"])
        self.told.clear()
        self.assertRaises(BadAnswer, self.large, "listNotes", wrong, enforce=True)
        self.assertEqual(self.told, [])

    def test_no_list(self) -> None:
        whole = json.dumps(MANY).encode()
        for body in (whole[:-1], whole + b"]", whole.replace(b"Moss", b"\xff") + b"x", b"[" * 100_000):
            self.setUp()
            self.refused("json", "listNotes", body)
        self.refused("shape", "getNote", MANY)

    def test_addresses_in_every_piece(self) -> None:
        there = [{**one, "url": f"http://hosp.internal:3000/notes/{one['id']}.json"} for one in MANY]
        here = [{**one, "url": f"https://proxy.test/notes/{one['id']}.json"} for one in MANY]
        self.assertEqual(json.loads(self.large("listNotes", there).body), here)
        self.assertEqual(self.learnt(), here)
        self.assertEqual(self.counted("address"), 1)

    def test_more_elements_than_may_be_learnt_from(self) -> None:
        body = b"[" + b",".join([b'{"id":1}'] * 60_000) + b"]"
        self.refused("json", "listNotes", body)

    @given(st.lists(RECORDS, max_size=40), st.booleans())
    @settings(max_examples=100, deadline=None, print_blob=True)
    def test_as_a_small_answer(self, records: list[Any], enforce: bool) -> None:
        self.patch(json_lists, "PIECE_BYTES", 64)
        self.setUp()
        small = large = None
        try:
            small = self.checked("listNotes", records, enforce=enforce)
        except BadAnswer as error:
            small = str(error)
        hits = self.last.trace.rule_hits
        try:
            large = self.large("listNotes", records, enforce=enforce)
        except BadAnswer as error:
            large = str(error)
        if isinstance(small, str) or isinstance(large, str):
            self.assertEqual(large, small)
        else:
            self.assertEqual(json.loads(large.body), json.loads(small.body))
            self.assertEqual(self.learnt(), json.loads(small.body))
        self.assertEqual(self.last.trace.rule_hits, hits)


class RecordTests(LargeCase):
    def test_passes_as_it_is_and_its_short_fields_are_told(self) -> None:
        body = json.dumps({**NOTE, "body": "é" * 40_000}).encode()
        self.assertIs(self.large("getNote", body).body, body)
        (told,) = self.told
        self.assertEqual(json.loads(told.body), {name: one for name, one in NOTE.items() if name != "body"})
        self.assertEqual(self.last.trace.rule_hits, [])

    def test_an_address_in_it(self) -> None:
        body = {**NOTE, "body": "é\n" * 40_000, "url": "http://hosp.internal:3000/notes/1.json"}
        answer = self.large("getNote", body)
        self.assertEqual(json.loads(answer.body), {**body, "url": "https://proxy.test/notes/1.json"})

    def test_one_with_too_many_values_is_passed_on_unread(self) -> None:
        self.patch(large_bodies, "parse", self.fail)
        body = json.dumps({"overall": "fine", "results": [[1]] * (large_answers.MOST_VALUES + 1)}).encode()
        self.assertIs(self.large("screenPatient", body).body, body)
        self.assertEqual(self.last.trace.rule_hits, ["answers:unread"])
        self.assertRaises(BadAnswer, self.large, "screenPatient", body, enforce=True)
        for wrong in (body[:-1], body + b"}"):
            self.assertRaises(BadAnswer, self.large, "screenPatient", wrong)

    def test_what_is_wrong_with_it(self) -> None:
        wrong = {**NOTE, "id": "x", "body": "a" * 70_000}
        self.large("getNote", wrong)
        self.assertEqual(self.last.trace.rule_hits, ["answers:schema:id"])
        self.assertRaises(BadAnswer, self.large, "getNote", wrong, enforce=True)
        self.assertRaises(BadAnswer, self.large, "getNote", b'"' + b"a" * 70_000 + b'"')
        self.assertRaises(BadAnswer, self.large, "getNote", b'{"a":"' + b"a" * 70_000 + b'\xff"}')

    def test_another_type_and_errors_are_not_looked_into(self) -> None:
        self.assertRaises(BadAnswer, self.large, "getNote", b"<" * 70_000, HTML)
        self.assertEqual(self.large("getNote", b"[" * 70_000, status=500).status, 500)
        self.assertEqual([one.body for one in self.told], [b""])


class ProcessorTests(LargeCase):
    def test_only_a_large_answer_takes_this_way(self) -> None:
        for records, slices in ((MANY[:3], False), (MANY, True)):
            answer = Response(200, Headers((JSON,)), json.dumps(records).encode(), Origin.UPSTREAM)

            class Upstream:
                async def send(inner, *_given: Any, **_more: Any) -> Response:
                    return answer  # noqa: B023

            seen: list[Any] = []

            def observe(_call: Call, response: Response, *_more: Any) -> None:
                seen.extend(json.loads(response.body))  # noqa: B023

            check, turns = ResponseCheck(CONTRACT, HOSP, self.meter), SliceQueue(self.clock)
            processor = UpstreamProcessor(
                Upstream(), self.clock, (observe,), check=check.read, large=LargeResponses(check, turns)  # type: ignore[arg-type]
            )  # fmt: skip
            exchange: Exchange = self.exchange("listNotes", client=Client(host="proxy.test"))
            done = Deferred.fromCoroutine(processor.process(evolve(exchange), self.fail))  # type: ignore[arg-type]
            for _ in range(200):
                self.clock.advance(0)
            self.assertEqual(self.successResultOf(done).body, answer.body)
            self.assertEqual((seen, turns.slices > 0), (records, slices))
