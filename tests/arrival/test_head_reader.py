"""What a connection remembers of its last head changes nothing about the next one."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.arrival.head import HeadReader, RequestHead, parse_head
from hospproxy.arrival.line import HeadRefused
from hospproxy.options.arrival_section import ArrivalSettings

LIMITS = ArrivalSettings(max_head_bytes=2048, max_target_bytes=512, max_fields=20)

LINES = (
    b"GET / HTTP/1.1", b"GET /patients?hospital_id=1 HTTP/1.1", b"GET /patients/1.json HTTP/1.0",
    b"GET http://a.example/ HTTP/1.1", b"GET http://b.example/ HTTP/1.1", b"GET /%41 HTTP/1.1", b"GET /% HTTP/1.1",
    b"GET /a HTTP/2.0", b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"HEAD /patients HTTP/1.1", b"POST /notes HTTP/1.1",
    b"GET  / HTTP/1.1", b"GET //a/../b HTTP/1.1", b"GET /" + b"a" * 600 + b" HTTP/1.1",
)  # fmt: skip
FIELDS = (
    b"", b"Host: a.example\r\n", b"Host: a.example\r\nAuthorization: Basic YTpi\r\n",
    b"Host: a.example\r\nConnection: close\r\n", b"Host: a.example\r\nContent-Length: 5\r\n",
    b"Host: a.example\r\nHost: a.example\r\n", b"Host: a.example\r\nExpect: 100-continue\r\n",
    b"Host: a.example\r\nTransfer-Encoding: chunked\r\n", b"Host: a.example\r\nUpgrade: h2c\r\n",
    b"Host : a.example\r\n", b"Host: a.example\r\nVia: 1.1 b\r\n",
    b"Authorization: Basic YTpi\r\nHost: a.example\r\n", b"Host: a.example\r\nauthorization: Basic Yzpk\r\n",
    b"Host: a.example\r\nAuthorization: Basic Yzpk\r\n", b"Host: a.example\r\nAuthorization: basic Yzpk\r\n",
    b"Host: a.example\r\nAuthorization: Basic YTpi\r\nConnection: authorization\r\n",
    b"Host: a.example\r\nAuthorization: Basic YTpi\r\nConnection: close\r\n",
    b"Host: a.example\r\nAuthorization: Basic YTpi\r\nAuthorization: Basic Yzpk\r\n",
    b"Host: a.example\r\nAuthorization: Basic YTpi\r\nProxy-Authorization: Basic YTpi\r\n",
    b"Host: a.example\r\nAuthorization: Basic YTpi\r\nCookie: a=Yzpk\r\n",
)  # fmt: skip


def read(reading: Callable[[bytes, ArrivalSettings], RequestHead], data: bytes) -> object:
    """The head, or why it is refused."""
    try:
        return reading(data, LIMITS)
    except HeadRefused as error:
        return error.status, error.detail, error.field, error.known


class HeadReaderTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(FIELDS)), min_size=2, max_size=8))
    def test_what_came_before_makes_no_difference(self, heads: list[tuple[bytes, bytes]]) -> None:
        reader = HeadReader()
        for line, fields in heads:
            data = line + b"\r\n" + fields + b"\r\n"
            self.assertEqual(read(reader.read, data), read(parse_head, data))

    def test_every_line_after_every_line(self) -> None:
        for fields in FIELDS:
            for first in LINES:
                for second in LINES:
                    reader = HeadReader()
                    read(reader.read, first + b"\r\n" + fields + b"\r\n")
                    data = second + b"\r\n" + fields + b"\r\n"
                    self.assertEqual(read(reader.read, data), read(parse_head, data), (first, data))

    def test_every_field_after_every_field(self) -> None:
        for first in FIELDS:
            for second in FIELDS:
                reader, line = HeadReader(), b"GET /patients HTTP/1.1\r\n"
                read(reader.read, line + first + b"\r\n")
                data = line + second + b"\r\n"
                self.assertEqual(read(reader.read, data), read(parse_head, data), (first, data))

    def test_equal_fields_are_read_once(self) -> None:
        reader, fields = HeadReader(), b" HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic %b\r\n\r\n"
        first = reader.read(b"GET /a" + fields % b"YTpi", LIMITS)
        second = reader.read(b"GET /b?c=d" + fields % b"Yzpk", LIMITS)
        self.assertIs(first.framing, second.framing)
        self.assertEqual((second.line.path, second.line.query), (b"/b", b"c=d"))
        self.assertEqual(second.headers.get(b"authorization"), b"Basic Yzpk")

    def test_limits_that_a_reload_changed_hold_for_fields_that_are_known(self) -> None:
        reader, data = (
            HeadReader(),
            b"GET /a HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic YTpi\r\n\r\n",
        )
        reader.read(data, LIMITS)
        fewer = evolve(LIMITS, max_fields=1)
        self.assertEqual(self.assertRaises(HeadRefused, reader.read, data, fewer).status, 431)
        self.assertIs(reader.read(data, LIMITS).framing, reader.read(data, LIMITS).framing)

    def test_an_idle_connection_keeps_no_long_head(self) -> None:
        """No budget counts what it keeps, and a wrong password is enough to have it kept."""
        limits = evolve(LIMITS, max_head_bytes=16384, max_fields=100)
        line = b"GET /a HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic YTpi\r\n"
        many = b"".join(b"X-%d: a\r\n" % number for number in range(90))
        for fields in (b"X: %b\r\n" % (b"a" * 2048), many):
            reader = HeadReader()
            reader.read(line + fields + b"\r\n", limits)
            self.assertNotIn("X", repr([getattr(reader, name) for name in reader.__slots__]))

    def test_it_remembers_no_credentials_and_no_cookie(self) -> None:
        for fields in FIELDS:
            reader = HeadReader()
            read(reader.read, b"GET /a HTTP/1.1\r\n" + fields + b"\r\n")
            remembered = repr([getattr(reader, name) for name in reader.__slots__])
            self.assertNotIn("YTpi", remembered)
            self.assertNotIn("Yzpk", remembered)
