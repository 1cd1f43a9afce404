"""W3C Trace Context: what is continued, and what begins a new trace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.trace_context import parse_parent, parse_state

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
VALID = b"00-" + TRACE + b"-" + SPAN + b"-01"


class Parents(SynchronousTestCase):
    def test_a_valid_one(self) -> None:
        for flags, sampled in ((b"01", True), (b"00", False), (b"03", True), (b"02", False)):
            found = parse_parent([VALID[:-2] + flags])
            assert found is not None
            self.assertEqual(
                (found.trace_id, found.span_id, found.sampled), (TRACE.decode(), SPAN.decode(), sampled)
            )
        self.assertEqual(parse_parent([VALID]).field, VALID)  # type: ignore[union-attr]

    def test_a_later_version_may_be_longer(self) -> None:
        self.assertIsNotNone(parse_parent([b"cc" + VALID[2:] + b"-what-comes-later"]))
        self.assertIsNotNone(parse_parent([b"cc" + VALID[2:]]))

    def test_invalid_ones(self) -> None:
        for values in (
            [],
            [b""],
            [VALID, VALID],
            [VALID.upper()],
            [b"ff" + VALID[2:]],
            [VALID + b"-more"],
            [b"cc" + VALID[2:] + b"more"],
            [VALID[:-1]],
            [b"00-" + b"0" * 32 + b"-" + SPAN + b"-01"],
            [b"00-" + TRACE + b"-" + b"0" * 16 + b"-01"],
            [b" " + VALID],
            [VALID + b"\n"],
            [b"cc" + VALID[2:] + b"-" + b"x" * 5000],
        ):
            self.assertIsNone(parse_parent(values), values)

    @given(st.binary(max_size=80))
    def test_any_bytes(self, value: bytes) -> None:
        found = parse_parent([value])
        if found is not None and value[:2] == b"00":
            self.assertEqual(found.field[:-2], value[:-2])


class States(SynchronousTestCase):
    def test_members_are_kept(self) -> None:
        for values, kept in (
            ([], b""),
            ([b"a=1"], b"a=1"),
            ([b"a=1 ,\tb@c=2,,"], b"a=1,b@c=2"),
            ([b"a=1", b"b=x y"], b"a=1,b=x y"),
        ):
            self.assertEqual(parse_state(values), kept)

    def test_an_invalid_one_is_dropped_whole(self) -> None:
        for value in (b"a", b"A=1", b"a=1,a=2", b"a=", b"a=1=2", b"a=\xff", b"=1", b"a=b\r\nx: y", b"a b=1"):
            self.assertEqual(parse_state([value]), b"", value)
        self.assertEqual(parse_state([b",".join(b"k%d=1" % number for number in range(33))]), b"")

    def test_it_is_bounded(self) -> None:
        long = b",".join(b"k%d=" % number + b"x" * 100 for number in range(20))
        kept = parse_state([long])
        self.assertLessEqual(len(kept), 512)
        self.assertTrue(long.startswith(kept + b","))
        self.assertEqual(parse_state([long] * 100), b"")
