"""Conditions of writes: judged in the write's turn, never dropped."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.contract.contract import Resource
from hospproxy.exchange.exchange import Exchange
from hospproxy.http.errors import FailedAfterSending, NotSent, OverCapacity, Refused
from hospproxy.http.messages import Headers, Origin, Request, Response
from hospproxy.interfaces import IProcessor
from hospproxy.outward.conditions import (
    ConditionCheck,
    Conditions,
    Representation,
    conditions_of,
    failing,
    representation,
)
from tests.rig import CONTRACT, STAFF1, STAFF2, Rig, http_date
from tests.stages import identified

RESET = FailedAfterSending("reset")
NOW = Representation(b'"a"', 1000.5)


def fields(**given_fields: str) -> Headers:
    return Headers(
        tuple((name.replace("_", "-").encode(), value.encode()) for name, value in given_fields.items())
    )


def judged(there: Representation | None = NOW, **given_fields: str) -> str | None:
    conditions = conditions_of(fields(**given_fields))
    assert conditions is not None
    return failing(conditions, there)


class RuleTests(SynchronousTestCase):
    def test_if_match_is_strong(self) -> None:
        for value, holds in (
            ('"a"', True),
            ('"b", "a"', True),
            ("*", True),
            ('"b"', False),
            ('W/"a"', False),
            ('"A"', False),
        ):
            self.assertEqual(judged(if_match=value), None if holds else "If-Match", value)
        self.assertEqual(judged(Representation(b'W/"a"'), if_match='W/"a"'), "If-Match")
        self.assertEqual(judged(Representation(b'W/"a"'), if_match='"a"'), "If-Match")
        self.assertEqual(judged(Representation(None), if_match='"a"'), "If-Match")
        self.assertEqual(judged(None, if_match="*"), "If-Match")

    def test_if_none_match_is_weak(self) -> None:
        for value, holds in (('"a"', False), ('W/"a"', False), ("*", False), ('"b"', True)):
            self.assertEqual(judged(if_none_match=value), None if holds else "If-None-Match", value)
        self.assertIsNone(judged(None, if_none_match="*"))

    def test_if_unmodified_since_is_exact(self) -> None:
        for second, holds in ((1001, True), (1000, False), (999, False)):
            date = Headers(((b"If-Unmodified-Since", _date(second)),))
            conditions = conditions_of(date)
            assert conditions is not None
            self.assertEqual(failing(conditions, NOW), None if holds else "If-Unmodified-Since", second)
            self.assertEqual(failing(conditions, None), "If-Unmodified-Since")
            self.assertEqual(
                self.assertRaises(Refused, failing, conditions, Representation(b'"a"')).status, 400
            )

    def test_the_order_is_the_rfcs(self) -> None:
        old = _date(1).decode()
        self.assertIsNone(judged(if_match='"a"', if_unmodified_since=old))
        self.assertEqual(judged(if_match='"b"', if_none_match='"a"'), "If-Match")
        self.assertEqual(judged(if_match='"a"', if_none_match='"a"'), "If-None-Match")

    def test_what_is_malformed_is_refused(self) -> None:
        for name, value in (
            ("if_match", "a"),
            ("if_match", ""),
            ("if_match", '"a" "b"'),
            ("if_match", '*, "a"'),
            ("if_none_match", 'W/"a'),
            ("if_unmodified_since", "yesterday"),
            ("if_unmodified_since", ""),
        ):
            error = self.assertRaises(Refused, conditions_of, fields(**{name: value}))
            self.assertEqual((error.status, error.field), (400, name.replace("_", "-").title()))

    def test_without_conditions_there_are_none(self) -> None:
        self.assertIsNone(conditions_of(fields(if_modified_since="yesterday", range="bytes=0-1")))

    @given(st.binary(max_size=30))
    def test_any_value_is_acondition_or_refused(self, value: bytes) -> None:
        for name in (b"if-match", b"if-none-match", b"if-unmodified-since"):
            try:
                found = conditions_of(Headers(((name, value),)))
            except Refused:
                continue
            self.assertIsInstance(found, Conditions)

    def test_when_arecord_was_changed(self) -> None:
        notes = Resource("notes", updated_at="updated_at")
        for body, modified in (
            (b'{"updated_at":"1970-01-01T00:16:40.500Z"}', 1000.5),
            (b'{"updated_at":7}', None),
            (b"{}", None),
            (b"[]", None),
            (b"<p>", None),
        ):
            self.assertEqual(representation(Response(200, Headers(), body), notes).modified, modified, body)
        dated = Response(200, Headers(((b"Last-Modified", _date(7)),)), b"{}")
        self.assertEqual(representation(dated, notes).modified, 7.0)


def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


class WriteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.number = self.send("POST", "/notes", {"title": "a", "patient_id": 7})["id"]
        self.path = f"/notes/{self.number}"

    def answer(
        self, method: str, path: str, document: Any = None, *more: tuple[bytes, bytes], **how: Any
    ) -> Response:
        given_document = {} if document is None else {"document": document}
        response: Response = self.rig.get(self.rig.send(method, path, headers=more, **given_document, **how))
        return response

    def send(self, method: str, path: str, document: Any = None, *more: tuple[bytes, bytes]) -> Any:
        return json.loads(self.answer(method, path, document, *more).body)

    def tag(self) -> bytes:
        return self.answer("GET", self.path).headers.get(b"etag") or b""

    def title(self) -> str:
        return str(self.send("GET", self.path)["title"])

    def refused(self, status: int, field: str | None, response: Response) -> None:
        said = json.loads(response.body)
        self.assertEqual((response.status, said.get("field")), (status, field), said)

    def test_it_is_aprocessor(self) -> None:
        self.assertTrue(verifyObject(IProcessor, ConditionCheck(CONTRACT, self.rig.ask)))

    def test_a_change_of_what_was_read_passes(self) -> None:
        self.assertEqual(
            self.answer("PATCH", self.path, {"title": "b"}, (b"if-match", self.tag())).status, 200
        )
        self.assertEqual(self.title(), "b")

    def test_the_tag_of_awrites_answer_will_do_for_the_next(self) -> None:
        first = self.answer("PATCH", self.path, {"title": "b"})
        tag = first.headers.get(b"etag") or b""
        self.assertEqual(self.answer("PATCH", self.path, {"title": "c"}, (b"if-match", tag)).status, 200)

    def test_a_change_of_what_has_changed_since_is_not_sent(self) -> None:
        tag = self.tag()
        self.rig.clock.advance(1)
        self.answer("PATCH", self.path, {"title": "b"}, auth=STAFF2)
        for method, document in (("PATCH", {"title": "c"}), ("DELETE", None)):
            self.refused(412, "If-Match", self.answer(method, self.path, document, (b"if-match", tag)))
        self.assertEqual(self.title(), "b")
        self.assertEqual(len(self.rig.hosp.seen("updateNote")), 1)
        self.assertEqual(self.rig.hosp.seen("deleteNote"), [])

    def test_a_weak_tag_never_matches(self) -> None:
        response = self.answer("PATCH", self.path, {"title": "b"}, (b"if-match", b"W/" + self.tag()))
        self.refused(412, "If-Match", response)

    def test_of_two_at_once_one_passes(self) -> None:
        """The second write's look comes after the first write, even if the second was quicker."""
        more = [(b"if-match", self.tag())]
        self.rig.clock.advance(1)
        one = self.rig.send("PATCH", self.path, {"title": "one"}, headers=more)
        other = self.rig.send("PATCH", self.path, {"title": "other"}, headers=more, auth=STAFF2)
        self.assertEqual([self.rig.get(one).status, self.rig.get(other).status], [200, 412])
        self.assertEqual(self.title(), "one")

    def test_what_changed_between_two_sends_counts(self) -> None:
        """HOSP fails before it stores the first attempt; before the second, the record changes without the proxy."""
        more = [(b"if-match", self.tag())]
        self.rig.clock.advance(30)
        self.rig.hosp.faults.append(("before", 500))
        changed = self.rig.hosp.records["notes"][0]
        looks: list[None] = []
        answer = self.rig.hosp.answer

        def meddling(call: Any) -> Response:
            response = answer(call)
            if call.operation.id == "getNote":
                looks.append(None)
                if len(looks) == 2:  # the look for the lost write has just found that it is absent
                    changed["title"] = "theirs"
            return response

        self.patch(self.rig.hosp, "answer", meddling)
        response = self.rig.get(self.rig.send("PATCH", self.path, {"title": "mine"}, headers=more))
        self.refused(412, "If-Match", response)
        self.assertEqual(changed["title"], "theirs")

    def test_where_there_is_nothing_it_is404(self) -> None:
        for more in ((b"if-match", b"*"), (b"if-match", b'"a"'), (b"if-unmodified-since", http_date(0))):
            self.refused(404, None, self.answer("PATCH", "/notes/9999", {"title": "b"}, more))
        self.assertEqual(self.rig.hosp.seen("updateNote"), [])

    def test_make_it_only_if_it_is_not_there(self) -> None:
        self.refused(
            412, "If-None-Match", self.answer("PATCH", self.path, {"title": "b"}, (b"if-none-match", b"*"))
        )
        self.refused(
            412, "If-None-Match", self.answer("POST", "/notes", {"patient_id": 7}, (b"if-none-match", b"*"))
        )
        self.assertEqual(len(self.rig.hosp.records["notes"]), 1)

    def test_the_list_that_anew_record_goes_to(self) -> None:
        tag = self.answer("GET", "/notes").headers.get(b"etag") or b""
        new = {"patient_id": 7, "title": "n"}
        self.assertEqual(self.answer("POST", "/notes", new, (b"if-match", tag)).status, 201)
        self.refused(
            412, "If-Match", self.answer("POST", "/notes", {**new, "title": "m"}, (b"if-match", tag))
        )

    def test_since_when(self) -> None:
        self.rig.clock.advance(10)
        self.answer("PATCH", self.path, {"title": "b"})
        changed = int(self.rig.clock.seconds())
        self.rig.clock.advance(10)
        for second, status in ((changed - 1, 412), (changed + 1, 200)):
            more = (b"if-unmodified-since", http_date(second))
            self.assertEqual(self.answer("PATCH", self.path, {"title": "c"}, more).status, status)
        response = self.answer("POST", "/notes", {"patient_id": 7}, (b"if-unmodified-since", http_date(5)))
        self.refused(400, "If-Unmodified-Since", response)

    def test_what_cannot_be_judged_is_not_sent(self) -> None:
        for method, path, document in (
            ("PATCH", self.path, {"title": "b"}),
            ("DELETE", self.path, None),
            ("POST", "/patients/7/screen", {"images": ["x"]}),
        ):
            self.refused(400, "If-Match", self.answer(method, path, document, (b"if-match", b"abc")))
        screening = self.answer("POST", "/patients/7/screen", {"images": ["x"]}, (b"if-match", b"*"))
        self.refused(400, "If-Match", screening)
        for name in ("updateNote", "deleteNote", "screenPatient"):
            self.assertEqual(self.rig.hosp.seen(name), [], name)

    def test_a_look_that_fails_is_no_failure_of_the_write(self) -> None:
        """If a reset of the look counted as a reset of the write, the outcome would be "unknown"."""
        tag = self.tag()
        for fault in (RESET, NotSent("refused"), 503):
            self.rig.hosp.read_faults[:] = [fault] * 9
            response = self.answer("PATCH", self.path, {"title": "b"}, (b"if-match", tag))
            self.assertEqual(response.status, 503, fault)
            self.assertNotIn("outcome", json.loads(response.body))
            self.assertIsNotNone(response.headers.get(b"retry-after"))
            self.rig.hosp.read_faults.clear()
        self.assertEqual(self.rig.hosp.seen("updateNote"), [])
        self.assertEqual(len(self.rig.entries), 0)

    def test_under_akey_what_was_refused_may_be_tried_again(self) -> None:
        key = (b"idempotency-key", b"k1")
        refused = self.answer("PATCH", self.path, {"title": "b"}, (b"if-match", b'"x"'), key)
        again = self.answer("PATCH", self.path, {"title": "b"}, (b"if-match", self.tag()), key)
        self.assertEqual((refused.status, again.status), (412, 200))
        # A retry gets the first response again, though the record has changed since.
        replayed = self.answer("PATCH", self.path, {"title": "b"}, (b"if-match", b'"x"'), key)
        self.assertEqual((replayed.status, replayed.body), (200, again.body))

    def test_the_proxys_own_writes_have_none(self) -> None:
        """A screening's note is sent on behalf of a request that may have had conditions."""
        request = Request("POST", headers=fields(if_match="broken"))
        call = self.rig.exchanges[0].trace.call
        assert call is not None
        own = identified(call, request, own="screening note")
        check = ConditionCheck(CONTRACT, self.rig.ask)

        async def stored(_exchange: Exchange) -> Response:
            return Response(201, origin=Origin.UPSTREAM)

        answer = self.successResultOf(Deferred.fromCoroutine(check.process(own, stored)))
        self.assertEqual(answer.status, 201)

    def test_with_the_ledger_switched_off_they_hold_as_well(self) -> None:
        self.rig = Rig(leave_out=["outward.writes"], hosp=self.rig.hosp, clock=self.rig.world)
        self.refused(412, "If-Match", self.answer("DELETE", self.path, None, (b"if-match", b'"x"')))

    def test_no_place_at_hosp_is_said_as_it_is(self) -> None:
        self.rig.hosp.read_faults[:] = [OverCapacity("full", retry_after_s=9)]
        response = self.answer("PATCH", self.path, {"title": "b"}, (b"if-match", b"*"), auth=STAFF1)
        self.assertEqual((response.status, response.headers.get(b"retry-after")), (503, b"9"))
