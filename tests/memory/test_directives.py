from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Headers
from hospproxy.memory.directives import MOST_SECONDS, CacheDirectives, directives, has_it, seconds, wish_of


def wish(*values: bytes, pragma: bytes | None = None) -> CacheDirectives:
    pairs = [(b"cache-control", value) for value in values]
    return wish_of(Headers((*pairs, *([(b"pragma", pragma)] if pragma else []))))


class WishTests(SynchronousTestCase):
    def test_without_afield_anything_will_do(self) -> None:
        self.assertEqual(wish(), CacheDirectives())

    def test_each_directive(self) -> None:
        for value, expected in (
            (b"no-cache", CacheDirectives(no_cache=True)),
            (b"No-Cache", CacheDirectives(no_cache=True)),
            (b"no-store", CacheDirectives(no_store=True)),
            (b"only-if-cached", CacheDirectives(only_if_cached=True)),
            (b"max-age=5", CacheDirectives(max_age=5)),
            (b'max-age="5"', CacheDirectives(max_age=5)),
            (b"max-age=0", CacheDirectives(no_cache=True, max_age=0)),
            (b"min-fresh=7", CacheDirectives(min_fresh=7)),
            (b"max-age=99999999999", CacheDirectives(max_age=MOST_SECONDS)),
            (b"max-age=5, min-fresh=7 ,, no-store", CacheDirectives(max_age=5, min_fresh=7, no_store=True)),
            (b'ext="a, no-cache, b", max-age=5', CacheDirectives(max_age=5)),
            (b'ext="a \\", no-cache, b"', CacheDirectives()),
            (b"max-stale, no-transform, stale-if-error=4", CacheDirectives(stale_if_error=4)),
        ):
            self.assertEqual(wish(value), expected, value)

    def test_malformed_ones_are_as_if_they_were_not_there(self) -> None:
        for value in (
            b"", b",", b"=", b"max-age", b"max-age=", b"max-age=-1", b"max-age=1.5", b"max-age=five", b"max-age 5",
            b"max age=5", b"no cache", b'"no-cache"', b'max-age="5', b"min-fresh=\xb2", b"no-cache;", b"max-age=0x1",
        ):  # fmt: skip
            self.assertEqual(wish(value), CacheDirectives(), value)
            self.assertEqual(
                wish(value + b", no-store" if b'"5' not in value else b"no-store").no_store, True
            )

    def test_the_stricter_of_two_counts(self) -> None:
        self.assertEqual(wish(b"max-age=9", b"max-age=5"), CacheDirectives(max_age=5))
        self.assertEqual(wish(b"min-fresh=9, min-fresh=5"), CacheDirectives(min_fresh=9))

    def test_pragma_counts_only_without_cache_control(self) -> None:
        self.assertEqual(wish(pragma=b"No-Cache"), CacheDirectives(no_cache=True))
        self.assertEqual(wish(pragma=b"other"), CacheDirectives())
        self.assertEqual(wish(b"max-age=5", pragma=b"no-cache"), CacheDirectives(max_age=5))

    def test_what_is_accepted(self) -> None:
        self.assertTrue(CacheDirectives().accepts(1e6, 0.001))
        self.assertFalse(CacheDirectives().accepts(0, 0))
        self.assertFalse(CacheDirectives(no_cache=True).accepts(0, 100))
        self.assertTrue(CacheDirectives(max_age=5).accepts(5, 1))
        self.assertFalse(CacheDirectives(max_age=5).accepts(5.1, 1))
        self.assertTrue(CacheDirectives(min_fresh=5).accepts(0, 5))
        self.assertFalse(CacheDirectives(min_fresh=5).accepts(0, 4.9))

    @given(st.binary(max_size=60))
    def test_no_field_is_afailure(self, value: bytes) -> None:
        wish(value)

    @given(st.lists(st.sampled_from([b'"', b"\\", b",", b"a", b"=", b" "]), max_size=12).map(b"".join))
    def test_commas_outside_quotes_separate(self, value: bytes) -> None:
        members, quoted, at = [b""], False, 0
        while at < len(value):
            one = value[at : at + 1]
            if quoted and one == b"\\" and at + 1 < len(value):
                one = value[at : at + 2]
            elif one == b'"':
                quoted = not quoted
            if one == b"," and not quoted:
                members.append(b"")
            else:
                members[-1] += one
            at += len(one)
        alone = [found for member in members for found in directives([member])]
        self.assertEqual(list(directives([value])), alone)

    def test_a_long_field_is_read_in_one_go(self) -> None:
        """If the parser searched for the end of each quote, this would take minutes."""
        self.assertEqual(wish(b'"' + b'\\"' * 100_000 + b",no-cache"), CacheDirectives())
        self.assertEqual(has_it([b'"a" ' * 100_000], b'"a"'), False)

    @given(st.integers(0, 10**30))
    def test_seconds(self, number: int) -> None:
        self.assertEqual(seconds(b"%d" % number), min(number, MOST_SECONDS))


OPAQUE = st.text("abc,W/* ".replace(" ", ""), max_size=4).map(lambda text: b'"%b"' % text.encode())


class HasItTests(SynchronousTestCase):
    def test_by_example(self) -> None:
        for given_, etag, expected in (
            ([], b'"a"', False),
            ([b'"a"'], b'"a"', True),
            ([b'W/"a"'], b'"a"', True),
            ([b'"a"'], b'W/"a"', True),
            ([b'"b", W/"a"'], b'W/"a"', True),
            ([b'"b"', b'"a"'], b'"a"', True),
            ([b'"b" , , "a",'], b'"a"', True),
            ([b'"a,b"'], b'"a"', False),
            ([b'"a,b"'], b'"a,b"', True),
            ([b'""'], b'""', True),
            ([b"*"], b'"a"', True),
            ([b" * "], None, True),
            ([b'"a"'], None, False),
            ([b'"a", *'], b'"a"', False),
            ([b"a"], b'"a"', False),
            ([b'"a'], b'"a"', False),
            ([b'"a" "b"'], b'"a"', False),
            ([b'w/"a"'], b'"a"', False),
            ([b'"A"'], b'"a"', False),
            ([b"a"], b"a", False),
            ([b""], b'"a"', False),
        ):
            self.assertEqual(has_it(given_, etag), expected, (given_, etag))

    @given(st.lists(st.tuples(st.booleans(), OPAQUE), min_size=1, max_size=5), OPAQUE, st.booleans())
    def test_weak_comparison_over_alist(
        self, tags: list[tuple[bool, bytes]], mine: bytes, weak: bool
    ) -> None:
        field = b", ".join((b"W/" if is_weak else b"") + tag for is_weak, tag in tags)
        expected = mine in [tag for _, tag in tags]
        self.assertEqual(has_it([field], (b"W/" if weak else b"") + mine), expected)

    @given(st.binary(max_size=40))
    def test_no_field_is_afailure(self, field: bytes) -> None:
        has_it([field], b'"a"')
