"""Responses: exactly one HTTP message each, whatever the handler puts into them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.answer import BROKEN, Unwritable, write_answer
from hospproxy.http.messages import Headers, Response
from tests.arrival.memory_transport import read_answers


def written(
    response: Response, *, to_head: bool = False, close: bool = False, version: tuple[int, int] = (1, 1)
) -> bytes:
    return b"".join(write_answer(response, to_head=to_head, close=close, version=version, wall=784111777.9))


class AnswerTests(SynchronousTestCase):
    def test_in_full(self) -> None:
        self.assertEqual(
            written(Response(422, Headers(((b"content-type", b"a/b"),)), b"body")),
            b"HTTP/1.1 422 Unprocessable Content\r\ncontent-type: a/b\r\n"
            b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 4\r\n\r\nbody",
        )

    def test_to_head(self) -> None:
        """The same head without content."""
        response = Response(200, body=b"body")
        self.assertEqual(written(response, to_head=True) + b"body", written(response))

    def test_without_content(self) -> None:
        for status in (204, 304):
            data = written(Response(status, body=b"body"))
            self.assertNotIn(b"content-length", data)
            self.assertTrue(data.endswith(b"\r\n\r\n"))

    def test_connection(self) -> None:
        self.assertNotIn(b"connection", written(Response(200)))
        self.assertIn(b"connection: close\r\n", written(Response(200), close=True))
        self.assertIn(b"connection: keep-alive\r\n", written(Response(200), version=(1, 0)))

    def test_fields_that_are_ours(self) -> None:
        theirs = (
            b"Content-Length",
            b"Connection",
            b"Transfer-Encoding",
            b"Server",
            b"Keep-Alive",
            b"Upgrade",
        )
        data = written(Response(200, Headers(tuple((name, b"77777") for name in theirs)), b"x"))
        self.assertEqual([answer.body for answer in read_answers(data, ["GET"])], [b"x"])
        self.assertNotIn(b"77777", data)

    def test_a_date_is_kept(self) -> None:
        data = written(Response(200, Headers(((b"Date", b"then"),))))
        self.assertEqual(data.lower().count(b"date:"), 1)

    def test_what_cannot_be_written(self) -> None:
        for response in (
            Response(200, Headers(((b"x", b"a\r\nset-cookie: b"),))),
            Response(200, Headers(((b"x", b"a\nb"),))),
            Response(200, Headers(((b"x", b"a\x00"),))),
            Response(200, Headers(((b"x", b"a\rb"),))),
            Response(200, Headers(((b"x", b"a\x7f"),))),
            Response(200, Headers(((b"x: y\r\nz", b"a"),))),
            Response(200, Headers(((b"", b"a"),))),
            Response(100),
            Response(199),
            Response(600),
        ):
            self.assertRaises(Unwritable, written, response)

    def test_what_goes_out_instead(self) -> None:
        self.assertEqual(read_answers(written(BROKEN), ["GET"])[0].status, 500)

    @given(
        st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=12)), max_size=4), st.binary(max_size=20)
    )
    def test_is_always_one_message(self, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        try:
            data = written(Response(200, Headers(tuple(fields)), body))
        except Unwritable:
            return
        (answer,) = read_answers(data, ["GET"])
        self.assertEqual((answer.status, answer.body), (200, body))
