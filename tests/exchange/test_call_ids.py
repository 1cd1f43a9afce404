from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.call_ids import field_of_answer, patient_of
from hospproxy.exchange.exchange import Call

from ..record.exchanges import CREATE_NOTE, LIST_NOTES, READ_NOTE, SCREEN, answer


class WhoseRecord(SynchronousTestCase):
    def test_path(self) -> None:
        self.assertEqual(patient_of(Call(SCREEN, ("7",)), None), "7")

    def test_query(self) -> None:
        self.assertEqual(patient_of(Call(LIST_NOTES, query=(("patient_id", "7"),)), None), "7")
        self.assertIsNone(patient_of(Call(LIST_NOTES, query=(("patient_id", ""),)), None))
        self.assertIsNone(patient_of(Call(LIST_NOTES), None))

    def test_document(self) -> None:
        self.assertEqual(patient_of(Call(CREATE_NOTE, document={"patient_id": 7}), None), "7")
        for document in ({}, [], {"patient_id": True}, {"patient_id": [7]}, {"patient_id": None}, "x"):
            self.assertIsNone(patient_of(Call(CREATE_NOTE, document=document), None), document)
        self.assertIsNone(patient_of(Call(CREATE_NOTE), None))

    def test_answer(self) -> None:
        call = Call(READ_NOTE, ("3",))
        self.assertEqual(patient_of(call, answer(b'{"id":3,"body":"x","patient_id":7}')), "7")
        self.assertIsNone(patient_of(call, answer(b'{"id":3,"patient_id":7}', status=404)))
        self.assertIsNone(patient_of(call, ValueError()))
        self.assertIsNone(patient_of(call, None))

    def test_nowhere(self) -> None:
        self.assertIsNone(patient_of(None, answer(b'{"patient_id":7}')))

    def test_an_id_may_be_text(self) -> None:
        self.assertEqual(field_of_answer(answer(b'{"id":"7f"}'), "id"), "7f")

    def test_an_answer_that_is_no_object_has_none(self) -> None:
        for body in (
            b"",
            b"[]",
            b"<html>",
            b"{",
            b'{"id":',
            b'{"id":true}',
            b'{"id":{}}',
            b'{"id":1.5}',
            b'{"\xff',
            b'{"id":"\xff"}',
        ):
            self.assertIsNone(field_of_answer(answer(body), "id"), body)

    def test_nesting_without_end_is_survived(self) -> None:
        deep = b'{"a":' + b"[" * 100_000
        self.assertIsNone(field_of_answer(answer(deep), "id"))

    @given(st.binary(max_size=40))
    def test_any_bytes_are_survived(self, body: bytes) -> None:
        found = field_of_answer(answer(b"{" + body), "id")
        self.assertTrue(found is None or isinstance(found, str))
