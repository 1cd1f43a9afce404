from __future__ import annotations

import contextlib
import json
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.params import (
    BadParameters,
    BrokenParameters,
    MalformedBody,
    fields_for,
    media_type,
    parse_body,
    parse_pairs,
)
from hosp_standin.records import RESOURCES

NOTES = RESOURCES["notes"]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class PairsTests(SynchronousTestCase):
    def test_as_rack_reads_them(self) -> None:
        for raw, params in [
            (b"", {}),
            (b"a=1&b=2", {"a": "1", "b": "2"}),
            (b"a=1&a=2", {"a": "2"}),
            (b"a", {"a": ""}),
            (b"a=%c3%BC+x", {"a": "ü x"}),
            (b"&&a=1&", {"a": "1"}),
            (b"note[title]=x&note[body]=y", {"note": {"title": "x", "body": "y"}}),
            (b"ids[]=1&ids[]=2", {"ids": ["1", "2"]}),
        ]:
            self.assertEqual(parse_pairs(raw), params, raw)

    def test_what_cannot_be_decoded(self) -> None:
        for raw in (b"a=%", b"a=%zz", b"%1=a", b"a=%ff", b"a[]=1&a[b]=2", b"a=1&a[]=2"):
            self.assertRaises(BadParameters, parse_pairs, raw)

    @given(st.dictionaries(st.text().filter(lambda name: not set(name) & set("[]")), st.text()))
    def test_every_pair_comes_back(self, pairs: dict[str, str]) -> None:
        self.assertEqual(parse_pairs(urlencode(pairs).encode()), pairs)

    @given(st.binary())
    def test_any_bytes_are_read_or_refused(self, raw: bytes) -> None:
        with contextlib.suppress(BadParameters):
            self.assertIsInstance(parse_pairs(raw), dict)


class BodyTests(SynchronousTestCase):
    def test_json_by_any_of_its_names(self) -> None:
        for content_type in (
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/json",
            "a/b+json",
            "",
        ):
            self.assertEqual(parse_body(content_type, b'{"a": 1}'), {"a": 1}, content_type)

    def test_of_doubled_keys_the_last_counts(self) -> None:
        self.assertEqual(parse_body("application/json", b'{"staff_id":1,"staff_id":7}'), {"staff_id": 7})

    def test_malformed_json(self) -> None:
        for body in (b"{", b"nope", b'{"a":NaN}', b"\xff", b"[" * 100_000, b'{"a":1}x'):
            self.assertRaises(MalformedBody, parse_body, "application/json", body)

    def test_json_that_is_no_object(self) -> None:
        self.assertEqual(parse_body("application/json", b"[1]"), {"_json": [1]})

    def test_nothing_in_it(self) -> None:
        self.assertEqual(parse_body("application/json", b""), {})
        self.assertEqual(parse_body("text/plain", b'{"a":1}'), {})
        self.assertEqual(parse_body("", b"hello"), {})

    def test_forms(self) -> None:
        form = "application/x-www-form-urlencoded"
        self.assertEqual(parse_body(form, b"note[staff_id]=7"), {"note": {"staff_id": "7"}})

    def test_multipart(self) -> None:
        body = (
            b'--b\r\nContent-Disposition: form-data; name="note[title]"\r\n\r\nhello\r\n'
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n'
        )
        self.assertEqual(
            parse_body("multipart/form-data; boundary=b", body), {"note": {"title": "hello"}, "x": "1"}
        )
        self.assertEqual(parse_body("multipart/form-data", body), {})

    @given(st.dictionaries(st.text(), JSON_VALUES))
    def test_every_object_comes_back(self, value: dict[str, object]) -> None:
        self.assertEqual(parse_body("application/json", json.dumps(value).encode()), value)

    @given(st.text())
    def test_media_type_has_no_parameters(self, text: str) -> None:
        self.assertNotIn(";", media_type(text))


class FieldsTests(SynchronousTestCase):
    def test_top_level(self) -> None:
        self.assertEqual(fields_for(NOTES, {}, {"title": "x", "colour": 1}), {"title": "x"})

    def test_the_wrapper_hides_what_is_beside_it(self) -> None:
        body = {"staff_id": 1, "note": {"staff_id": 7}}
        self.assertEqual(fields_for(NOTES, {}, body), {"staff_id": 7})

    def test_the_query_wins(self) -> None:
        query = parse_pairs(b"note[staff_id]=7")
        self.assertEqual(fields_for(NOTES, query, {"staff_id": 1}), {"staff_id": "7"})
        self.assertEqual(fields_for(NOTES, query, {"note": {"staff_id": 1}}), {"staff_id": "7"})

    def test_top_level_query_is_no_field(self) -> None:
        self.assertEqual(fields_for(NOTES, {"staff_id": "7"}, {"title": "x"}), {"title": "x"})

    def test_nothing_there(self) -> None:
        for body in ({}, {"colour": 1}, {"note": {}}, {"note": None}, {"note": ""}, {"note": []}):
            self.assertRaises(BadParameters, fields_for, NOTES, {}, body)

    def test_no_object(self) -> None:
        for value in ("x", 1, True, [1]):
            self.assertRaises(BrokenParameters, fields_for, NOTES, {}, {"note": value})
