from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.errors import BadAnswer, FailedAfterSending, ProxyError
from hospproxy.outward.filter import AnswerFilter

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
AS_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


WHOLE = (
    LENGTH + b"hello",
    CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH,
)


def fed(
    raw: bytes, cuts: tuple[int, ...] = (), *, head: int = 200, body: int = 100
) -> tuple[AnswerFilter, bytes]:
    filtering = AnswerFilter(head, body)
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    passed = b"".join(filtering.feed(raw[a:b]) for a, b in pairwise(places))
    return filtering, passed


class Bodies(SynchronousTestCase):
    def test_a_length(self) -> None:
        filtering, passed = fed(LENGTH + b"hello")
        self.assertEqual(passed, LENGTH + b"hello")
        self.assertFalse(filtering.overrun)
        self.assertEqual(filtering.ended(), b"")

    def test_more_than_the_length_is_cut_off_and_known(self) -> None:
        filtering, passed = fed(LENGTH + b"helloHTTP/1.1 200 OK")
        self.assertEqual(passed, LENGTH + b"hello")
        self.assertTrue(filtering.overrun)

    def test_more_than_nothing(self) -> None:
        filtering, passed = fed(b"HTTP/1.1 204 No Content\r\n\r\nx")
        self.assertEqual(passed, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(filtering.overrun)

    def test_chunks(self) -> None:
        filtering, passed = fed(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
        self.assertEqual(passed, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
        self.assertFalse(filtering.overrun)

    def test_more_than_the_chunks(self) -> None:
        filtering, _ = fed(CHUNKED + b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200")
        self.assertTrue(filtering.overrun)

    def test_until_the_close(self) -> None:
        filtering, passed = fed(CLOSE + b"hello")
        self.assertEqual(passed + filtering.ended(), AS_CHUNKS + b"5\r\nhello\r\n0\r\n\r\n")

    def test_bytes_before_any_request_belong_to_none(self) -> None:
        self.assertTrue(AnswerFilter(100, 100).overrun)

    @given(st.sampled_from(WHOLE), st.lists(st.integers(0, 200), max_size=12))
    def test_where_it_is_cut_makes_no_difference(self, raw: bytes, cuts: list[int]) -> None:
        whole, passed = fed(raw)
        pieces, passed_in_pieces = fed(raw, tuple(cuts))
        self.assertEqual(passed_in_pieces, passed)
        self.assertEqual((pieces.head, pieces.overrun), (whole.head, whole.overrun))


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
        self.assertEqual(fed(interim * 5 + LENGTH)[1], LENGTH)
        self.assertRaises(BadAnswer, fed, interim * 8 + LENGTH)

    def test_another_protocol_was_not_asked_for(self) -> None:
        self.assertRaises(FailedAfterSending, fed, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    def test_a_body_that_announces_too_much(self) -> None:
        error = self.assertRaises(BadAnswer, fed, b"HTTP/1.1 201 Made\r\nContent-Length: 101\r\n\r\n")
        self.assertEqual(error.head_status, 201)
        self.assertIsNotNone(fed(b"HTTP/1.1 201 Made\r\nContent-Length: 100\r\n\r\n")[0].head)

    def test_what_is_not_http_is_known_at_its_first_bytes(self) -> None:
        for raw in (b"S", b"HTTQ", b"HTTP/2", b"\x16\x03\x01", b"\r\n"):
            self.assertRaises(FailedAfterSending, fed, raw)
        for raw in (b"H", b"HTTP/1", b"HTTP/1.1 2"):
            self.assertEqual(fed(raw)[1], b"")


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
        _, passed = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\n\n")
        self.assertTrue(passed.endswith(b"a\n\n"))
