"""Which coding a client accepts, and the entity tags of coded content."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.content_coding import CODINGS, GZIP, ZSTD, accepted_coding, coded_tag, plain_tags

TAG = b'"%b"' % (b"0a" * 16)


class AcceptedCodingTests(SynchronousTestCase):
    def check(self, value: str, expected: bytes | None, offered: tuple[bytes, ...] = (ZSTD, GZIP)) -> None:
        self.assertEqual(accepted_coding([value.encode()], offered), expected, value)

    def test_what_is_named(self) -> None:
        for value in ("gzip", "GZip", "x-gzip", "deflate, gzip;q=0.5, br", "gzip ; q=1.000", "*;q=0, gzip"):
            self.check(value, GZIP)

    def test_nothing_that_is_offered(self) -> None:
        for value in ("", " ", ",,", "br", "identity", "gzip;q=0", "gzip;q=0.000", "gzipped", "*;q=0"):
            self.check(value, None)

    def test_the_heavier_one_and_then_the_preferred_one(self) -> None:
        self.check("gzip, zstd", ZSTD)
        self.check("gzip, zstd", GZIP, (GZIP, ZSTD))
        self.check("gzip;q=0.9, zstd;q=0.8", GZIP)
        self.check("*", ZSTD)
        self.check("*, zstd;q=0", GZIP)
        self.check("zstd", None, (GZIP,))

    def test_content_as_it_is_may_weigh_more(self) -> None:
        self.check("gzip;q=0.5, identity", None)
        self.check("gzip;q=0.5, identity;q=0.5", GZIP)

    def test_malformed_weights_do_not_count(self) -> None:
        for value in (
            "gzip;q=2",
            "gzip;q=-1",
            "gzip;q=0.0001",
            "gzip;q=",
            "gzip;q=nan",
            "gzip;level=9",
            "gzip;",
        ):
            self.check(value, None)

    def test_said_twice_the_smaller_weight_counts(self) -> None:
        self.check("gzip, gzip;q=0", None)
        self.assertIsNone(accepted_coding([b"gzip;q=0", b"gzip"], CODINGS))
        self.assertEqual(accepted_coding([b"br", b"gzip"], CODINGS), GZIP)

    def test_no_field_means_no_coding(self) -> None:
        self.assertIsNone(accepted_coding([], CODINGS))

    @given(st.lists(st.binary(max_size=30), max_size=3))
    def test_any_bytes(self, values: list[bytes]) -> None:
        found = accepted_coding(values, CODINGS)
        if found is not None:
            sent = b",".join(values).lower()
            self.assertTrue(found in sent or b"*" in sent)


class TagTests(SynchronousTestCase):
    def test_each_coding_has_a_tag_of_its_own(self) -> None:
        tags = {TAG, *(coded_tag(TAG, coding) for coding in CODINGS)}
        self.assertEqual(len(tags), 3)
        for coding in CODINGS:
            self.assertEqual(plain_tags(coded_tag(TAG, coding), CODINGS), TAG)

    def test_a_weak_tag_stays(self) -> None:
        for tag in (b"W/" + TAG, b"broken"):
            self.assertEqual(coded_tag(tag, GZIP), tag)

    def test_other_tags_of_a_list_stay(self) -> None:
        given = b'"a-gzip", %b, %b, W/"x"' % (coded_tag(TAG, GZIP), coded_tag(TAG, ZSTD))
        self.assertEqual(plain_tags(given, (GZIP,)), b'"a-gzip", %b, %b, W/"x"' % (TAG, coded_tag(TAG, ZSTD)))
        self.assertEqual(plain_tags(b"*", CODINGS), b"*")
