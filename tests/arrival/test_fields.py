"""Rules that llhttp also has, tested without it: ours must hold even if llhttp becomes lenient."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.fields import (
    HOP_BY_HOP,
    WITNESS,
    Framing,
    combine,
    end_to_end,
    read_framing,
    received_via,
)
from hospproxy.arrival.line import HeadRefused


class FramingTests(SynchronousTestCase):
    def refusal(self, fields: dict[bytes, bytes], version: tuple[int, int] = (1, 1)) -> int:
        return self.assertRaises(HeadRefused, read_framing, fields, version).status

    def test_chunked(self) -> None:
        self.assertEqual(read_framing({b"transfer-encoding": b"Chunked"}, (1, 1)), Framing(chunked=True))

    def test_other_codings(self) -> None:
        for value, status in (
            (b"chunked, chunked", 400),
            (b"chunked, gzip, chunked", 400),
            (b"gzip,,chunked", 400),
            (b"chunked,gzip", 400),
            (b"gzip", 400),
            (b"", 400),
            (b"gzip, chunked", 501),
        ):
            self.assertEqual(self.refusal({b"transfer-encoding": value}), status, value)

    def test_length_and_coding(self) -> None:
        fields = {b"transfer-encoding": b"chunked", b"content-length": b"5"}
        self.assertEqual(self.refusal(fields), 400)
        self.assertEqual(self.refusal(fields, (1, 0)), 400)

    @given(st.binary(max_size=22))
    def test_a_length_is_digits(self, value: bytes) -> None:
        try:
            framing = read_framing({b"content-length": value}, (1, 1))
        except HeadRefused:
            self.assertFalse(value.isdigit() and len(value) <= 18)
        else:
            self.assertEqual(framing.length, int(value))
            self.assertTrue(value.isdigit())

    def test_doubled_fields(self) -> None:
        for name in (
            b"content-length",
            b"transfer-encoding",
            b"host",
            b"authorization",
            b"content-type",
            b"expect",
        ):
            self.assertRaises(HeadRefused, combine, [(name, b"5"), (name, b"5")])
        self.assertEqual(combine([(b"accept", b"a"), (b"accept", b"b")]), {b"accept": b"a,b"})

    def test_what_goes_further(self) -> None:
        pairs = [(name, b"") for name in (*sorted(HOP_BY_HOP), *sorted(WITNESS), b"accept", b"x")]
        self.assertEqual([name for name, _ in end_to_end(pairs, b"close, X")], [b"accept"])
        self.assertEqual([name for name, _ in end_to_end(pairs, b"")], [b"accept", b"x"])


class ViaTests(SynchronousTestCase):
    def test_the_hops_before_and_the_protocol_of_the_last(self) -> None:
        for values, version, wanted in (
            ([], (1, 1), "1.1"),
            ([], (1, 0), "1.0"),
            ([b"1.0 fred, 1.1 p.example.net"], (1, 1), "1.0 fred, 1.1 p.example.net, 1.1"),
            ([b"1.0 fred", b"1.1 p.example.net (a, b)"], (1, 1), "1.0 fred, 1.1 p.example.net (a, b), 1.1"),
            ([b""], (1, 1), "1.1"),
        ):
            self.assertEqual(received_via(values, version), wanted)
