"""Parsing of credentials as clients write them."""

import base64

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.guard.credentials import parse_basic

USUAL = b"Basic c3RhZmYxOnBhc3N3b3JkMQ=="


class ParseTests(SynchronousTestCase):
    def accepted(self, value: bytes, canonical: bytes = USUAL) -> None:
        found = parse_basic(value)
        assert found is not None, value
        self.assertEqual(found.canonical, canonical)

    def test_old_clients_spellings_mean_the_same(self) -> None:
        for value in (
            USUAL,
            b"basic c3RhZmYxOnBhc3N3b3JkMQ==",
            b"BASIC   c3RhZmYxOnBhc3N3b3JkMQ==",
            b"Basic c3RhZmYxOnBhc3N3b3JkMQ",
            b"Basic c3RhZmYxOnBhc3N3b3JkMQ=",
        ):
            self.accepted(value)

    def test_name_and_password_part_at_the_first_colon(self) -> None:
        found = parse_basic(b"Basic " + base64.b64encode(b"a:b:c"))
        assert found is not None
        self.assertEqual((found.name, found.password), ("a", "b:c"))

    def test_malformed_ones_are_none(self) -> None:
        for value in (
            None, b"", b"Basic", b"Basic ", b"Bearer abc", b"Basic !!!", b"Basic a", b"Basic YWJj", b"Basic c3Rh ZmYx",
            b"Basic " + base64.b64encode(b"a\n:b"), b"Basicc3RhZmYxOnBhc3N3b3JkMQ==",
        ):  # fmt: skip
            self.assertIsNone(parse_basic(value), value)

    def test_nothing_secret_in_the_repr(self) -> None:
        self.assertNotIn("password1", repr(parse_basic(USUAL)))
        self.assertNotIn("c3Rh", repr(parse_basic(USUAL)))

    @given(st.binary(max_size=200))
    def test_never_raises(self, value: bytes) -> None:
        found = parse_basic(value)
        self.assertTrue(found is None or found.canonical.startswith(b"Basic "))

    @given(st.text(st.characters(min_codepoint=32, exclude_characters=":\x7f", exclude_categories=["Cs"])),
           st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"])))  # fmt: skip
    def test_what_was_encoded_comes_back(self, name: str, password: str) -> None:
        raw = f"{name}:{password}".encode()
        found = parse_basic(b"basic  " + base64.b64encode(raw).rstrip(b"="))
        assert found is not None
        self.assertEqual((found.name, found.password), (name, password))
        self.assertEqual(base64.b64decode(found.canonical[6:]), raw)
