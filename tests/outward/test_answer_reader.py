from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import BadAnswer, FailedAfterSending, ProxyError
from hospproxy.outward.answer_reader import AnswerReader

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

WHOLE = (
    LENGTH + b"hello",
    CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"hello",
    LENGTH + b"helloHTTP/1.1 200 OK",
    CHUNKED + b"5\r\nhello\r\n0\r\n\r\nmore",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    CLOSE + b"hello",
)


def fed(
    raw: bytes, cuts: tuple[int, ...] = (), *, head: int = 200, body: int = 100
) -> tuple[AnswerReader, bool]:
    """The reader, and whether the response was complete. What is left after that is given to nobody."""
    reader, complete = AnswerReader(head, body), False
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    for a, b in pairwise(places):
        complete = reader.feed(raw[a:b])
        if complete:
            break
    return reader, complete


def bodied(raw: bytes, **limits: int) -> bytes:
    """The body of a complete response."""
    reader, complete = fed(raw, **limits)
    assert complete, raw
    return reader.body


class Bodies(SynchronousTestCase):
    def test_a_length(self) -> None:
        reader, complete = fed(LENGTH + b"hello")
        self.assertTrue(complete)
        self.assertEqual((reader.body, reader.overrun), (b"hello", False))

    def test_a_length_not_reached(self) -> None:
        reader, complete = fed(LENGTH + b"hell")
        self.assertFalse(complete)
        self.assertFalse(reader.ended())

    def test_more_than_the_length_is_cut_off_and_known(self) -> None:
        reader, _ = fed(LENGTH + b"helloHTTP/1.1 200 OK")
        self.assertEqual((reader.body, reader.overrun), (b"hello", True))

    def test_more_than_nothing(self) -> None:
        reader, complete = fed(b"HTTP/1.1 204 No Content\r\n\r\nx")
        self.assertEqual((complete, reader.body, reader.overrun), (True, b"", True))

    def test_chunks(self) -> None:
        reader, complete = fed(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
        self.assertEqual((complete, reader.body, reader.overrun), (True, b"hello", False))

    def test_more_than_the_chunks(self) -> None:
        reader, _ = fed(CHUNKED + b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200")
        self.assertEqual((reader.body, reader.overrun), (b"hello", True))

    def test_until_the_close(self) -> None:
        reader, complete = fed(CLOSE + b"hello", (40,))
        self.assertFalse(complete)
        self.assertTrue(reader.ended())
        self.assertEqual(reader.body, b"hello")

    def test_a_close_before_the_end(self) -> None:
        for raw in (b"", b"HTTP/1.1 200", LENGTH, CHUNKED, CHUNKED + b"5\r\nhello\r\n", CHUNKED + b"0\r\n"):
            self.assertFalse(fed(raw)[0].ended(), raw)

    @given(st.sampled_from(WHOLE), st.lists(st.integers(0, 200), max_size=12))
    def test_where_it_is_cut_makes_no_difference(self, raw: bytes, cuts: list[int]) -> None:
        whole, complete = fed(raw)
        pieces, complete_in_pieces = fed(raw, tuple(cuts))
        self.assertEqual((pieces.head, pieces.body, complete_in_pieces), (whole.head, whole.body, complete))
        if not cuts:
            self.assertEqual(pieces.overrun, whole.overrun)

    def test_byte_by_byte(self) -> None:
        for raw in WHOLE[:3]:
            self.assertEqual(fed(raw, tuple(range(len(raw))))[0].body, bodied(raw))


class Chunked(SynchronousTestCase):
    """RFC 9112 §7.1."""

    def test_what_is_taken(self) -> None:
        for raw, body in (
            (b"0\r\n\r\n", b""),
            (b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", b"ab"),
            (b"0000000A\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
            (b'3;a;b=c;d="e f"\r\n\r\n\r\r\n0\r\n\r\n', b"\r\n\r"),
            (b"2\r\nab\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", b"ab"),
        ):
            self.assertEqual(bodied(CHUNKED + raw), body)

    def test_what_is_refused(self) -> None:
        for raw in (
            b"x\r\n",
            b"\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n",
            b"0x1\r\na\r\n",
            b" 1\r\na\r\n",
            b"1\na\r\n",
            b"1\r\nab",
            b"1\r\na\n",
            b"1\r\na\rx",
            b"1;\0\r\na\r\n",
            b"00000000000000001\r\na\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\n\n",
            b"1;" + b"x" * 1025,
        ):
            error = self.assertRaises(FailedAfterSending, fed, CHUNKED + raw)
            self.assertEqual(error.head_status, 200, raw)

    def test_trailers_have_a_bound(self) -> None:
        end = CHUNKED + b"0\r\n"
        self.assertEqual(bodied(end + (b"X: " + b"x" * 995 + b"\r\n") * 65 + b"\r\n"), b"")
        self.assertRaises(FailedAfterSending, fed, end + (b"X: " + b"x" * 995 + b"\r\n") * 66)
        self.assertRaises(FailedAfterSending, fed, end + b"X: " + b"x" * 66_000)

    def test_a_chunk_that_announces_too_much(self) -> None:
        self.assertEqual(len(bodied(CHUNKED + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n")), 100)
        for raw in (b"65\r\n", b"1\r\na\r\n64\r\n", b"ffffffffffffffff\r\n"):
            error = self.assertRaises(BadAnswer, fed, CHUNKED + raw)
            self.assertEqual(error.head_status, 200)


class Limits(SynchronousTestCase):
    def test_a_head_up_to_its_limit(self) -> None:
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "
        fit = raw + b"x" * (200 - len(raw)) + b"\r\n\r\n"
        self.assertIsNotNone(fed(fit)[0].head)
        self.assertRaises(BadAnswer, fed, fit.replace(b"X: ", b"X: x"))

    def test_a_head_without_end_is_refused_before_it_ends(self) -> None:
        error = self.assertRaises(
            BadAnswer, fed, b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 40, tuple(range(300))
        )
        self.assertIs(error.head_status, None)

    def test_interim_answers_count(self) -> None:
        """RFC 9110 §15.2 allows any number of them; the proxy limits their bytes."""
        interim = b"HTTP/1.1 102 Processing\r\n\r\n"
        self.assertEqual(bodied(interim * 5 + LENGTH + b"hello"), b"hello")
        self.assertRaises(BadAnswer, fed, interim * 8 + LENGTH)

    def test_another_protocol_was_not_asked_for(self) -> None:
        self.assertRaises(FailedAfterSending, fed, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    def test_a_body_that_announces_too_much(self) -> None:
        error = self.assertRaises(BadAnswer, fed, b"HTTP/1.1 201 Made\r\nContent-Length: 101\r\n\r\n")
        self.assertEqual(error.head_status, 201)
        self.assertIsNotNone(fed(b"HTTP/1.1 201 Made\r\nContent-Length: 100\r\n\r\n")[0].head)

    def test_a_body_that_ends_with_the_connection_and_is_too_long(self) -> None:
        self.assertFalse(fed(CLOSE + b"x" * 100)[1])
        error = self.assertRaises(BadAnswer, fed, CLOSE + b"x" * 101)
        self.assertEqual(error.head_status, 200)

    def test_what_is_not_http_is_known_at_its_first_bytes(self) -> None:
        for raw in (b"S", b"HTTQ", b"HTTP/2", b"\x16\x03\x01", b"\r\n"):
            self.assertRaises(FailedAfterSending, fed, raw)
        for raw in (b"H", b"HTTP/1", b"HTTP/1.1 2"):
            self.assertFalse(fed(raw)[1])


class BareLineFeeds(SynchronousTestCase):
    """RFC 9112 §2.2: a recipient may accept a bare line feed as the end of a line. The proxy refuses it at once."""

    def refusal(self, raw: bytes, cuts: tuple[int, ...] = ()) -> ProxyError:
        return self.assertRaises(ProxyError, fed, raw, cuts)  # type: ignore[no-any-return]

    def test_a_head_that_ends_with_two_line_feeds_is_refused_at_once(self) -> None:
        error = self.refusal(b"HTTP/1.1 201 Created\nContent-Length: 2\n\n{}")
        self.assertIsInstance(error, BadAnswer)
        self.assertEqual((error.status, error.head_status), (502, 201))  # type: ignore[attr-defined]

    def test_one_among_proper_line_ends_is_refused_before_the_head_is_whole(self) -> None:
        error = self.refusal(b"HTTP/1.1 200 OK\r\nX: a\nLocation: http://other/\r\n")
        self.assertEqual(error.head_status, 200)  # type: ignore[attr-defined]

    @given(st.lists(st.integers(0, 60), max_size=8))
    def test_where_it_is_cut_makes_no_difference(self, cuts: list[int]) -> None:
        error = self.refusal(b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n", tuple(cuts))
        self.assertEqual(error.head_status, 200)  # type: ignore[attr-defined]

    def test_an_interim_answer_says_nothing_of_the_end(self) -> None:
        error = self.refusal(b"HTTP/1.1 103 Early Hints\nLink: </a>\n\n")
        self.assertIsNone(error.head_status)  # type: ignore[attr-defined]

    def test_without_a_status_line_it_is_no_http(self) -> None:
        self.assertIsInstance(self.refusal(b"HTTP/1.1 up\n\n"), FailedAfterSending)

    def test_line_feeds_in_a_body_are_its_own(self) -> None:
        self.assertEqual(bodied(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\n\n"), b"a\n\n")
