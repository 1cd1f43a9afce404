"""The index of header fields says what a reader of all fields says, whatever was done to them."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.messages import Headers, Origin, Response

NAMES = (b"a", b"A", b"b", b"B", b"Set-Cookie", b"set-cookie", b"etag")
_name = st.sampled_from(NAMES)
_pair = st.tuples(_name, st.sampled_from([b"1", b"2", b"3"]))
_pairs = st.lists(_pair, max_size=6).map(tuple)
_change = st.one_of(
    st.tuples(st.just("without"), st.lists(_name, max_size=2)),
    st.tuples(st.just("having"), _pair),
    st.tuples(st.just("with_fields"), st.lists(_pair, max_size=2), st.lists(_name, max_size=2)),
)


def changed(headers: Headers, change: tuple[str, ...]) -> tuple[Headers, tuple[tuple[bytes, bytes], ...]]:
    """The fields after a change, and what they must be."""
    how, what, *more = change
    dropped, added = set(), ()
    if how == "without":
        dropped, made = {name.lower() for name in what}, headers.without(*what)
    elif how == "having":
        dropped, added, made = {what[0].lower()}, (what,), headers.having(*what)
    else:
        added, dropped = tuple(what), {name.lower() for name in (*more[0], *(name for name, _ in what))}
        made = headers.with_fields(*what, without=tuple(more[0]))
    left = tuple(pair for pair in headers.pairs if pair[0].lower() not in dropped)
    return made, left + added


class HeadersTests(SynchronousTestCase):
    @given(_pairs, st.lists(_change, max_size=4))
    def test_each_change_is_as_if_it_were_made_on_fresh_fields(self, pairs: tuple, changes: list) -> None:
        headers = Headers(pairs)
        for change in changes:
            headers, expected = changed(headers, change)
            self.assertEqual(headers.pairs, expected)
            for name in NAMES:
                values = [value for given_name, value in expected if given_name.lower() == name.lower()]
                self.assertEqual(
                    (headers.all(name), headers.get(name)), (values, values[0] if values else None)
                )

    def test_other_fields_leave_the_rest_of_a_response_alone(self) -> None:
        made = Response(200, Headers(), b"plain", Origin.MEMORY, coded=b"packed")
        other = made.having(b"Age", b"1")
        self.assertEqual(evolve(other, headers=Headers()), made)
        self.assertEqual((other.content, other.body), (b"packed", b"plain"))

    def test_two_with_the_same_fields_are_equal(self) -> None:
        one = Headers(((b"A", b"1"),))
        one.get(b"a")
        self.assertEqual((one, hash(one)), (Headers(((b"A", b"1"),)), hash(Headers(((b"A", b"1"),)))))

    def test_what_changes_nothing_makes_nothing(self) -> None:
        headers = Headers(((b"A", b"1"),))
        self.assertIs(headers.without(b"b"), headers)
