"""A long list read in pieces, each a list, gives the same as the whole."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http import json_lists

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["},{", "],[", '"},', "\\", "[{"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=15,
)
ROUNDS = settings(max_examples=300, deadline=None, print_blob=True)


class Reading:
    """The content read from a list, and the number of pieces."""

    def __init__(self, body: bytes) -> None:
        self.read: list[Any] = []
        self.longest = 0
        work = json_lists.in_pieces(body, self._take)
        self.slices = 1
        try:
            while True:
                next(work)
                self.slices += 1
        except StopIteration as end:
            self.cuts = end.value

    def _take(self, piece: bytes) -> bool:
        found = json_lists.decoded(piece)
        self.longest = max(self.longest, len(piece))
        if found:
            self.read += found
        return bool(found)


class PiecesTests(SynchronousTestCase):
    def small(self, size: int) -> None:
        self.patch(json_lists, "PIECE_BYTES", size)

    @given(
        st.lists(VALUES, max_size=30),
        st.sampled_from([2, 7, 40, 200]),
        st.sampled_from([None, 1]),
        st.booleans(),
    )
    @ROUNDS
    def test_all_of_it_is_read_in_its_order(
        self, value: list[Any], size: int, indent: int | None, plain: bool
    ) -> None:
        self.small(size)
        body = json.dumps(value, indent=indent, ensure_ascii=not plain).encode()
        reading = Reading(body)
        self.assertEqual(reading.read, value)
        again = [one for piece in json_lists.pieces_at(body, reading.cuts) for one in json.loads(piece)]
        self.assertEqual(again, value)

    @given(st.lists(VALUES, min_size=1, max_size=20), st.sampled_from([2, 7, 40]), st.data())
    @ROUNDS
    def test_what_is_no_list_is_refused(self, value: list[Any], size: int, data: st.DataObject) -> None:
        self.small(size)
        body = bytearray(json.dumps(value).encode())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(body) - 1))
            body[at : at + 1] = data.draw(
                st.sampled_from([b"", b'"', b"\\", b"\xff", b"[", b"]", b"{", b",", b",,", b" "])
            )
        given_ = bytes(body)
        expected = json_lists.decoded(given_)
        try:
            self.assertEqual(Reading(given_).read, expected, given_)
        except json_lists.NotAList:
            self.assertIsNone(expected, given_)

    def test_a_list_of_records_goes_in_pieces(self) -> None:
        record = {"id": 1, "name": "Moss", "text": '},{ " [', "url": "https://proxy.test/patients/1.json"}
        reading = Reading(json.dumps([record] * 20_000).encode())
        self.assertEqual(reading.read, [record] * 20_000)
        self.assertGreater(reading.slices, 20)
        self.assertLessEqual(reading.longest, 2 * json_lists.PIECE_BYTES + 2)

    def test_one_long_element(self) -> None:
        for element in ("x" * 200_000, {"a": [[1, "\\"] * 9000]}, '"' * 100_000):
            reading = Reading(json.dumps([1, element, 2]).encode())
            self.assertEqual(reading.read, [1, element, 2])

    def test_an_element_that_is_too_much(self) -> None:
        for body in (
            b"[" * 300_000,
            b"[[[" + b"1," * 300_000 + b"1]]]",
            b"[" + b" " * 300_000,
            b"[1]" + b" " * 300_000,
            b'["' + b"a" * (json_lists.MOST_ELEMENT_BYTES + 70_000) + b'",1]',
        ):
            with self.assertRaises(json_lists.NotAList):
                Reading(body)
