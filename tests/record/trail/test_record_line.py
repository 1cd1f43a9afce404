from __future__ import annotations

import unicodedata

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.trail.record_line import LineTemplate, encode_record

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
"""Lone surrogates, controls and separators included."""


class OneSafeLine(SynchronousTestCase):
    @given(st.dictionaries(ANY_TEXT, st.one_of(ANY_TEXT, st.lists(ANY_TEXT, max_size=3)), max_size=4))
    def test_anything_is_one_printable_line_of_json(self, record: dict[str, object]) -> None:
        line = encode_record(record)
        text = line.decode("utf-8")
        self.assertEqual(text.splitlines(), [text])
        self.assertEqual([c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")], [])
        self.assertIsInstance(msgspec.json.decode(line), dict)

    @given(st.text(max_size=50))
    def test_text_comes_back_as_it_was(self, text: str) -> None:
        self.assertEqual(msgspec.json.decode(encode_record({"a": [text]})), {"a": [text]})

    def test_what_steers_a_terminal_is_spelled_out(self) -> None:
        line = encode_record({"a": "\x1b[2J\x7f\x9b\u2028\u202e\u200b\n"})
        self.assertEqual(line, rb'{"a":"\u001b[2J\u007f\u009b\u2028\u202e\u200b\n"}')

    def test_del_is_ascii_and_spelled_out_too(self) -> None:
        self.assertEqual(encode_record({"a": "\x7f"}), rb'{"a":"\u007f"}')

    def test_invalid_utf8_is_told_from_what_it_might_be_taken_for(self) -> None:
        self.assertEqual(encode_record({"a": {"b": ("\udcff",)}}), rb'{"a":{"b":["\\udcff"]}}')

    def test_what_json_cannot_hold_is_refused(self) -> None:
        self.assertRaises(TypeError, encode_record, {"a": object()})


class TemplateTests(SynchronousTestCase):
    @given(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=4), ANY_TEXT)
    def test_a_filled_line_is_the_encoded_record(self, more: dict[str, str], request_id: str) -> None:
        for given_id in (request_id, "0123456789abcdef", "a.b_c~d:e-f"):
            record = {"v": 1, **more, "time": "before", "request_id": "x", "who": {"request_id": "y"}}
            template = LineTemplate.of(record)
            assert template is not None
            now = {**record, "time": "2026-11-28T22:00:00.123Z", "request_id": given_id}
            self.assertEqual(template.filled("2026-11-28T22:00:00.123Z", given_id), encode_record(now))

    def test_a_text_that_looks_like_a_gap_prevents_it(self) -> None:
        for gap in ("time:5b1d0c6e9f4a42", "request-id:5b1d0c6e9f4a42"):
            self.assertIsNone(LineTemplate.of({"time": "", "request_id": "", "who": {"name": gap}}))
            inside = LineTemplate.of({"time": "", "request_id": "", "who": {"name": f"x{gap}"}})
            assert inside is not None
            self.assertIn(b"x" + gap.encode(), inside.filled("now", "id"))
