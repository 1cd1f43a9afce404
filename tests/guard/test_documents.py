"""A body becomes one document with only one possible reading."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard import documents
from hospproxy.http.errors import Refused
from hospproxy.http.messages import ABSENT
from tests.rig import CONTRACT

NEW_NOTE = CONTRACT.operation("createNote")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
)


class TypeTests(SynchronousTestCase):
    def test_json_in_every_spelling_passes(self) -> None:
        for value in (
            None,
            b"",
            b"application/json",
            b"Application/JSON; charset=utf-8",
            b'application/json;charset="UTF-8"',
            b"application/vnd.api+json",
            b"text/json",
        ):
            documents.check_type(value)

    def test_anything_else_is_415(self) -> None:
        for value in (
            b"application/x-www-form-urlencoded",
            b"multipart/form-data; boundary=x",
            b"text/plain",
            b"application/json; charset=utf-16",
            b"application/jsonx",
        ):
            with self.assertRaises(Refused, msg=repr(value)) as caught:
                documents.check_type(value)
            self.assertEqual(caught.exception.status, 415)


class ParseTests(SynchronousTestCase):
    def test_what_has_more_than_one_reading_is_refused(self) -> None:
        for body in (
            b'{"a":1,"a":2}',
            b'{"x":{"b":1,"b":1}}',
            b'{"a":1,"\\u0061":2}',
            b"{'a':1}",
            b"{}{}",
            b"",
            b"nul",
            b"[1,]",
            b"\xff",
            b"\xef\xbb\xbf{}",
            b"NaN",
            b"[Infinity]",
            b"[-Infinity]",
            b"1e999",
            b'"\\ud800"',
            b"[" * 100_000,
            b"99999999999999999999",
            b"-9223372036854775809",
            b"{} x",
        ):
            with self.assertRaises(Refused, msg=repr(body[:40])) as caught:
                documents.parse(body)
            self.assertEqual(caught.exception.status, 400)

    def test_the_doubled_key_is_named(self) -> None:
        with self.assertRaises(Refused) as caught:
            documents.parse(b'{"staff_id":1,"staff_id":2}')
        self.assertEqual(caught.exception.field, "staff_id")

    @given(JSON)
    def test_every_json_value_comes_back(self, value: object) -> None:
        self.assertEqual(documents.parse(json.dumps(value).encode()), value)

    @given(st.binary(max_size=300))
    def test_nothing_else_is_raised(self, body: bytes) -> None:
        try:
            documents.parse(body)
        except Refused as error:
            self.assertEqual(error.status, 400)


class RebuiltTests(SynchronousTestCase):
    def test_unknown_fields_go_and_digits_become_numbers(self) -> None:
        sent = {"title": "t", "patient_id": "007", "id": 4, "_method": "delete", "staff_id": 3}
        self.assertEqual(documents.rebuilt(sent, NEW_NOTE), {"title": "t", "patient_id": 7, "staff_id": 3})

    def test_an_author_is_never_turned_into_a_number(self) -> None:
        self.assertEqual(documents.rebuilt({"staff_id": "7"}, NEW_NOTE), {"staff_id": "7"})

    def test_a_body_where_none_belongs_goes_no_further(self) -> None:
        self.assertIs(documents.document_of(b"{", CONTRACT.operation("listNotes")), ABSENT)

    def test_judged_by_the_contract_with_the_field_named(self) -> None:
        for sent, field in (
            ({}, "patient_id"),
            ({"patient_id": 1.5}, "patient_id"),
            ({"patient_id": 1, "title": 3}, "title"),
            ({"patient_id": "x"}, "patient_id"),
            ([], None),
        ):
            wrong = documents.judge(sent, NEW_NOTE)
            assert wrong is not None, sent
            self.assertEqual((wrong.status, wrong.field), (422, field))
        self.assertIsNone(documents.judge({"patient_id": "12", "title": None}, NEW_NOTE))
