"""A large body becomes the same document as by any other parser, with bounded values and texts."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard import documents, large_bodies
from hospproxy.http.errors import Refused
from hospproxy.http.long_text import LongText

TOKEN = "t-0123456789-"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.builds(
    lambda text, times: text * times,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.integers(20, 3000),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
KEYS = TEXTS.filter(lambda one: len(one) < 20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
ROUNDS = settings(max_examples=300, deadline=None, print_blob=True)


def read(body: bytes) -> Any:
    """Read a body; return the document and the number of slices."""
    work = large_bodies.document(body, TOKEN)
    slices = 1
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value, slices
        slices += 1


def plain(value: Any) -> Any:
    if isinstance(value, LongText):
        assert len(value) == len(value.text()) and bytes(value.raw) == msgspec.json.encode(value.text())
        return value.text()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def is_refused(body: bytes, reading: Any) -> bool:
    try:
        reading(body)
    except Refused as error:
        return error.status == 400
    return False


class SameTests(SynchronousTestCase):
    @given(VALUES, st.booleans(), st.sampled_from([None, 2]))
    @ROUNDS
    def test_as_any_other_body(self, value: Any, ascii_only: bool, indent: int | None) -> None:
        body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
        self.assertEqual(plain(read(body)[0]), documents.parse(body))

    @given(VALUES, st.data())
    @ROUNDS
    def test_what_is_refused_is_refused(self, value: Any, data: st.DataObject) -> None:
        body = bytearray(json.dumps([value, "x" * 300], ensure_ascii=data.draw(st.booleans())).encode())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(body) - 1))
            body[at : at + 1] = data.draw(
                st.sampled_from([b"", b'"', b"\\", b"\xff", b"\x00", b"\\ud800", b",", b"\x80"])
            )
        given_ = bytes(body)
        self.assertEqual(
            is_refused(given_, lambda one: read(one)), is_refused(given_, documents.parse), given_
        )

    def test_texts_in_every_spelling(self) -> None:
        for inside in (
            b"a" * 40_000, "é😀".encode() * 30_000, b"\\ud83d\\ude00" * 20_000, b"\\\"\\\\\\/" * 20_000,
            b"x" + b"\\u00e9\\n" * 30_000, b"\\\\" * 50_000, "x😀".encode() * 40_000,
        ):  # fmt: skip
            body = b'{"images":["' + inside + b'"]}'
            self.assertEqual(plain(read(body)[0]), documents.parse(body))

    def test_malformed_texts(self) -> None:
        long = b"a" * 70_000
        for inside in (
            b"\\ud800",
            b"\\ude00\\ud83d",
            b"\xff",
            b"\x01",
            b"\\x",
            b"\\u12g",
            b"\xed\xa0\x80",
            b"\\",
        ):
            for body in (b'["' + long + inside + b'"]', b'["' + inside + long + b'"]'):
                with self.assertRaises(Refused, msg=repr(inside)) as caught:
                    read(body)
                self.assertEqual(caught.exception.status, 400)

    def test_a_key_is_never_long(self) -> None:
        with self.assertRaises(Refused):
            read(b'{"' + b"k" * 300 + b'":1}')


class BoundTests(SynchronousTestCase):
    def refused(self, body: bytes) -> None:
        with self.assertRaises(Refused) as caught:
            read(body)
        self.assertEqual(caught.exception.status, 422)

    def test_many_values_are_refused_before_anything_is_built(self) -> None:
        self.patch(large_bodies, "parse", self.fail)
        for value in (b"1", b"[]", b"{}", b'""', b'"x"', b"[1]", b'{"a":1}'):
            self.refused(b'{"images":[' + b",".join([value] * 300_000) + b"]}")
        self.refused(b"[" * 200_000)
        self.refused(b'""' * 200_000)

    def test_commas_in_a_text_are_no_values(self) -> None:
        document, _ = read(b'{"images":["' + b"a,[{" * 100_000 + b'"]}')
        self.assertEqual(len(document["images"][0]), 400_000)

    def test_as_many_images_as_the_contract_allows(self) -> None:
        document, _ = read(json.dumps({"images": ["x" * 100] * 1000}).encode())
        self.assertEqual(len(document["images"]), 1000)

    def test_much_besides_texts(self) -> None:
        self.refused(b'{"images":[' + b" " * (large_bodies.MOST_REST_BYTES + 1) + b"]}")

    def test_a_large_body_goes_in_slices(self) -> None:
        size = 4 << 20
        for body in (
            b'["' + b"a" * size + b'"]',
            b'["' + b'\\"' * (size // 2) + b'"]',
            b'["%b"]' % (b"a" * 400) * 1,
        ):
            _, slices = read(body)
            self.assertGreaterEqual(slices, len(body) // large_bodies.SLICE_BYTES)

    def test_the_values_allowed_are_cheaper_than_the_body(self) -> None:
        # The value that costs most memory for its bytes is an empty list: some 90 bytes with its place in the list.
        for size in (64 << 10, 1 << 20, 16 << 20):
            self.assertLess(90 * large_bodies.most_values(size), 3 * size + 200_000)
        self.assertEqual(large_bodies.most_values(16 << 20), large_bodies.MOST_VALUES)
