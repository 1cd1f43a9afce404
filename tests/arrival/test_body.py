"""Bodies: counted as they arrive, bounded, and the same however they are split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.body import (
    MAX_CHUNK_OVERHEAD_BYTES,
    ChunkedDecoder,
    LengthDecoder,
    decoder_for,
)
from hospproxy.arrival.fields import Framing
from hospproxy.http.errors import Refused


def encode(chunks: list[bytes]) -> bytes:
    sizes = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return sizes + b"0\r\n\r\n"


def feed_cut(decoder: ChunkedDecoder | LengthDecoder, data: bytes, places: list[int]) -> tuple[bool, bytes]:
    """Feed pieces until the body is complete; return the rest."""
    buffer = bytearray()
    whole = False
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        buffer += data[start:end]
        whole = whole or decoder.feed(buffer)
    return whole, bytes(buffer)


class ChunkedTests(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=40), max_size=6), st.binary(max_size=10), st.data())
    def test_round_trip(self, chunks: list[bytes], rest: bytes, data: st.DataObject) -> None:
        stream = encode(chunks) + rest
        places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        decoder = ChunkedDecoder(1000)
        self.assertEqual(feed_cut(decoder, stream, places), (True, rest))
        self.assertEqual(decoder.content(), b"".join(chunks))
        self.assertEqual(decoder.size, len(b"".join(chunks)))

    def test_limit_is_refused_before_the_data(self) -> None:
        decoder = ChunkedDecoder(4)
        error = self.assertRaises(Refused, decoder.feed, bytearray(b"5\r\n"))
        self.assertEqual(error.status, 413)
        self.assertEqual(decoder.size, 0)

    def test_overhead_grows_with_the_content(self) -> None:
        """A client that sends small chunks is served; one that sends almost only chunk sizes is refused."""
        small = ChunkedDecoder(1 << 20)
        self.assertTrue(small.feed(bytearray(encode([b"a" * 8] * 20_000))))
        self.assertEqual(small.size, 160_000)
        extended = (b"1;" + b"a" * 250 + b"\r\nx\r\n") * (MAX_CHUNK_OVERHEAD_BYTES // 250 + 10)
        self.assertRaises(Refused, ChunkedDecoder(1 << 20).feed, bytearray(extended))

    def test_holds_no_more_than_it_was_given(self) -> None:
        decoder = ChunkedDecoder(1 << 20)
        decoder.feed(bytearray(b"fffff\r\nab"))
        self.assertEqual(decoder.size, 2)


class LengthTests(SynchronousTestCase):
    @given(st.binary(max_size=60), st.binary(max_size=10), st.data())
    def test_round_trip(self, content: bytes, rest: bytes, data: st.DataObject) -> None:
        stream = content + rest
        places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        decoder = LengthDecoder(len(content))
        self.assertEqual(feed_cut(decoder, stream, places), (True, rest))
        self.assertEqual(decoder.content(), content)


class ChoiceTests(SynchronousTestCase):
    def test_which(self) -> None:
        self.assertIsNone(decoder_for(Framing(), 10))
        self.assertIsInstance(decoder_for(Framing(length=10), 10), LengthDecoder)
        self.assertIsInstance(decoder_for(Framing(chunked=True), 10), ChunkedDecoder)

    def test_length_beyond_the_limit(self) -> None:
        error = self.assertRaises(Refused, decoder_for, Framing(length=11), 10)
        self.assertEqual(error.status, 413)
        self.assertIn("10 bytes", error.detail)
