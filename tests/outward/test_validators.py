"""Date and ETag of responses, as clients and the cache get them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract import document as contract_document
from hospproxy.http.messages import Headers, Origin, Response
from hospproxy.outward.validators import dated, entity_tag, tagged

CONTRACT = contract_document.load()
JSON = (b"Content-Type", b"application/json; charset=utf-8")
HTML = (b"Content-Type", b"text/html")
WEAK = (b"ETag", b'W/"abc"')
NOW = 1_700_000_000.0


def answer(body: bytes = b"{}", *fields: tuple[bytes, bytes], status: int = 200) -> Response:
    return Response(status, Headers(fields or (JSON, WEAK)), body, Origin.UPSTREAM)


class TagTests(SynchronousTestCase):
    def tag(self, operation: str, *what: object, **how: int) -> bytes | None:
        return tagged(CONTRACT.operation(operation), answer(*what, **how)).headers.get(b"etag")  # type: ignore[arg-type]

    def test_a_read_has_astrong_tag_of_its_bytes(self) -> None:
        first = self.tag("getNote", b'{"id":1}')
        assert first is not None
        self.assertRegex(first, rb'\A"[0-9a-f]{32}"\Z')
        self.assertEqual(self.tag("getNote", b'{"id":1}', JSON), first)
        self.assertNotEqual(self.tag("getNote", b'{"id":2}'), first)
        self.assertNotEqual(self.tag("getNote", b'{"id":1}', HTML), first)

    def test_the_record_that_awrite_answers_with_has_the_tag_that_aread_of_it_will_have(self) -> None:
        read = self.tag("getNote", b'{"id":1}')
        self.assertEqual(self.tag("updateNote", b'{"id":1}'), read)
        self.assertEqual(self.tag("createNote", b'{"id":1}', status=201), read)

    def test_a_tag_of_the_upstream_never_goes_on(self) -> None:
        self.assertIsNone(self.tag("deleteNote", b"<p>deleted</p>", HTML, WEAK))
        self.assertIsNone(self.tag("getNote", b"oops", HTML, WEAK, status=500))
        self.assertIsNone(self.tag("getNote", b"oops", HTML, status=404))

    @given(st.binary(max_size=40), st.binary(max_size=40))
    def test_other_bytes_have_another_tag(self, one: bytes, other: bytes) -> None:
        self.assertEqual(entity_tag(b"a/b", one) == entity_tag(b"a/b", other), one == other)
        self.assertEqual(entity_tag(one, b"") == entity_tag(other, b""), one.lower() == other.lower())


class DateTests(SynchronousTestCase):
    def test_the_upstreams_own_stays(self) -> None:
        response = answer(b"", (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"))
        self.assertIs(dated(response, NOW), response)

    def test_where_there_is_none_it_is_the_time_of_receipt(self) -> None:
        self.assertEqual(dated(answer(), NOW).headers.all(b"date"), [b"Tue, 14 Nov 2023 22:13:20 GMT"])

    def test_what_is_no_date_is_replaced(self) -> None:
        for wrong in (b"yesterday", b"", b"\xff", b"Sun, 06 Nov 99999 08:49:37 GMT"):
            response = dated(answer(b"", (b"Date", wrong)), NOW)
            self.assertEqual(response.headers.all(b"date"), [b"Tue, 14 Nov 2023 22:13:20 GMT"], wrong)
