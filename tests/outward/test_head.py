from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http.errors import BadAnswer, FailedAfterSending
from hospproxy.outward.head import HOP_BY_HOP, ResponseHead, parse_head

OK = b"HTTP/1.1 200 OK"


def head(*lines: bytes) -> ResponseHead:
    return parse_head(b"\r\n".join(lines))


class StatusLine(SynchronousTestCase):
    """RFC 9112 §4."""

    def test_what_is_taken(self) -> None:
        for line, status, reason in (
            (b"HTTP/1.1 200 OK", 200, b"OK"),
            (b"HTTP/1.0 404 Not Found", 404, b"Not Found"),
            (b"HTTP/1.1 500 ", 500, b""),
            (b"HTTP/1.1 599", 599, b""),
        ):
            read = head(line, b"Content-Length: 0", b"Connection: close")
            self.assertEqual((read.status, read.reason), (status, reason))

    def test_what_is_no_http(self) -> None:
        for line in (
            b"HTTP/2.0 200 OK",
            b"HTTP/1.2 200 OK",
            b"RTSP/1.0 200 OK",
            b"http/1.1 200 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 -20 OK",
            b"HTTP/1.1 600 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1 200 O\x00K",
            b" HTTP/1.1 200 OK",
            b"SSH-2.0-OpenSSH_9.2",
            b"",
        ):
            error = self.assertRaises(FailedAfterSending, head, line, b"Content-Length: 0")
            self.assertIs(error.head_status, None, line)


class Framing(SynchronousTestCase):
    """RFC 9112 §6.3."""

    def test_lengths(self) -> None:
        self.assertEqual(head(OK, b"Content-Length: 12").length, 12)
        self.assertEqual(head(OK, b"Content-Length: 12", b"Content-Length: 12").length, 12)
        self.assertEqual(head(OK, b"Content-Length: 12, 12").length, 12)

    def test_no_body(self) -> None:
        for status in (b"204", b"304", b"103"):
            read = head(b"HTTP/1.1 " + status, b"Content-Length: 9")
            self.assertEqual((read.length, read.chunked), (0, False))

    def test_chunked(self) -> None:
        read = head(OK, b"Transfer-Encoding: Chunked")
        self.assertEqual((read.length, read.chunked, read.until_close), (None, True, False))

    def test_until_the_close_where_that_was_said(self) -> None:
        self.assertTrue(head(OK, b"Connection: Close").until_close)
        self.assertTrue(head(b"HTTP/1.0 200 OK").until_close)

    def test_neither_a_length_nor_an_end(self) -> None:
        self.refused(OK)
        self.refused(b"HTTP/1.0 200 OK", b"Connection: keep-alive")

    def test_doubt(self) -> None:
        self.refused(OK, b"Content-Length: 1", b"Content-Length: 2")
        self.refused(OK, b"Content-Length: 1, 2")
        self.refused(OK, b"Content-Length: +1")
        self.refused(OK, b"Content-Length: 1" + b"0" * 18)
        self.refused(OK, b"Content-Length: ")
        self.refused(OK, b"Content-Length: 5", b"Transfer-Encoding: chunked")
        self.refused(OK, b"Transfer-Encoding: gzip, chunked")
        self.refused(OK, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")
        self.refused(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked")

    def refused(self, *lines: bytes) -> None:
        error = self.assertRaises(BadAnswer, head, *lines)
        self.assertEqual(error.head_status, 200)


class Fields(SynchronousTestCase):
    def test_hop_by_hop_fields_go_no_further(self) -> None:
        """RFC 9110 §7.6.1: fields that are always for one hop, and fields that Connection names."""
        read = head(
            OK,
            b"Content-Length: 0",
            b"Keep-Alive: timeout=5",
            b"Upgrade: h2c",
            b"Trailer: X-Sum",
            b"Connection: X-Hop, keep-alive",
            b"Proxy-Authenticate: Basic",
            b"x-hop: 1",
            b"X-End: 2",
        )
        self.assertEqual(read.fields, ((b"X-End", b"2"),))

    def test_order_case_and_repetition_stay(self) -> None:
        read = head(OK, b"Set-Cookie: a=1", b"etag:\tW/1 ", b"Content-Length: 0", b"Set-Cookie: b=2", b"X-E:")
        self.assertEqual(
            read.fields, ((b"Set-Cookie", b"a=1"), (b"etag", b"W/1"), (b"Set-Cookie", b"b=2"), (b"X-E", b""))
        )

    def test_malformed_lines(self) -> None:
        for line in (
            b" folded",
            b"\tfolded",
            b"Name : x",
            b"no colon",
            b": x",
            b"N\xe4me: x",
            b"X: a\x00b",
            b"X: a\nb",
            b"X: a\rb",
        ):
            error = self.assertRaises(BadAnswer, head, OK, b"Content-Length: 0", line)
            self.assertEqual(error.head_status, 200, line)

    def test_one_content_type(self) -> None:
        self.assertRaises(
            BadAnswer, head, OK, b"Content-Length: 0", b"Content-Type: a/b", b"content-type: a/b"
        )

    def test_an_encoding_that_was_not_asked_for(self) -> None:
        self.assertRaises(BadAnswer, head, OK, b"Content-Length: 9", b"Content-Encoding: gzip")
        read = head(OK, b"Content-Length: 9", b"Content-Encoding: identity")
        self.assertEqual(read.length, 9)

    def test_white_space_around_a_value(self) -> None:
        read = head(b"HTTP/1.0 201 Made", b"Content-Length:   3", b"X:1", b"Y: \t2 \t", b"Z: \t")
        self.assertEqual((read.length, read.last), (3, True))
        self.assertEqual(read.fields, ((b"X", b"1"), (b"Y", b"2"), (b"Z", b"")))

    def test_a_keep_alive_that_the_server_ends(self) -> None:
        self.assertTrue(head(OK, b"Connection: CLOSE", b"Content-Length: 0").last)
        self.assertFalse(head(OK, b"Content-Length: 0").last)

    def test_an_empty_line_is_no_field(self) -> None:
        self.assertRaises(BadAnswer, head, OK, b"Content-Length: 0", b"", b"X: 1")
        self.assertRaises(BadAnswer, head, OK, b"")


_token = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
_value = st.from_regex(
    rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?", fullmatch=True
)

_space = st.sampled_from([b"", b" ", b"\t", b" \t "])


class Properties(SynchronousTestCase):
    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_head_or_a_clear_error(self, raw: bytes) -> None:
        for line in (raw, OK + b"\r\n" + raw, OK + b"\r\nContent-Length: 0\r\n" + raw):
            try:
                read = parse_head(line)
            except (BadAnswer, FailedAfterSending):
                continue
            for name, value in read.fields:
                self.assertTrue(re.fullmatch(rb"[\x21-\x7e]+", name))
                self.assertFalse(re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value))

    @given(st.lists(st.tuples(_token, _space, _value, _space), max_size=8))
    def test_every_field_comes_out_as_it_was_sent(
        self, fields: list[tuple[bytes, bytes, bytes, bytes]]
    ) -> None:
        lines = [b"%b:%b%b%b" % each for each in fields]
        try:
            read = head(OK, b"Content-Length: 5", *lines)
        except BadAnswer:
            return
        named = {
            part.strip(b" \t").lower()
            for name, _, value, _ in fields
            if name.lower() == b"connection"
            for part in value.split(b",")
        }
        kept = [(name, value) for name, _, value, _ in fields if name.lower() not in HOP_BY_HOP | named]
        self.assertEqual(read.fields, tuple(kept))

    @given(st.binary(max_size=60), st.binary(max_size=60))
    def test_a_second_reader_agrees(self, one: bytes, other: bytes) -> None:
        """What is taken is what a reader that goes line by line takes."""
        raw = b"\r\n".join((OK, b"Content-Length: 0", one, other))
        try:
            read: ResponseHead | None = parse_head(raw)
        except BadAnswer:
            read = None
        fields = [
            re.fullmatch(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)", line)
            for line in raw.split(b"\r\n")[1:]
        ]
        if read is not None:
            self.assertNotIn(None, fields)
        elif None not in fields:
            names = [each[1].lower() for each in fields if each is not None]
            self.assertTrue(
                len(set(names)) < len(names) or b"transfer-encoding" in names or b"content-encoding" in names
            )
